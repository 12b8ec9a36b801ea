#!/usr/bin/env bash
# The wheel of this checkout, built into FOLDER; prints its path. $KIT_WHEEL: one that is built already, copied.
#   scripts/kit_wheel.sh FOLDER
set -euo pipefail
checkout=$(cd "$(dirname "$0")/.." && pwd)
folder=$1
if [ -n "${KIT_WHEEL:-}" ]; then
    cp "$KIT_WHEEL" "$folder/"
else
    log=$("${PYTHON:-$checkout/.venv/bin/python}" -m build --wheel --no-isolation --outdir "$folder" "$checkout" 2>&1) ||
        { echo "$log" >&2; exit 1; }
fi
ls "$folder"/deblurkit-*.whl
