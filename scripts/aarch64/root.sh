#!/usr/bin/env bash
# The root folder of an Arm board, made once and kept in the user's cache: Debian for arm64 and the kit's floor from real
# aarch64 wheels. Nothing is emulated here, and nothing configured: files lie where they belong. Prints the folder's path.
#   scripts/aarch64/root.sh bookworm                     Python 3.11, constraints/bookworm.txt
#   scripts/aarch64/root.sh trixie                       Python 3.13
#   scripts/aarch64/root.sh SUITE FOLDER PACKAGE...      and these wheels, without what they ask for, in /opt/FOLDER of it
# Two use it: rig.sh beside this, and scripts/instructions/count.py. Needs apt and pip, root only to install what is missing;
# ends with 77 and a reason where it cannot run.
set -euo pipefail
checkout=$(cd "$(dirname "$0")/../.." && pwd)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/deblurkit/aarch64
host_python=${PYTHON:-$checkout/.venv/bin/python}
cannot() { echo "aarch64: $*" >&2; exit 77; }

suite=${1:-}
case $suite in
    bookworm) python=3.11 constraints=(constraints/bookworm.txt constraints/constraints.txt) ;;
    trixie) python=3.13 constraints=(constraints/constraints.txt) ;;
    *) echo "usage: $0 bookworm|trixie [FOLDER PACKAGE...]" >&2; exit 2 ;;
esac
shift

missing=
for tool in mmdebstrap flock qemu-aarch64 gcc; do command -v "$tool" >/dev/null || missing+=" $tool"; done
if [ -n "$missing" ]; then
    packages='mmdebstrap util-linux qemu-user gcc libc6-dev'
    [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null || cannot "needs$missing: sudo apt install $packages"
    # shellcheck disable=SC2086
    { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=300 install -y -qq \
        --no-install-recommends $packages; } >/dev/null || cannot "needs$missing: sudo apt install $packages"
fi

# What is asked for, with the pin of the first constraints file that has one. pip installs for another Python, but judges
# the markers of a constraints file by its own: so they are judged here.
pinned() {
    "$host_python" - "$checkout" "$python" "${constraints[*]}" "$@" <<-'PYTHON'
	import sys, tomllib
	from pathlib import Path
	from pip._vendor.packaging.requirements import Requirement
	checkout, python, files, *wanted = sys.argv[1:]
	if not wanted:
	    project = tomllib.loads(Path(checkout, "pyproject.toml").read_text())["project"]
	    extras = project["optional-dependencies"]
	    wanted = [*project["dependencies"], *extras["live"], *extras["onnx"]]
	there = {"python_version": python, "python_full_version": python + ".0", "platform_machine": "aarch64"}
	pins = {}
	for file in files.split():
	    for line in Path(checkout, file).read_text().splitlines():
	        if line and line.lstrip()[0] != "#":
	            pin = Requirement(line)
	            if pin.marker is None or pin.marker.evaluate(there):
	                pins.setdefault(pin.name, pin.specifier)
	for line in wanted:
	    one = Requirement(line)
	    print(f"{one.name}{pins.get(one.name, one.specifier)}")
	PYTHON
}

# wheels FOLDER OPTIONS...: pip unpacks wheels of the other processor, and runs nothing of them. In two steps, since only
# `download` judges by the other Python which versions fit it.
for_board=(--python-version "$python" --implementation cp --abi "cp${python/./}" --abi abi3 --abi none --only-binary=:all:)
for glibc in 17 24 26 27 28 31 34 35; do for_board+=("--platform=manylinux_2_${glibc}_aarch64"); done
wheels() {
    local folder=$1
    shift
    "$host_python" -m pip -qq --disable-pip-version-check download --dest "$folder.wheels" "${for_board[@]}" "$@" >&2 || return
    "$host_python" -m pip -qq --disable-pip-version-check install --root-user-action=ignore --no-warn-conflicts --no-compile \
        --no-deps --ignore-requires-python --target "$folder" "${for_board[@]}" "$folder.wheels"/*.whl >&2 || return
    rm -r "$folder.wheels"
}

make_root() {  # "or return": bash does not end at an error in a function whose result is asked for
    local mirror
    mirror=$("$checkout/scripts/mirror.sh") || exit
    mmdebstrap --quiet --arch=arm64 --variant=extract --include=base-files,coreutils,dash,libc-bin \
        --include=python3-minimal,libpython3-stdlib,libgomp1,libstdc++6,zlib1g "$suite" "$1" "deb $mirror $suite main" >&2 || return
    # What the packages' own scripts would have done.
    for folder in bin lib sbin; do [ -e "$1/$folder" ] || ln -s "usr/$folder" "$1/$folder"; done
    echo 'root:x:0:0:root:/root:/bin/sh' > "$1/etc/passwd"
    echo 'root:x:0:' > "$1/etc/group"
    echo '127.0.0.1 localhost' > "$1/etc/hosts"
    mkdir -p "$1"/{proc,sys,dev,tmp,root,home/pi,opt,usr/lib/python3/dist-packages}
    pinned > "$1/opt/floor.txt" || return
    wheels "$1/usr/local/lib/python$python/dist-packages" -r "$1/opt/floor.txt"
}

mkdir -p "$cache"
exec 9> "$cache/lock-root"
flock 9
fits=$(cd "$checkout" && cat scripts/aarch64/root.sh pyproject.toml "${constraints[@]}" | cksum | cut -d' ' -f1)
root=$cache/$suite-$fits
if [ ! -d "$root" ]; then
    find "$cache" -mindepth 1 -maxdepth 1 -name "$suite-*" -exec rm -r --one-file-system {} +  # of older versions, or half made
    trap 'rm -rf --one-file-system "$root.part"' EXIT
    make_root "$root.part" || cannot "Debian $suite for arm64 or its wheels could not be fetched"
    mv "$root.part" "$root"
fi
if [ $# -gt 1 ]; then
    folder=$root/opt/$1
    shift
    if [ "$(cat "$folder/.made-of" 2>/dev/null)" != "$*" ]; then
        rm -rf --one-file-system "$folder"
        { pinned "$@" > "$root/opt/wanted.txt" && wheels "$folder" --no-deps -r "$root/opt/wanted.txt"; } ||
            cannot "$* could not be fetched for aarch64"
        echo "$*" > "$folder/.made-of"
    fi
fi
echo "$root"
