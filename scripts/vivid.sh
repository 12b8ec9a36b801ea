#!/bin/sh
# A machine with a V4L2 camera, for as long as one command runs: Debian's kernel with its test camera (vivid), emulated, on this
# machine's own files, read only.
#
#   scripts/vivid.sh install            what it needs, from the system's packages (root)
#   scripts/vivid.sh run COMMAND...     run the command there; it ends with the command's exit status, or 125 where nothing booted
#
# Not KVM: inside a virtual machine it may hang where it seems to be there.
set -eu
cache=${XDG_CACHE_HOME:-$HOME/.cache}/deblurkit/vivid
modules="9p 9pnet_virtio virtio_pci vivid"

install() {
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=300 install -y -qq --no-install-recommends \
        qemu-system-x86 busybox-static kmod cpio >/dev/null
    mkdir -p "$cache"
    [ -d "$cache/kernel" ] && return
    package=$(apt-cache depends linux-image-amd64 | awk '/Depends: linux-image/ {print $2; exit}')
    download=$(mktemp -d)
    trap 'rm -rf "$download"' EXIT
    chmod 755 "$download"
    (cd "$download" && apt-get download -qq "$package")
    dpkg-deb -x "$download"/*.deb "$cache/unpacked"
    depmod -b "$cache/unpacked" "$(ls "$cache/unpacked/lib/modules")"
    mv "$cache/unpacked" "$cache/kernel"
}

# The first files of the machine: a shell, the modules in their order, and what to do with them.
initial_files() {
    version=$(ls "$cache/kernel/lib/modules")
    mkdir -p "$1/bin" "$1/modules" "$1/host" "$1/proc" "$1/sys" "$1/dev"
    cp "$(command -v busybox)" "$1/bin/busybox"
    for module in $modules; do
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
    $b mount -t tmpfs tmp /host/mnt  # not over /tmp: the checkout may lie there
    $b mkdir -p /host/dev/shm
    $b cp /command /host/mnt/command
    $b chroot /host /bin/sh /mnt/command
    echo "exit status $?"
fi
$b poweroff -f
INIT
    chmod +x "$1/init"
}

run() {
    command -v qemu-system-x86_64 >/dev/null && [ -d "$cache/kernel" ] || { echo "scripts/vivid.sh install" >&2; exit 125; }
    work=$(mktemp -d)
    trap 'rm -rf "$work"' EXIT
    initial_files "$work/files"
    {
        echo "export PATH='$PATH' HOME=/mnt TMPDIR=/mnt PYTHONDONTWRITEBYTECODE=1 PYTHONPATH='${PYTHONPATH:-}'"
        echo "cd '$PWD'; ip link set lo up 2>/dev/null"
        for word in "$@"; do printf "'%s' " "$(printf %s "$word" | sed "s/'/'\\\\''/g")"; done
    } >"$work/files/command"
    (cd "$work/files" && find . | cpio -o -H newc --quiet | gzip -1) >"$work/initial.gz"
    timeout "${VIVID_TIMEOUT_S:-300}" qemu-system-x86_64 -accel tcg,thread=multi -cpu max -smp 2 -m 1536 -nographic -no-reboot \
        -kernel "$cache"/kernel/boot/vmlinuz-* -initrd "$work/initial.gz" -append "console=ttyS0 quiet panic=-1" \
        -virtfs local,path=/,mount_tag=host,security_model=none,readonly=on,multidevs=remap </dev/null >"$work/out" 2>&1 || true
    cat "$work/out"
    status=$(tr -d '\r' <"$work/out" | awk '/^exit status [0-9]+$/ {print $3}' | tail -n 1)
    exit "${status:-125}"
}

case ${1:-} in
    install) install ;;
    run) shift; run "$@" ;;
    *) sed -n '2,9s/^# \{0,1\}//p' "$0"; exit 2 ;;
esac
