#!/bin/sh
# Makes build/aarch64: the root folder of an Arm board (Debian bookworm, Python 3.11) with the real aarch64 wheels of the
# runtimes, and the counting plugin for QEMU's user mode. For count.py, which calls it; what is there already is kept.
#   scripts/instructions/root.sh
# Debian or Ubuntu, root (or the packages installed beforehand).
set -eu
cd "$(dirname "$0")/../.."
for needed in qemu-aarch64 mmdebstrap gcc; do
    command -v $needed >/dev/null || missing=1
done
if [ "${missing:-}" ]; then
    [ "$(id -u)" = 0 ] || { echo "root.sh: apt install qemu-user mmdebstrap gcc libc6-dev" >&2; exit 2; }
    apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq qemu-user mmdebstrap gcc libc6-dev >/dev/null
fi
root=$PWD/build/aarch64
if [ ! -e "$root/.made" ]; then
    mkdir -p build && rm -rf "$root"
    mmdebstrap --quiet --arch=arm64 --variant=extract \
        --include=python3-minimal,libpython3-stdlib,libgomp1,libstdc++6,zlib1g bookworm "$root"
    touch "$root/.made"
fi
# opencv-python-headless: the device package needs it; ncnn and openvino are runtimes that `deblurkit bench` knows.
if [ ! -e "$root/site/.made-5" ]; then
    rm -rf "$root/site" build/wheels
    for tag in 17 24 27 28 31 34 35; do platforms="${platforms:-} --platform manylinux_2_${tag}_aarch64"; done
    for names in "ai-edge-litert onnxruntime numpy" "--no-deps opencv-python-headless" "--no-deps ncnn" "--no-deps openvino"; do
        # shellcheck disable=SC2086
        .venv/bin/python -m pip download --quiet $platforms --platform manylinux2014_aarch64 --python-version 3.11 \
            --only-binary=:all: -c constraints/constraints.txt -d build/wheels $names
    done
    mkdir -p "$root/site" && for wheel in build/wheels/*.whl; do python3 -m zipfile -e "$wheel" "$root/site"; done
    touch "$root/site/.made-5"
fi
gcc -shared -fPIC -O2 -o build/count.so scripts/instructions/count.c
