#!/usr/bin/env bash
# QEMU for Arm, the same version on every machine: Debian's newest backport, in its own folder of the user's cache. It starts the
# virtual board in 41 to 45 s; Debian 12's QEMU 7.2 needs 48 to 49 s. Prints the folder. Its bin has qemu-system-aarch64, qemu-img,
# and qemu-aarch64, which is static and runs in any root.
#   scripts/emulator.sh
# For scripts/board and scripts/aarch64. Needs apt, and root only to install missing tools. Ends with 77 and the reason if it
# cannot run here.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
suite=trixie
cache=${XDG_CACHE_HOME:-$HOME/.cache}/deblurkit/emulator
cannot() { echo "emulator: $*" >&2; exit 77; }

command -v apt-get >/dev/null || cannot "needs apt and a Debian mirror"
"$here/need.sh" mmdebstrap flock:util-linux || exit
mirror=$("$here/mirror.sh") || exit

fetch() {  # "|| return": bash ignores `set -e` in a function whose status is tested
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
	# Uses its own libraries, which may be newer than this machine's.
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
    find "$cache" -mindepth 1 -maxdepth 1 -name 'qemu-*' -exec rm -r --one-file-system {} +  # older versions, unfinished ones
    trap 'rm -rf --one-file-system "$folder.part"' EXIT
    mkdir "$folder.part"
    fetch "$folder.part" || cannot "QEMU from Debian $suite-backports could not be fetched"
    mv "$folder.part" "$folder"
fi
echo "$folder"
