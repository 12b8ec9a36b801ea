#!/usr/bin/env bash
# The root folder of an Arm board, built once and kept in the user's cache: Debian for arm64, and the packages that the kit
# requires from real aarch64 wheels. Nothing is emulated and nothing is configured here: files are only unpacked. Prints the path.
#   scripts/aarch64/root.sh bookworm                     Python 3.11, constraints/bookworm.txt
#   scripts/aarch64/root.sh trixie                       Python 3.13
#   scripts/aarch64/root.sh SUITE FOLDER PACKAGE...      also these wheels, without their requirements, in its /opt/FOLDER
# Used by rig.sh and scripts/instructions/count.py. Needs apt and pip, and root only to install missing tools. Ends with 77 and
# the reason if it cannot run here.
set -euo pipefail
checkout=$(cd "$(dirname "$0")/../.." && pwd)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/deblurkit/aarch64
export PYTHON_HERE=${PYTHON:-$checkout/.venv/bin/python}
cannot() { echo "aarch64: $*" >&2; exit 77; }

suite=${1:-}
case $suite in
    bookworm) python=3.11 constraints=(constraints/bookworm.txt constraints/constraints.txt) ;;
    trixie) python=3.13 constraints=(constraints/constraints.txt) ;;
    *) echo "usage: $0 bookworm|trixie [FOLDER PACKAGE...]" >&2; exit 2 ;;
esac
shift
"$checkout/scripts/need.sh" mmdebstrap flock:util-linux qemu-aarch64:qemu-user gcc gcc:libc6-dev || exit

pins() { "$PYTHON_HERE" "$checkout/scripts/pins.py" "$python" aarch64 "$@"; }

# wheels FOLDER PIP-ARGUMENT...: downloads them, then unpacks them into the folder.
wheels() {
    local folder=$1
    shift
    "$checkout/scripts/wheels.sh" download "$python" aarch64 "$folder.wheels" "$@" || return
    "$checkout/scripts/wheels.sh" unpack "$python" aarch64 "$folder" "$folder.wheels"/*.whl || return
    rm -r "$folder.wheels"
}

make_root() {  # "|| return": bash ignores `set -e` in a function whose status is tested
    local mirror
    mirror=$("$checkout/scripts/mirror.sh") || exit
    mmdebstrap --quiet --arch=arm64 --variant=extract --include=base-files,coreutils,dash,libc-bin \
        --include=python3-minimal,libpython3-stdlib,libgomp1,libstdc++6,zlib1g "$suite" "$1" "deb $mirror $suite main" >&2 || return
    # What the packages' own scripts would do.
    for folder in bin lib sbin; do [ -e "$1/$folder" ] || ln -s "usr/$folder" "$1/$folder"; done
    echo 'root:x:0:0:root:/root:/bin/sh' > "$1/etc/passwd"
    echo 'root:x:0:' > "$1/etc/group"
    echo '127.0.0.1 localhost' > "$1/etc/hosts"
    mkdir -p "$1"/{proc,sys,dev,tmp,root,home/pi,opt,usr/lib/python3/dist-packages}
    pins requirements live onnx > "$1/opt/requirements.txt" && pins constraints "${constraints[@]}" > "$1/opt/pins.txt" || return
    wheels "$1/usr/local/lib/python$python/dist-packages" -r "$1/opt/requirements.txt" -c "$1/opt/pins.txt"
}

mkdir -p "$cache"
exec 9> "$cache/lock-root-$suite"
flock 9
version=$(cd "$checkout" && cat scripts/{aarch64/root.sh,pins.py,wheels.sh} pyproject.toml "${constraints[@]}" | cksum | cut -d' ' -f1)
root=$cache/$suite-$version
if [ ! -d "$root" ]; then
    find "$cache" -mindepth 1 -maxdepth 1 -name "$suite-*" -exec rm -r --one-file-system {} +  # older versions, unfinished ones
    trap 'rm -rf --one-file-system "$root.part"' EXIT
    make_root "$root.part" || cannot "Debian $suite for arm64 or its wheels could not be fetched"
    mv "$root.part" "$root"
fi
if [ $# -gt 1 ]; then
    folder=$root/opt/$1
    shift
    if [ "$(cat "$folder/.packages" 2>/dev/null)" != "$*" ]; then
        rm -rf --one-file-system "$folder" "$folder.wheels"
        wheels "$folder" --no-deps -c "$root/opt/pins.txt" "$@" || cannot "$* could not be fetched for aarch64"
        echo "$*" > "$folder/.packages"
    fi
fi
echo "$root"
