#!/bin/sh
# How many instructions a TFLite or ONNX file takes on an emulated Arm core: real aarch64 wheels of LiteRT and ONNX Runtime,
# QEMU's user mode, one thread.
#   scripts/instructions/count.sh cortex-a76 device/bundles/small/small_dynamic.tflite …
# Repeatable to 0.5 %. Instructions are not time: caches, pipelines and memory do not exist here. Debian or Ubuntu, root
# (or the packages installed beforehand). What it makes lies in build/aarch64, also the core of the moment: one run at a time.
set -eu
cd "$(dirname "$0")/../.."
core=${1:?"which core? cortex-a76 (Raspberry Pi 5) or cortex-a72 (Raspberry Pi 4)"}
shift
width=192 height=128 times=2
case $core in
    cortex-a76) part=0xd0b features="fp asimd evtstrm aes pmull sha1 sha2 crc32 atomics fphp asimdhp cpuid asimdrdm lrcpc dcpop asimddp" ;;
    cortex-a72) part=0xd08 features="fp asimd evtstrm crc32 cpuid" ;;
    *) echo "count: unknown core $core; expected cortex-a76 or cortex-a72" >&2; exit 2 ;;
esac
for needed in qemu-aarch64 mmdebstrap gcc; do
    command -v $needed >/dev/null || missing=1
done
if [ "${missing:-}" ]; then
    [ "$(id -u)" = 0 ] || { echo "count: apt install qemu-user mmdebstrap gcc" >&2; exit 2; }
    apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq qemu-user mmdebstrap gcc libc6-dev >/dev/null
fi
root=$PWD/build/aarch64
if [ ! -e "$root/.made" ]; then
    mkdir -p build && rm -rf "$root"
    mmdebstrap --quiet --arch=arm64 --variant=extract \
        --include=python3-minimal,libpython3-stdlib,libgomp1,libstdc++6,zlib1g bookworm "$root"
    mkdir -p "$root/proc" && touch "$root/.made"
fi
if [ ! -e "$root/site/.made" ]; then
    rm -rf "$root/site" build/wheels
    for tag in 17 27 28 31 34; do platforms="${platforms:-} --platform manylinux_2_${tag}_aarch64"; done
    # shellcheck disable=SC2086
    .venv/bin/python -m pip download --quiet $platforms --python-version 3.11 --only-binary=:all: \
        -c constraints/constraints.txt -d build/wheels ai-edge-litert onnxruntime numpy
    mkdir -p "$root/site" && for wheel in build/wheels/*.whl; do python3 -m zipfile -e "$wheel" "$root/site"; done
    touch "$root/site/.made"
fi
gcc -shared -fPIC -O2 -o build/count.so scripts/instructions/count.c
# The runtimes choose their kernels by what /proc/cpuinfo says.
printf 'processor\t: 0\nFeatures\t: %s\nCPU implementer\t: 0x41\nCPU architecture: 8\nCPU variant\t: 0x1\nCPU part\t: %s\nCPU revision\t: 0\n' \
    "$features" "$part" > "$root/proc/cpuinfo"
cp scripts/instructions/infer.py "$root/"
for file in "$@"; do
    model=model.${file##*.}
    cp "$file" "$root/$model"
    if ! said=$(PYTHONPATH=/site qemu-aarch64 -cpu "$core" -plugin file="$PWD/build/count.so" -L "$root" \
        "$root/usr/bin/python3.11" /infer.py "/$model" $times $width $height 2>&1); then
        echo "count: $file did not run on the emulated $core: $(echo "$said" | grep -v '^instructions ' | tail -n 1)" >&2
        exit 1
    fi
    each=$(echo "$said" | awk '$1 == "instructions" {before = now; now = $2} END {printf "%.0f", (now - before) / '$times'}')
    manifest=$(dirname "$file")/manifest.json
    macs=$(python3 -c 'import json, sys; print(json.load(open(sys.argv[1]))["macs_per_pixel"])' "$manifest" 2>/dev/null || echo 0)
    python3 - "$core" "$file" "$each" $width $height "$macs" <<'PY'
import sys

core, file, each, width, height, macs = sys.argv[1:]
pixel = int(each) / int(width) / int(height)
share = f", {1000 * pixel / float(macs):.0f} per kMAC" if float(macs) else ""
print(f"{core} (emulated)  {file.split('/')[-1]}  {width}x{height}: {int(each) / 1e6:.2f} M instructions, {pixel:.0f} per pixel{share}")
PY
done
