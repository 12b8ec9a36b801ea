#!/usr/bin/env bash
# The virtual board: Debian's arm64 kernel and systemd, the kernel's own V4L2 test camera (vivid), the kit installed as on a
# Raspberry Pi, in an emulator whose power can be cut.
#   scripts/board/rig.sh short   a start, two power cuts, the camera unplugged, a full disk, a stepped clock, the watchdog
#   scripts/board/rig.sh long    the same with ten power cuts, 20 times unplugged, and once the kernel with 16 KiB pages
#   scripts/board/rig.sh 16k     the kernel with 16 KiB pages only, as a Raspberry Pi 5 has by default
#   scripts/board/rig.sh deploy  `deblurkit deploy` onto the board
# More arguments go to pytest. Needs root, apt and pip; ends with 77 and a reason where it cannot run. What it makes of
# packages is kept in the user's cache.
#
# What differs from a Raspberry Pi: the firmware, the boot loader and the camera; the processor is emulated, so no time that
# is measured here is a board's.
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

# Everything that is begun here ends with this script, however that ends: it is done by another one in its own namespace.
if [ -z "${BOARD_RIG_INSIDE:-}" ]; then
    [ "$(id -u)" = 0 ] || cannot "needs root, for a namespace and Debian's files: sudo make board"
    BOARD_RIG_INSIDE=1 setpriv --pdeathsig KILL unshare --pid --fork --kill-child --mount-proc "$0" "$@"
    exit
fi
unset BOARD_RIG_INSIDE
shift

missing=
for tool in mmdebstrap:mmdebstrap mke2fs:e2fsprogs depmod:kmod cpio:cpio xz:xz-utils ssh:openssh-client flock:util-linux; do
    PATH=$PATH:/usr/sbin:/sbin command -v "${tool%:*}" >/dev/null || missing+=" ${tool#*:}"
done
if [ -n "$missing" ]; then
    command -v apt-get >/dev/null || cannot "needs$missing"
    # shellcheck disable=SC2086
    apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=300 install -y -qq --no-install-recommends $missing >/dev/null ||
        cannot "needs$missing: apt install$missing"
fi
DEBIAN_MIRROR=$("$here/../mirror.sh") || exit
export DEBIAN_MIRROR
emulator=$("$here/../emulator.sh") || exit
export PATH="$emulator/bin:$PATH:/usr/sbin:/sbin"
export PYTHON="${PYTHON:-$checkout/.venv/bin/python}"

mkdir -p "$cache"
exec 9> "$cache/lock"
flock 9  # one run at a time: they share the images
work=$cache/work
rm -rf "$work"
mkdir "$work"
trap 'rm -rf "$work"' EXIT

# made NAME COMMAND FILE...: the folder of that name, which the command makes if it is not there or was made of other files.
made() {
    local name=$1 command=$2 fits
    shift 2
    fits=$(cat "$@" | cksum | cut -d' ' -f1)
    if [ ! -d "$cache/$name-$fits" ]; then
        find "$cache" -mindepth 1 -maxdepth 1 -regex ".*/$name-[0-9]+" -exec rm -r --one-file-system {} +  # of older versions
        # shellcheck disable=SC2086
        $command "$work/$name" 9>&- || cannot "the board's $name could not be made; above is why"
        mv "$work/$name" "$cache/$name-$fits"
    fi
    ln -sfn "$cache/$name-$fits" "$work/$name"
}
for kernel in $kernels; do
    made "kernel-$kernel" "$here/kernel.sh $kernel" "$here"/{kernel.sh,init}
done
made root "$here/root.sh" "$here"/{root,configure,foreign}.sh "$checkout"/{pyproject.toml,constraints/constraints.txt}

"$PYTHON" -m build --wheel --no-isolation --outdir "$work" "$checkout" > "$work/log" 2>&1 || { cat "$work/log" >&2; exit 1; }
wheel=$(echo "$work"/deblurkit-*.whl)
made disk "$here/install.sh $(readlink "$work/root") $wheel" "$here"/{install.sh,board.toml} "$wheel" <(readlink "$work/root")

cd "$checkout"
BOARD_RIG=$work BOARD_FORM=$form "$PYTHON" -m pytest -p no:cacheprovider tests/rigs/board "$@"
