#!/usr/bin/env bash
# The real picamera2 without a Raspberry Pi: Debian in a folder, built once and kept, with the checkout's own environment.
#   scripts/picamera/rig.sh imports-bookworm   picamera2, our OpenCV and LiteRT in one environment, no camera
#   scripts/picamera/rig.sh imports-trixie     the same on the newer system
#   scripts/picamera/rig.sh virtual            everything that device/sources/picamera.py does, on libcamera's virtual camera (Trixie)
#   scripts/picamera/rig.sh all                all three
# Further arguments go to pytest. Needs root (mounts, chroot), apt and pip. Ends with 77 and the reason if it cannot run here.
#
# What differs from a Raspberry Pi: picamera2, simplejpeg and videodev2 are wheels, because Raspberry Pi's archive is not
# Debian's; libcamera is Debian's; kms++ and PiDNG are stubs; the processor is this machine's.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
checkout=$(cd "$here/../.." && pwd)
scripts=$checkout/scripts
cache=${XDG_CACHE_HOME:-$HOME/.cache}/deblurkit/picamera
cannot() { echo "rig: $*" >&2; exit 77; }

form=${1:-}
case $form in
    # libcamera 0.3.2, as Bookworm had it in late 2024 with picamera2 0.3.22. simplejpeg 1.7.2 is compiled against
    # numpy 1, like the one in Raspberry Pi's archive: this is what numpy 2 breaks.
    imports-bookworm)
        suite=bookworm python=3.11 constraints=constraints/bookworm.txt tests=tests/rigs/picamera/test_imports.py
        wheels=(picamera2==0.3.22 simplejpeg==1.7.2 v4l2-python3 videodev2) ;;
    # The virtual camera of Trixie's own libcamera 0.4.0 has no usable timestamps: backports.
    imports-trixie | virtual)
        suite=trixie python=3.13 constraints=constraints/constraints.txt tests=tests/rigs/picamera/test_imports.py
        wheels=(picamera2==0.3.38 simplejpeg==1.9.0 videodev2==0.0.4 OpenEXR)
        [ "$form" = virtual ] && tests=tests/rigs/picamera/test_virtual_camera.py ;;
    all)
        status=0
        for each in imports-bookworm imports-trixie virtual; do "$0" "$each" "${@:2}" || status=$?; done
        exit "$status" ;;
    *) echo "usage: $0 all|virtual|imports-bookworm|imports-trixie [pytest arguments]" >&2; exit 2 ;;
esac
shift
packages=python3-venv,python3-numpy,python3-libcamera,libcamera-ipa,python3-prctl,python3-piexif,python3-libarchive-c
packages+=,python3-tqdm,python3-jsonschema,python3-pil,python3-av,grep,sed,base-files

[ "$(id -u)" = 0 ] || cannot "needs root, for mounts and chroot: sudo make test-picamera"
"$scripts/need.sh" mmdebstrap gcc gcc:libc6-dev unshare:util-linux setpriv:util-linux flock:util-linux || exit
mirror=$("$scripts/mirror.sh") || exit
export PYTHON_HERE=${PYTHON:-python3}
machine=$(uname -m)

# Debian's packages, configured as on any machine, and in dist-packages what Raspberry Pi's archive would add.
make_root() {  # "|| return": bash ignores `set -e` in a function whose status is tested
    local root=$1
    unshare --mount mmdebstrap --quiet --variant=apt --include="$packages" --dpkgopt='path-exclude=/usr/share/doc/*' \
        --dpkgopt='path-exclude=/usr/share/locale/*' --dpkgopt='path-exclude=/usr/share/man/*' \
        --setup-hook='mkdir -p "$1/etc/apt/preferences.d"; printf "Package: src:libcamera\nPin: release n='"$suite"'-backports\nPin-Priority: 900\n" > "$1/etc/apt/preferences.d/libcamera"' \
        "$suite" "$root" "deb $mirror $suite main" "deb $mirror $suite-backports main" || return
    "$scripts/wheels.sh" unpack "$python" "$machine" "$root/usr/lib/python3/dist-packages" "${wheels[@]}" || return
    cp -r "$here"/stubs/* "$here/virtual_camera.py" "$root/usr/lib/python3/dist-packages/"
    [ "$suite" = bookworm ] || echo 'from virtual_camera import Picamera2' >> "$root/usr/lib/python3/dist-packages/picamera2/__init__.py"
    sed -i '/^Requires-Dist/d' "$root"/usr/lib/python3/dist-packages/picamera2-*/METADATA  # Debian has it under other names
    # Bookworm's backport of python3-libcamera lies outside the path of Debian's Python.
    local astray=/usr/lib/$machine-linux-gnu/python$python/site-packages/libcamera
    [ ! -d "$root$astray" ] || ln -s "$astray" "$root/usr/lib/python3/dist-packages/"
    gcc -O2 -shared -fPIC -o "$root/opt/dma_buffers.so" "$here/dma_buffers.c"
    touch "$root/etc/rpi-issue"  # scripts/setup.sh takes it for a Raspberry Pi
    mkdir "$root/deblurkit"
}

# A copy of the checkout, so that nothing in the root can write to the checkout itself. The environment stays from run to run.
copy_checkout() {
    find "$1/deblurkit" -mindepth 1 -maxdepth 1 ! -name .venv -exec rm -r --one-file-system {} +
    (cd "$checkout" && tar -c --exclude=__pycache__ device train export benchmarks tests constraints scripts deblurkit.py \
        pyproject.toml README.md LICENSE) | tar -x -C "$1/deblurkit"
}

# inside ROOT [NAME=VALUE…] COMMAND…: in namespaces of its own, so that mounts and processes end with this script, however it ends.
inside() {
    setpriv --pdeathsig KILL unshare --mount --pid --fork --kill-child bash -euc '
        root=$1
        shift
        mount -t proc proc "$root/proc"
        mount --rbind /dev "$root/dev"
        mount --rbind /sys "$root/sys"
        exec chroot "$root" env -i -C /deblurkit PATH=/usr/bin:/usr/sbin:/bin HOME=/root LANG=C.UTF-8 "$@"' inside "$@" 9>&-
}

# The wheels that the root installs from: it has no network.
fetch_wheels() {
    mkdir "$1/wheels"
    { "$PYTHON_HERE" "$scripts/pins.py" "$python" "$machine" requirements live build &&
        printf '%s\n' editables pytest pytest-timeout; } > "$1/wheels/requirements.txt" || return
    "$PYTHON_HERE" "$scripts/pins.py" "$python" "$machine" constraints "$constraints" > "$1/wheels/pins.txt" || return
    "$scripts/wheels.sh" download "$python" "$machine" "$1/wheels" -r "$1/wheels/requirements.txt" -c "$1/wheels/pins.txt" || return
    [ "$suite" = trixie ] || "$scripts/wheels.sh" unpack "$python" "$machine" "$1/numpy2" 'numpy>=2,<2.3'
}

mkdir -p "$cache"
exec 9> "$cache/lock-$suite"
flock 9  # one run at a time: it changes the root
built_from=("$here"/{rig.sh,dma_buffers.c,virtual_camera.py} "$scripts"/{setup.sh,pins.py,wheels.sh} "$checkout"/{pyproject.toml,"$constraints"})
root=$cache/$suite-$(cat "${built_from[@]}" | cksum | cut -d' ' -f1)
if [ ! -d "$root" ]; then
    find "$cache" -mindepth 1 -maxdepth 1 -name "$suite-*" -exec rm -r --one-file-system {} +  # older versions, unfinished ones
    trap 'rm -rf --one-file-system "$root.part"' EXIT
    make_root "$root.part" || cannot "Debian $suite could not be fetched"
    copy_checkout "$root.part"
    fetch_wheels "$root.part/opt" || cannot "the wheels could not be fetched"
    inside "$root.part" PIP_NO_INDEX=1 PIP_FIND_LINKS=/opt/wheels scripts/setup.sh floor
    inside "$root.part" .venv/bin/python -m pip install --quiet --no-index --find-links=/opt/wheels pytest pytest-timeout
    rm -r "$root.part/opt/wheels"
    mv "$root.part" "$root"
fi
copy_checkout "$root"

camera=$root/usr/share/libcamera/pipeline/virtual/virtual.yaml
rm -f "$camera"
[ "$form" != virtual ] || install -D -m 644 "$here/virtual.yaml" "$camera"

environment=(PICAMERA_RIG="$form" LIBCAMERA_LOG_LEVELS='*:ERROR' PYTHONDONTWRITEBYTECODE=1)
[ "$form" != virtual ] || environment+=(LD_PRELOAD=/opt/dma_buffers.so)
inside "$root" "${environment[@]}" .venv/bin/python -m pytest -p no:cacheprovider "$tests" "$@"
