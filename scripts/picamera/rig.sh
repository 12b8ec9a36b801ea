#!/usr/bin/env bash
# The real picamera2 without a Raspberry Pi: Debian in a folder, made once and kept, with the checkout's own environment.
#   scripts/picamera/rig.sh imports-bookworm   picamera2, our OpenCV and LiteRT in one environment, no camera
#   scripts/picamera/rig.sh imports-trixie     the same for the newer system
#   scripts/picamera/rig.sh virtual            all that device/sources/picamera.py does, on libcamera's virtual camera
# More arguments go to pytest. Needs root (mounts, chroot), apt and pip; ends with 77 and a reason where it cannot run.
#
# What differs from a Raspberry Pi: picamera2, simplejpeg, videodev2 come as wheels, since Raspberry Pi's archive is not
# Debian's; libcamera is Debian's; kms++ and PiDNG are stubs; the processor is this machine's.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
checkout=$(cd "$here/../.." && pwd)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/deblurkit/picamera
cannot() { echo "rig: $*" >&2; exit 77; }

what=${1:-}
case $what in
    # libcamera 0.3.2, as Bookworm had it in late 2024 with picamera2 0.3.22. simplejpeg 1.7.2 is compiled against
    # numpy 1, as the one of Raspberry Pi's archive: that is what numpy 2 breaks.
    imports-bookworm)
        suite=bookworm python=3.11 constraints=constraints/bookworm.txt tests=tests/rigs/picamera/test_imports.py
        wheels='picamera2==0.3.22 simplejpeg==1.7.2 v4l2-python3 videodev2' ;;
    # 0.4.0 of Trixie itself has no virtual camera that keeps time.
    imports-trixie | virtual)
        suite=trixie python=3.13 constraints=constraints/constraints.txt tests=tests/rigs/picamera/test_imports.py
        wheels='picamera2==0.3.38 simplejpeg==1.9.0 videodev2==0.0.4 OpenEXR'
        [ "$what" = virtual ] && tests=tests/rigs/picamera/test_virtual_camera.py ;;
    *) echo "usage: $0 virtual|imports-bookworm|imports-trixie [pytest arguments]" >&2; exit 2 ;;
esac
shift
packages=python3-venv,python3-numpy,python3-libcamera,libcamera-ipa,python3-prctl,python3-piexif,python3-libarchive-c
packages+=,python3-tqdm,python3-jsonschema,python3-pil,python3-av,grep,sed,base-files

[ "$(id -u)" = 0 ] || cannot "needs root, for mounts and chroot: sudo make test-picamera"
missing=
for tool in mmdebstrap gcc unshare setpriv flock; do command -v "$tool" >/dev/null || missing+=" $tool"; done
if [ -n "$missing" ]; then
    command -v apt-get >/dev/null || cannot "needs$missing"
    apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq mmdebstrap gcc libc6-dev util-linux >/dev/null ||
        cannot "needs$missing: apt install mmdebstrap gcc libc6-dev util-linux"
fi
mirror=$("$checkout/scripts/mirror.sh") || exit

pip() { "${PYTHON:-python3}" -m pip -qq --disable-pip-version-check "$@"; }
machine=$(uname -m)
platforms=("--platform=manylinux2014_$machine")
for glibc in 17 27 28 31 34; do platforms+=("--platform=manylinux_2_${glibc}_$machine"); done
for_root=(--python-version "$python" --implementation cp --abi "cp${python/./}" --abi abi3 --abi none "${platforms[@]}" --only-binary=:all:)

# The root: Debian's packages, configured as on any machine, and in dist-packages what Raspberry Pi's archive would add.
make_root() {
    local root=$1
    unshare --mount mmdebstrap --quiet --variant=apt --include="$packages" --dpkgopt='path-exclude=/usr/share/doc/*' \
        --dpkgopt='path-exclude=/usr/share/locale/*' --dpkgopt='path-exclude=/usr/share/man/*' \
        --setup-hook='mkdir -p "$1/etc/apt/preferences.d"; printf "Package: src:libcamera\nPin: release n='"$suite"'-backports\nPin-Priority: 900\n" > "$1/etc/apt/preferences.d/libcamera"' \
        "$suite" "$root" "deb $mirror $suite main" "deb $mirror $suite-backports main"
    # shellcheck disable=SC2086
    pip install --no-compile --no-deps --target "$root/usr/lib/python3/dist-packages" "${for_root[@]}" $wheels
    cp -r "$here"/stubs/* "$here/virtual_camera.py" "$root/usr/lib/python3/dist-packages/"
    [ "$suite" = bookworm ] || echo 'from virtual_camera import Picamera2' >> "$root/usr/lib/python3/dist-packages/picamera2/__init__.py"
    sed -i '/^Requires-Dist/d' "$root"/usr/lib/python3/dist-packages/picamera2-*/METADATA  # Debian has it under other names
    # Bookworm's backport of python3-libcamera lies where Debian's Python does not look.
    local astray=/usr/lib/$machine-linux-gnu/python$python/site-packages/libcamera
    [ ! -d "$root$astray" ] || ln -s "$astray" "$root/usr/lib/python3/dist-packages/"
    gcc -O2 -shared -fPIC -o "$root/opt/dma_buffers.so" "$here/dma_buffers.c"
    touch "$root/etc/rpi-issue"  # scripts/setup.sh: this is a Raspberry Pi
    mkdir "$root/deblurkit"
}

# A copy of the checkout, so that nothing in the root can write to it; the environment there is kept from run to run.
copy_checkout() {
    find "$1/deblurkit" -mindepth 1 -maxdepth 1 ! -name .venv -exec rm -r --one-file-system {} +
    (cd "$checkout" && tar -c --exclude=__pycache__ device train export benchmarks tests constraints scripts deblurkit.py \
        pyproject.toml README.md LICENSE) | tar -x -C "$1/deblurkit"
}

# inside ROOT [NAME=VALUE…] COMMAND…: mounts and processes live in namespaces of their own and end with them, however this
# script ends.
inside() {
    setpriv --pdeathsig KILL unshare --mount --pid --fork --kill-child bash -euc '
        root=$1
        shift
        mount -t proc proc "$root/proc"
        mount --rbind /dev "$root/dev"
        mount --rbind /sys "$root/sys"
        exec chroot "$root" env -i -C /deblurkit PATH=/usr/bin:/usr/sbin:/bin HOME=/root LANG=C.UTF-8 "$@"' inside "$@" 9>&-
}

# The wheels that the root, which has no network, installs by itself. pip downloads for another Python, but reads the
# markers of a constraints file ("python_full_version >= '3.12'") for its own: so they are applied here.
fetch_wheels() {
    mkdir "$1/wheels"
    "${PYTHON:-python3}" - "$checkout" "$constraints" "$python" "$1/wheels" <<-'PYTHON'
	import sys, tomllib
	from pathlib import Path
	from pip._vendor.packaging.requirements import Requirement
	checkout, constraints, python, folder = sys.argv[1:]
	project = tomllib.loads(Path(checkout, "pyproject.toml").read_text())
	project, build = project["project"], project["build-system"]["requires"]
	wanted = [*project["dependencies"], *project["optional-dependencies"]["live"], *build, "editables", "pytest", "pytest-timeout"]
	Path(folder, "wanted.txt").write_text("\n".join(wanted))
	pins = [Requirement(line) for line in Path(checkout, constraints).read_text().splitlines() if line and line.lstrip()[0] != "#"]
	there = {"python_version": python, "python_full_version": python + ".0"}
	pins = [pin for pin in pins if pin.marker is None or pin.marker.evaluate(there)]
	Path(folder, "pins.txt").write_text("\n".join(f"{pin.name}{pin.specifier}" for pin in pins))
	PYTHON
    pip download --dest "$1/wheels" -r "$1/wheels/wanted.txt" -c "$1/wheels/pins.txt" "${for_root[@]}"
    [ "$suite" = trixie ] || pip install --no-compile --no-deps --target "$1/numpy2" "${for_root[@]}" 'numpy>=2,<2.3'
}

mkdir -p "$cache"
exec 9> "$cache/lock"
flock 9  # one run at a time: they share the roots
# Made anew when anything changes that it is made of.
made_of=("$here"/{rig.sh,dma_buffers.c,virtual_camera.py} "$checkout"/{pyproject.toml,scripts/setup.sh,"$constraints"})
fits=$(cat "${made_of[@]}" | cksum | cut -d' ' -f1)
root=$cache/$suite-$fits
if [ ! -d "$root" ]; then
    find "$cache" -mindepth 1 -maxdepth 1 -name "$suite-*" -exec rm -r --one-file-system {} +  # of older versions, or half made
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

configuration=$root/usr/share/libcamera/pipeline/virtual/virtual.yaml
rm -f "$configuration"
[ "$what" != virtual ] || install -D -m 644 "$here/virtual.yaml" "$configuration"

environment=(PICAMERA_RIG="$what" LIBCAMERA_LOG_LEVELS='*:ERROR' PYTHONDONTWRITEBYTECODE=1)
[ "$what" != virtual ] || environment+=(LD_PRELOAD=/opt/dma_buffers.so)
inside "$root" "${environment[@]}" .venv/bin/python -m pytest -p no:cacheprovider "$tests" "$@"
