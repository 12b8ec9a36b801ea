#!/usr/bin/env bash
# Run a program in the board's root folder, with QEMU's user mode. Meanwhile the kernel's entry for Arm programs (binfmt_misc) holds
# for the whole machine; it is removed at the end. Needs root. Ends with 78 if this kernel has no such entries.
#   scripts/board/foreign.sh ROOT COMMAND...
set -euo pipefail
emulator=$("$(dirname "$0")/../emulator.sh")/bin/qemu-aarch64
# 64-bit ELF files for Arm. F: open the emulator now, for all roots. P: keep argv[0].
entry=":deblurkit-$$:M::"'\x7f\x45\x4c\x46\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\xb7\x00'
entry+=':\xff\xff\xff\xff\xff\xff\xff\x00\xff\xff\xff\xff\xff\xff\xff\xff\xfe\xff\xff\xff'":$emulator:PF"
entries=/proc/sys/fs/binfmt_misc
unshare --mount mount -t binfmt_misc binfmt_misc "$entries" 2>/dev/null ||
    { echo "board: this kernel runs no programs of other processors (binfmt_misc)" >&2; exit 78; }
# Since Linux 6.7 the entry ends with its mount.
remove_entry() {
    unshare --mount sh -c 'mount -t binfmt_misc entries "$1"; if [ -e "$1/$2" ]; then echo -1 > "$1/$2"; fi' remove_entry "$entries" "deblurkit-$$"
}
trap remove_entry EXIT
setpriv --pdeathsig KILL unshare --mount --pid --fork --kill-child --mount-proc bash -euc '
    entry=$1 root=$2
    shift 2
    mount -t binfmt_misc binfmt_misc /proc/sys/fs/binfmt_misc
    printf "%s" "$entry" > /proc/sys/fs/binfmt_misc/register
    mount --rbind /dev "$root/dev"
    mount -t proc proc "$root/proc"
    mount -t tmpfs tmpfs "$root/tmp"
    exec env -i PATH=/usr/sbin:/usr/bin HOME=/root LANG=C.UTF-8 unshare --root="$root" /usr/bin/env "$@"' foreign "$entry" "$@"
