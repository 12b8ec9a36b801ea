#!/usr/bin/env bash
# A machine with a V4L2 camera for the duration of one command: Debian's kernel with its test camera (vivid), emulated, on this
# machine's own files, read-only.
#   scripts/vivid/rig.sh test            tests/rigs/vivid, there
#   scripts/vivid/rig.sh run COMMAND...  any command there; ends with its exit status, or 125 if nothing booted
# What it needs it installs from Debian's packages as root. Ends with 77 and the reason if it cannot run here.
#
# Not KVM: inside a virtual machine it may hang although it seems to be there.
set -euo pipefail
checkout=$(cd "$(dirname "$0")/../.." && pwd)
scripts=$checkout/scripts
cache=${XDG_CACHE_HOME:-$HOME/.cache}/deblurkit/vivid
modules=(9p 9pnet_virtio virtio_pci vivid)
cannot() { echo "rig: $*" >&2; exit 77; }

fetch_kernel() {
    local package download
    package=$(apt-cache depends linux-image-amd64 | awk '/Depends: linux-image/ {print $2; exit}')
    download=$(mktemp -d)
    chmod 755 "$download"
    (cd "$download" && apt-get download -qq "$package") || return
    dpkg-deb -x "$download"/*.deb "$1" && depmod -b "$1" "$(ls "$1/lib/modules")" || return
    rm -r "$download"
}

# The first files of the machine: a shell, the modules in their order, and what to do with them.
initial_files() {
    local version file module
    version=$(ls "$cache/kernel/lib/modules")
    mkdir -p "$1"/{bin,modules,host,proc,sys,dev}
    cp "$(command -v busybox)" "$1/bin/busybox"
    for module in "${modules[@]}"; do
        modprobe -S "$version" -d "$cache/kernel" --show-depends "$module" | awk '/^insmod/ {print $2}'
    done | awk '!seen[$0]++' | while read -r file; do
        cp "$file" "$1/modules/"
        basename "$file" >>"$1/order"
    done
    cat >"$1/init" <<'INIT'
#!/bin/busybox sh
b=/bin/busybox
$b mount -t proc proc /proc; $b mount -t sysfs sys /sys; $b mount -t devtmpfs dev /dev
while read -r module; do
    options=
    [ "$module" = vivid.ko ] && options=node_types=0x1
    $b insmod "/modules/$module" $options
done </order
if $b mount -t 9p -o trans=virtio,version=9p2000.L,ro,cache=loose,msize=524288 host /host; then
    for place in proc sys dev; do $b mount --bind /$place /host/$place; done
    $b mount -t tmpfs tmp /host/mnt  # not over /tmp: the checkout may be there
    $b mkdir -p /host/dev/shm
    $b cp /command /host/mnt/command
    $b chroot /host /bin/sh /mnt/command
    echo "exit status $?"
fi
$b poweroff -f
INIT
    chmod +x "$1/init"
}

# run COMMAND...: prints what the machine prints; its status is the command's.
run() {
    local work status word
    work=$(mktemp -d)
    trap 'rm -rf "$work"' EXIT
    initial_files "$work/files"
    {
        echo "export PATH='$PATH' HOME=/mnt TMPDIR=/mnt PYTHONDONTWRITEBYTECODE=1 PYTHONPATH='${PYTHONPATH:-}'"
        echo "cd '$PWD'; ip link set lo up 2>/dev/null"
        for word in "$@"; do printf "'%s' " "$(printf %s "$word" | sed "s/'/'\\\\''/g")"; done
    } >"$work/files/command"
    (cd "$work/files" && find . | cpio -o -H newc --quiet | gzip -1) >"$work/initial.gz"
    timeout "${VIVID_TIMEOUT_S:-400}" qemu-system-x86_64 -accel tcg,thread=multi -cpu max -smp 2 -m 1536 -nographic -no-reboot \
        -kernel "$cache"/kernel/boot/vmlinuz-* -initrd "$work/initial.gz" -append "console=ttyS0 quiet panic=-1" \
        -virtfs local,path=/,mount_tag=host,security_model=none,readonly=on,multidevs=remap </dev/null 2>&1 |
        tr -d '\r' | tee "$work/out" || true
    status=$(awk '/^exit status [0-9]+$/ {print $3}' "$work/out" | tail -n 1)
    exit "${status:-125}"
}

case ${1:-} in test) ;; run) [ $# -gt 1 ] || set -- ;; *) set -- ;; esac
[ $# -gt 0 ] || { echo "usage: $0 test|run COMMAND..." >&2; exit 2; }
"$scripts/need.sh" qemu-system-x86_64:qemu-system-x86 busybox:busybox-static modprobe:kmod cpio flock:util-linux || exit
PATH=$PATH:/usr/sbin:/sbin
mkdir -p "$cache"
if [ ! -d "$cache/kernel" ]; then
    exec 9> "$cache/lock"
    flock 9
    rm -rf "$cache/kernel.part"
    [ -d "$cache/kernel" ] || { fetch_kernel "$cache/kernel.part" && mv "$cache/kernel.part" "$cache/kernel"; } ||
        cannot "Debian's kernel could not be fetched"
    exec 9>&-
fi
action=$1
shift
if [ "$action" = test ]; then
    cd "$checkout"
    # Without the project's configuration: the file system is read-only there, and plugins are not needed.
    set -- "${PYTHON:-$checkout/.venv/bin/python}" -m pytest -c /dev/null --rootdir=/tmp -p no:cacheprovider -q "$@" \
        tests/rigs/vivid/check_camera.py
    export PYTHONPATH=$checkout
fi
run "$@"
