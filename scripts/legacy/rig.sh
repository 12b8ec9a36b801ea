#!/bin/sh
# tflite-runtime in an environment of its own, on Python 3.11, its last: tests/benchmarks/test_legacy.py.
#   scripts/legacy/rig.sh [pytest arguments]
# Needs a Python 3.11 and the network. Ends with 78 and the reason without the former, with 77 without the latter.
set -eu
cd "$(dirname "$0")/../.."
python=${PYTHON:-.venv/bin/python}
for old in "$python" python3.11 /usr/bin/python3; do
    "$old" -c 'import ensurepip, sys; sys.exit(sys.version_info[:2] != (3, 11))' 2>/dev/null && break || old=
done
[ -n "$old" ] || { echo "rig: no Python 3.11 with venv here, and tflite-runtime has no wheel for a newer one" >&2; exit 78; }
PYTHON=$old scripts/setup.sh legacy || { echo "rig: the packages for .venv-legacy could not be installed" >&2; exit 77; }
exec "$python" -m pytest -p no:cacheprovider tests/benchmarks/test_legacy.py "$@"
