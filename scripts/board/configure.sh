#!/bin/sh
# Runs in the board's root folder, with its own programs: does what the packages' scripts would do, writes the board's settings, and
# creates the environment for the kit. For root.sh.
set -eu
export LC_ALL=C

# Debian.
cp /usr/share/base-passwd/passwd.master /etc/passwd
cp /usr/share/base-passwd/group.master /etc/group
cp /usr/share/libc-bin/nsswitch.conf /etc/
cp /usr/share/openssh/sshd_config /etc/ssh/
ln -sf mawk /usr/bin/awk
for kind in auth account password session session-noninteractive; do
    echo "${kind%-*} required pam_unix.so" > "/etc/pam.d/common-$kind"
done
systemd-sysusers
systemd-machine-id-setup
ssh-keygen -q -A
ldconfig
cat /usr/share/ca-certificates/mozilla/*.crt > /etc/ssl/certs/ca-certificates.crt
mkdir -p /usr/lib/modules
python3 -m compileall -q -j 0 /usr/lib/python3.13

# This board: its disk, its network in the emulator, and one camera with only the functions of a USB camera.
echo /dev/vda / ext4 noatime 0 1 > /etc/fstab
echo board > /etc/hostname
echo 127.0.0.1 localhost board > /etc/hosts
printf '[Match]\nName=eth0\n[Network]\nAddress=10.0.2.15/24\nGateway=10.0.2.2\n' > /etc/systemd/network/wired.network
echo vivid > /etc/modules-load.d/camera.conf
echo options vivid n_devs=1 node_types=0x1 > /etc/modprobe.d/camera.conf
systemctl -q enable ssh systemd-networkd
# Switch off what takes longest at an emulated start and no test needs. Of all devices, only those that something waits for are
# announced.
systemctl -q mask getty@tty1 serial-getty@ttyAMA0 systemd-networkd-wait-online systemd-hwdb-update ldconfig systemd-logind \
    systemd-journal-catalog-update systemd-binfmt e2scrub_reap dev-hugepages.mount dev-mqueue.mount sys-kernel-debug.mount \
    sys-kernel-tracing.mount sys-kernel-config.mount sys-fs-fuse-connections.mount systemd-network-generator \
    systemd-udev-load-credentials
mkdir -p /etc/systemd/system-generators /etc/systemd/system/systemd-udev-trigger.service.d /etc/systemd/system/deblurkit.service.d
for generator in debug gpt-auto hibernate-resume ssh system-update tpm2; do
    ln -s /dev/null "/etc/systemd/system-generators/systemd-$generator-generator"
done
printf '[Service]\nExecStart=\nExecStart=udevadm trigger --action=add -s pci -s virtio -s block -s net -s video4linux\n' \
    > /etc/systemd/system/systemd-udev-trigger.service.d/few.conf
# The emulated loop is about thirty times slower than a board's, so the watchdog waits longer. As with `systemctl edit deblurkit`.
printf '[Service]\nWatchdogSec=30\n' > /etc/systemd/system/deblurkit.service.d/slow.conf

# Its user, as on Raspberry Pi OS: a closed home, and sudo without a password.
echo pi:x:1000:1000::/home/pi:/bin/bash >> /etc/passwd
echo pi:x:1000: >> /etc/group
sed 's/:.*/:*:20000:0:99999:7:::/' /etc/passwd > /etc/shadow
sed -i 's/^video:.*/&pi/' /etc/group
chmod 640 /etc/shadow
chgrp shadow /etc/shadow
echo 'pi ALL=(ALL) NOPASSWD: ALL' > /etc/sudoers.d/pi
mkdir -p /home/pi/.ssh /home/pi/deblurkit
ssh-keygen -q -t ed25519 -N '' -C pi -f /key
cp /key.pub /home/pi/.ssh/authorized_keys
python3 -m venv --without-pip /home/pi/deblurkit/.venv
python3 -m compileall -q -j 0 -x '/tests?/' /home/pi/deblurkit/.venv/lib || true  # some packages have files for older Pythons
chown -R pi:pi /home/pi
chmod 700 /home/pi /home/pi/.ssh
