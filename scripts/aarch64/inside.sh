#!/usr/bin/env bash
# Run one command in a root of root.sh, on an emulated core. For rig.sh.
#   scripts/aarch64/inside.sh ROOT CORE [NAME=VALUE...] COMMAND...
# Mounts, processes and the kernel's entry for Arm programs (binfmt_misc) live in namespaces of their own and end with this script,
# however it ends. Before Linux 6.7 the entry holds for the whole machine: it is removed at the end. Needs root. Ends with 78 and
# the reason if this kernel cannot do that.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
cannot() { echo "aarch64: $*" >&2; exit 78; }
root=$1 core=$2
shift 2
emulator=$("$here/../emulator.sh")/bin/qemu-aarch64

# 64-bit ELF files for Arm. F: open the emulator now, for all roots. P: keep argv[0].
entry=":deblurkit-$$:M::"'\x7f\x45\x4c\x46\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\xb7\x00'
entry+=':\xff\xff\xff\xff\xff\xff\xff\x00\xff\xff\xff\xff\xff\xff\xff\xff\xfe\xff\xff\xff'":$emulator:PF"
spaces=(--mount --pid --fork --kill-child)
if unshare --user --map-root-user --mount --pid --fork --mount-proc mount -t binfmt_misc binfmt_misc /proc/sys/fs/binfmt_misc \
    2>/dev/null; then
    spaces+=(--user --map-root-user)
else
    unshare --mount mount -t binfmt_misc binfmt_misc /proc/sys/fs/binfmt_misc 2>/dev/null ||
        cannot "this kernel runs no programs of other processors (binfmt_misc), or not for this user"
    trap 'unshare --mount sh -c "mount -t binfmt_misc b /proc/sys/fs/binfmt_misc; echo -1 > /proc/sys/fs/binfmt_misc/deblurkit-'$$'"' EXIT
fi

# The runtimes choose their kernels by /proc/cpuinfo and /sys. QEMU 8.1 and later provides the former itself.
setpriv --pdeathsig KILL unshare "${spaces[@]}" --mount-proc bash -euc '
    root=$1 core=$2 cpuinfo=$3 entry=$4
    shift 4
    mount -t binfmt_misc binfmt_misc /proc/sys/fs/binfmt_misc
    printf "%s" "$entry" > /proc/sys/fs/binfmt_misc/register
    mount --rbind /dev "$root/dev"
    mount --rbind /sys "$root/sys"
    mount -t proc proc "$root/proc"
    mount --bind "$cpuinfo" "$root/proc/cpuinfo"
    mount -t tmpfs tmpfs "$root/tmp"
    # A child of this shell: the shell is process 1 here, and programs do not expect to be that.
    env -i PATH=/usr/bin:/bin HOME=/home/pi LANG=C.UTF-8 QEMU_CPU="$core" \
        unshare --root="$root" --wd=/home/pi /usr/bin/env "$@" || exit' inside "$root" "$core" "$here/$core.cpuinfo" "$entry" "$@"
