#!/bin/sh
# Switch the board on. The processor is emulated by translation: KVM may hang inside a virtual machine, and cannot run Arm here.
#   scripts/board/boot.sh KERNEL DISK [option of QEMU...]
# KERNEL is a folder from kernel.sh, DISK the file that the board writes to. $BOARD_INIT: a program to start instead of systemd.
# Kernel hardening that no test here needs is off, because it is slow under emulation: without address randomisation a start took
# 52 s instead of 70 to 77, and without the other options 44 s. A board's own kernel may use it.
kernel=$1 disk=$2
shift 2
fast='rcupdate.rcu_expedited=1 nokaslr mitigations=off apparmor=0 audit=0 init_on_alloc=0 hardened_usercopy=off'
exec qemu-system-aarch64 -M virt -cpu cortex-a76 -smp 2 -m 2048 -accel tcg,thread=multi -display none -monitor none -no-reboot \
    -kernel "$kernel/vmlinuz" -initrd "$kernel/initial.gz" \
    -append "console=ttyAMA0 loglevel=4 systemd.show_status=0 panic=-1 net.ifnames=0 $fast ${BOARD_INIT:+board_init=$BOARD_INIT}" \
    -drive "file=$disk,format=qcow2,if=none,id=disk" -device virtio-blk-pci,drive=disk \
    -drive "file=$kernel/modules.ext4,format=raw,readonly=on,if=none,id=modules" -device virtio-blk-pci,drive=modules \
    -device virtio-rng-pci "$@"
