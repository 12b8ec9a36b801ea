#!/bin/sh
# Create or update one kind of virtual environment. Does nothing if it is up to date.
#   scripts/setup.sh floor   what a board needs: numpy, OpenCV, LiteRT, PyAV   -> .venv
#   scripts/setup.sh full    every command and everything the tests need       -> .venv
#   scripts/setup.sh gpu     training on an NVIDIA GPU: Keras on JAX with CUDA -> .venv-gpu
#   scripts/setup.sh legacy  tflite-runtime, for bench --python (Python 3.11)  -> .venv-legacy
set -eu
cd "$(dirname "$0")/.."
kind=${1:-}
constraints=constraints/constraints.txt
options=
newest=13
case $kind in
    floor) venv=.venv extras='[live]' ;;
    full) venv=.venv extras='[dev]' ;;
    gpu) venv=.venv-gpu extras='[gpu]' constraints=constraints/gpu.txt ;;
    legacy) venv=.venv-legacy extras='[legacy]' constraints=constraints/legacy.txt newest=11 ;;
    *) echo "usage: $0 floor|full|gpu|legacy" >&2; exit 2 ;;
esac

python=${PYTHON:-python3}
# tflite-runtime ended with Python 3.11.
if [ "$kind" = legacy ] && [ -z "${PYTHON:-}" ] && python3.11 -c '' 2>/dev/null; then
    python=python3.11
fi
# Raspberry Pi OS: picamera2 comes from apt, built for the system's Python and numpy.
if [ -e /etc/rpi-issue ] && [ "$kind" = floor ]; then
    python=/usr/bin/python3
    options=--system-site-packages
    grep -q bookworm /etc/os-release && constraints=constraints/bookworm.txt
fi

if ! "$python" -c "import sys, struct; sys.exit(not ((3, 11) <= sys.version_info[:2] <= (3, $newest) and struct.calcsize('P') == 8))"; then
    versions='3.11, 3.12 or 3.13' example=python3.12
    [ "$newest" = 11 ] && versions=3.11 example=python3.11
    echo "setup: $("$python" --version 2>&1) is not supported; a 64-bit Python $versions is needed: make PYTHON=$example ..." >&2
    exit 2
fi
if ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
        apt-get update -qq && apt-get install -y -qq python3-venv
    else
        echo "setup: Python's venv is missing; sudo apt install python3-venv" >&2
        exit 2
    fi
fi

# Up to date if the environment was created from exactly these files.
stamp=$venv/.deblurkit-$kind
wanted=$(cat pyproject.toml "$constraints" | cksum)
if [ "$(cat "$stamp" 2>/dev/null)" = "$wanted" ] || { [ "$kind" = floor ] && [ "$(cat "$venv/.deblurkit-full" 2>/dev/null)" = "$wanted" ]; }; then
    exit 0
fi
# Without pip: the environment is new, or an earlier run was stopped while creating it.
"$venv/bin/python" -c "import pip" 2>/dev/null || "$python" -m venv $options "$venv"
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check -c "$constraints" -e ".$extras"
# pnnx converts for ncnn. Its package requires PyTorch, which the program in it does not need.
[ "$kind" = full ] && "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps -c "$constraints" pnnx
echo "$wanted" > "$stamp"
