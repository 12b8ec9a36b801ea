#!/usr/bin/env bash
# Wheels for another Python and another machine. Nothing of them runs here.
#   scripts/wheels.sh download PYTHON MACHINE FOLDER PIP-ARGUMENT...   the wheels and all that they require, into FOLDER
#   scripts/wheels.sh unpack PYTHON MACHINE FOLDER WHEEL...            these wheels, installed into FOLDER
# Two steps, because only `pip download` chooses versions for the other Python. Reads PYTHON_HERE, the Python that runs pip.
set -euo pipefail
action=$1 python=$2 machine=$3 folder=$4
shift 4
target=(--python-version "$python" --implementation cp --abi "cp${python/./}" --abi abi3 --abi none --only-binary=:all:
    "--platform=manylinux2014_$machine")
for glibc in 17 24 26 27 28 31 34 35; do target+=("--platform=manylinux_2_${glibc}_$machine"); done
pip=("${PYTHON_HERE:-python3}" -m pip -qq --disable-pip-version-check)
case $action in
    download) "${pip[@]}" download --dest "$folder" "${target[@]}" "$@" >&2 ;;
    unpack) "${pip[@]}" install --root-user-action=ignore --no-warn-conflicts --no-compile --no-deps --ignore-requires-python \
        --target "$folder" "${target[@]}" "$@" >&2 ;;
    *) sed -n '2,5s/^# \{0,1\}//p' "$0" >&2; exit 2 ;;
esac
