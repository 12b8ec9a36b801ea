#!/usr/bin/env bash
# The virtual board: Debian's arm64 kernel and systemd, the kernel's own V4L2 test camera (vivid), the kit installed as on a
# Raspberry Pi, in an emulator whose power can be cut.
#   scripts/board/rig.sh short   a start, one power cut, the camera unplugged 3 times, a full disk, a clock that jumps, the watchdog
#   scripts/board/rig.sh long    the same with 10 power cuts and the camera unplugged 20 times; also the kernel with 16 KiB pages
#   scripts/board/rig.sh 16k     only the kernel with 16 KiB pages, the default of a Raspberry Pi 5
#   scripts/board/rig.sh deploy  `deblurkit deploy` onto the board
# Further arguments go to pytest. Needs root, apt and pip. Ends with 77 and the reason if it cannot run here. What it builds from
# packages stays in the user's cache.
#
# What differs from a Raspberry Pi: the firmware, the boot loader and the camera. The processor is emulated, so no duration that is
# measured here is a board's.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
checkout=$(cd "$here/../.." && pwd)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/deblurkit/board
cannot() { echo "rig: $*" >&2; exit 77; }

form=${1:-}
case $form in
    short | deploy) kernels=arm64 ;;
    long) kernels='arm64 arm64-16k' ;;
    16k) kernels=arm64-16k ;;
    *) echo "usage: $0 short|long|16k|deploy [pytest arguments]" >&2; exit 2 ;;
esac

# The work is done by this script in a process namespace of its own: every process in it ends with the script, however it ends.
if [ -z "${BOARD_RIG_INSIDE:-}" ]; then
    [ "$(id -u)" = 0 ] || cannot "needs root, for a namespace and Debian's files: sudo make test-board"
    BOARD_RIG_INSIDE=1 setpriv --pdeathsig KILL unshare --pid --fork --kill-child --mount-proc "$0" "$@"
    exit
fi
unset BOARD_RIG_INSIDE
shift

scripts=$here/..
"$scripts/need.sh" mmdebstrap mke2fs:e2fsprogs depmod:kmod cpio xz:xz-utils ssh:openssh-client flock:util-linux || exit
DEBIAN_MIRROR=$("$scripts/mirror.sh") || exit
export DEBIAN_MIRROR
emulator=$("$scripts/emulator.sh") || exit
export PATH="$emulator/bin:$PATH:/usr/sbin:/sbin"
export PYTHON="${PYTHON:-$checkout/.venv/bin/python}"

mkdir -p "$cache"
exec 9> "$cache/lock"
flock 9  # one run at a time: they share the images
work=$cache/work
rm -rf "$work"
mkdir "$work"
trap 'rm -rf "$work"' EXIT

# keep NAME COMMAND FILE...: the folder NAME in the cache; runs the command to build it if it is missing or the files changed.
keep() {
    local name=$1 command=$2 version
    shift 2
    version=$(cat "$@" | cksum | cut -d' ' -f1)
    if [ ! -d "$cache/$name-$version" ]; then
        find "$cache" -mindepth 1 -maxdepth 1 -regex ".*/$name-[0-9]+" -exec rm -r --one-file-system {} +  # older versions
        # shellcheck disable=SC2086
        $command "$work/$name" 9>&- || { [ $? = 78 ] && exit 78; cannot "the board's $name could not be built; the reason is above"; }
        mv "$work/$name" "$cache/$name-$version"
    fi
    ln -sfn "$cache/$name-$version" "$work/$name"
}
for kernel in $kernels; do
    keep "kernel-$kernel" "$here/kernel.sh $kernel" "$here"/{kernel.sh,init}
done
keep root "$here/root.sh" "$here"/{root,configure,foreign}.sh "$scripts"/{pins.py,wheels.sh} "$checkout"/{pyproject.toml,constraints/constraints.txt}

wheel=$("$scripts/kit_wheel.sh" "$work")
keep disk "$here/install.sh $(readlink "$work/root") $wheel" "$here"/{install.sh,board.toml} "$wheel" <(readlink "$work/root")

cd "$checkout"
BOARD_RIG=$work BOARD_FORM=$form "$PYTHON" -m pytest -p no:cacheprovider tests/rigs/board "$@"
