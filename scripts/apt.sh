#!/usr/bin/env bash
# Install Debian packages, one caller at a time. Without root or apt: print the line to run and end with 77.
#   scripts/apt.sh PACKAGE...
set -euo pipefail
[ "$(id -u)" = 0 ] && command -v apt-get >/dev/null || { echo "needs packages: sudo apt install $*" >&2; exit 77; }
lock=/run/lock/deblurkit-apt
exec 9>> "$lock"
flock 9
if [ ! -s "$lock" ] || [ -n "$(find "$lock" -mmin +60)" ]; then  # the package lists are older than an hour
    apt-get update -qq
    date > "$lock"
fi
# Somebody else may be using apt: wait for its lock.
DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=300 install -y -qq --no-install-recommends "$@" >/dev/null 9>&- ||
    { echo "these packages could not be installed: sudo apt install $*" >&2; exit 77; }
