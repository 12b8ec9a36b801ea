#!/bin/sh
# Switch the board on: emulated by translation, since hardware's help may hang inside a virtual machine, and knows no Arm here.
#   scripts/board/boot.sh KERNEL DISK [option of QEMU...]
# KERNEL is a folder made by kernel.sh, DISK a file that the board writes to. $BOARD_INIT: what to start in place of systemd.
# Hardening of the kernel that no test here is about is off, since it is dear under emulation: without address randomisation alone
# a start took 52 s instead of 70 to 77, with the rest of it 44 s. A board's own kernel may have it.
kernel=$1 disk=$2
shift 2
calm='rcupdate.rcu_expedited=1 nokaslr mitigations=off apparmor=0 audit=0 init_on_alloc=0 hardened_usercopy=off'
exec qemu-system-aarch64 -M virt -cpu cortex-a76 -smp 2 -m 2048 -accel tcg,thread=multi -display none -monitor none -no-reboot \
    -kernel "$kernel/vmlinuz" -initrd "$kernel/initial.gz" \
    -append "console=ttyAMA0 loglevel=4 systemd.show_status=0 panic=-1 net.ifnames=0 $calm ${BOARD_INIT:+board_init=$BOARD_INIT}" \
    -drive "file=$disk,format=qcow2,if=none,id=disk" -device virtio-blk-pci,drive=disk \
    -drive "file=$kernel/modules.ext4,format=raw,readonly=on,if=none,id=modules" -device virtio-blk-pci,drive=modules \
    -device virtio-rng-pci "$@"
