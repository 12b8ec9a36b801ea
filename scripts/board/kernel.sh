#!/usr/bin/env bash
# The board's kernel from Debian's packages: vmlinuz, the initial files with init, and all modules as a disk. For rig.sh, which keeps
# it.
#   scripts/board/kernel.sh arm64|arm64-16k FOLDER
# Reads DEBIAN_MIRROR; needs no root.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
suite=trixie
flavour=$1 folder=$2
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

# This machine's apt, with the package lists of another system.
apt=$scratch/apt
mkdir -p "$apt"/{etc/apt/apt.conf.d,etc/apt/preferences.d,var/lib/apt/lists/partial,var/lib/dpkg,var/cache/apt/archives/partial}
touch "$apt/var/lib/dpkg/status"
echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $DEBIAN_MIRROR $suite main" > "$apt/etc/apt/sources.list"
there=(-o "Dir=$apt" -o "Dir::State::status=$apt/var/lib/dpkg/status" -o APT::Architecture=arm64 -o APT::Sandbox::User=root)
apt-get "${there[@]}" -qq update
image=$(apt-cache "${there[@]}" depends "linux-image-$flavour" | awk '/Depends: linux-image/ {print $2; exit}')
(cd "$scratch" && apt-get "${there[@]}" -qq download "$image" busybox-static)
echo "kernel: $image, $(du -cm "$scratch"/*.deb | awk 'END {print $1}') MiB of packages" >&2
for package in "$scratch"/*.deb; do dpkg-deb -x "$package" "$scratch/unpacked"; done

mkdir -p "$folder" "$scratch"/files/{bin,board,dev,modules,proc,sys}
cd "$scratch/unpacked"
[ -d lib ] || ln -s usr/lib lib
version=$(ls lib/modules)
depmod -b . "$version"
cp boot/vmlinuz-* "$folder/vmlinuz"
cp usr/bin/busybox "$scratch/files/bin/"
ln -s busybox "$scratch/files/bin/sh"
install -m 755 "$here/init" "$scratch/files/init"
for module in virtio_pci virtio_blk ext4; do
    modprobe --dirname . --set-version "$version" --show-depends "$module" | awk '/^insmod/ {print $2}'
done | awk '!seen[$0]++' | while read -r module; do
    xz --decompress --stdout "$module" > "$scratch/files/modules/$(basename "$module" .xz)"
    basename "$module" .xz >> "$scratch/files/order"
done
(cd "$scratch/files" && find . | cpio -o -H newc --quiet | gzip -1) > "$folder/initial.gz"
mke2fs -q -t ext4 -m 0 -d lib/modules "$folder/modules.ext4" "$(($(du -sm lib/modules | cut -f1) * 5 / 4 + 16))M" > /dev/null
