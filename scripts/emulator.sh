#!/usr/bin/env bash
# QEMU for Arm, the same on every machine, whatever its own is: Debian's newest backport, in a folder of its own in the user's
# cache. It starts the virtual board in 41 to 45 s, Debian 12's QEMU 7.2 in 48 to 49. Prints the folder; in its bin are
# qemu-system-aarch64, qemu-img, and qemu-aarch64, which is static and runs in any root.
#   scripts/emulator.sh
# For scripts/board and scripts/aarch64. Needs apt, root only to install what is missing; ends with 77 and a reason where it
# cannot run.
set -euo pipefail
suite=trixie
cache=${XDG_CACHE_HOME:-$HOME/.cache}/deblurkit/emulator
cannot() { echo "emulator: $*" >&2; exit 77; }

command -v apt-get >/dev/null || cannot "needs apt and a Debian mirror"
if ! command -v mmdebstrap >/dev/null || ! command -v flock >/dev/null; then
    [ "$(id -u)" = 0 ] && apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=300 install -y -qq \
        --no-install-recommends mmdebstrap util-linux >/dev/null || cannot "needs mmdebstrap: sudo apt install mmdebstrap util-linux"
fi
mirror=$("$(dirname "$0")/mirror.sh") || exit

made() {  # "or return": bash does not end at an error in a function whose result is asked for
    local root=$1/root library
    mmdebstrap --quiet --variant=extract --aptopt="APT::Default-Release \"$suite-backports\"" \
        --include=qemu-system-arm,qemu-user,qemu-utils "$suite" "$root" "deb $mirror $suite main" "deb $mirror $suite-backports main" \
        >&2 || return
    library=$(dirname "$(ls "$root"/usr/lib/*-linux-gnu/libglib-2.0.so.0)")
    mkdir "$1/bin" "$1/programs"
    mv "$root"/usr/bin/{qemu-system-aarch64,qemu-img} "$1/programs/" && mv "$root/usr/bin/qemu-aarch64" "$1/bin/" || return
    mv "$library" "$1/libraries" && mv "$root/usr/share/qemu" "$1/files" && rm -r --one-file-system "$root" || return
    for program in "$1"/programs/*; do
        cat > "$1/bin/${program##*/}" <<-'END' || return
	#!/bin/sh
	# By its own libraries, which are newer than this machine's may be.
	home=$(dirname "$(dirname "$(readlink -f "$0")")")
	exec "$home"/libraries/ld-linux*.so.* --library-path "$home/libraries" "$home/programs/${0##*/}" "$@"
	END
    done
    chmod 755 "$1"/bin/* && "$1/bin/qemu-system-aarch64" --version >&2 && "$1/bin/qemu-img" --version >&2
}

mkdir -p "$cache"
exec 9> "$cache/lock"
flock 9
folder=$cache/qemu-$(cksum < "$0" | cut -d' ' -f1)
if [ ! -d "$folder" ]; then
    find "$cache" -mindepth 1 -maxdepth 1 -name 'qemu-*' -exec rm -r --one-file-system {} +  # of older versions, or half made
    trap 'rm -rf --one-file-system "$folder.part"' EXIT
    mkdir "$folder.part"
    made "$folder.part" || cannot "QEMU of Debian $suite-backports could not be fetched"
    mv "$folder.part" "$folder"
fi
echo "$folder"
