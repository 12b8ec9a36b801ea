#!/usr/bin/env bash
# Run a program in the board's files, by QEMU's user mode. The kernel's note of who runs such programs is the whole machine's
# meanwhile, and taken back at the end. Needs root; ends with 77 where that cannot be.
#   scripts/board/foreign.sh ROOT COMMAND...
set -euo pipefail
emulator=$("$(dirname "$0")/../emulator.sh")/bin/qemu-aarch64
# 64-bit ELF files for Arm; F: the emulator is opened now, for all roots; P: argv[0] stays.
note=":deblurkit-$$:M::"'\x7f\x45\x4c\x46\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\xb7\x00'
note+=':\xff\xff\xff\xff\xff\xff\xff\x00\xff\xff\xff\xff\xff\xff\xff\xff\xfe\xff\xff\xff'":$emulator:PF"
notes=/proc/sys/fs/binfmt_misc
unshare --mount mount -t binfmt_misc binfmt_misc "$notes" 2>/dev/null ||
    { echo "board: this kernel runs no programs of other processors (binfmt_misc)" >&2; exit 77; }
# Since Linux 6.7 it goes with the mount.
take_back() {
    unshare --mount sh -c 'mount -t binfmt_misc notes "$1"; if [ -e "$1/$2" ]; then echo -1 > "$1/$2"; fi' take_back "$notes" "deblurkit-$$"
}
trap take_back EXIT
setpriv --pdeathsig KILL unshare --mount --pid --fork --kill-child --mount-proc bash -euc '
    note=$1 root=$2
    shift 2
    mount -t binfmt_misc binfmt_misc /proc/sys/fs/binfmt_misc
    printf "%s" "$note" > /proc/sys/fs/binfmt_misc/register
    mount --rbind /dev "$root/dev"
    mount -t proc proc "$root/proc"
    mount -t tmpfs tmpfs "$root/tmp"
    exec env -i PATH=/usr/sbin:/usr/bin HOME=/root LANG=C.UTF-8 unshare --root="$root" /usr/bin/env "$@"' foreign "$note" "$@"
