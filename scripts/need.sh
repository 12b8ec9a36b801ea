#!/usr/bin/env bash
# Make sure that tools are there: install the packages of those that are missing (apt.sh).
#   scripts/need.sh TOOL[:PACKAGE]...
set -euo pipefail
PATH=$PATH:/usr/sbin:/sbin
missing=()
for pair in "$@"; do
    command -v "${pair%%:*}" >/dev/null || missing+=("${pair#*:}")
done
[ ${#missing[@]} = 0 ] || "$(dirname "$0")/apt.sh" "${missing[@]}"
