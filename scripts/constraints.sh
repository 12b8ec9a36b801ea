#!/bin/sh
# Update all pins: constraints/constraints.txt for Python 3.11 to 3.13, without addresses. Needs uv (pip install uv).
set -eu
cd "$(dirname "$0")/.."
uv pip compile -q pyproject.toml --universal --extra dev --python-version 3.11 --override constraints/overrides.txt \
    --no-emit-index-url --no-annotate --no-header -o constraints/constraints.txt
