#!/bin/sh
# Chromium for the tests of the web page: Debian's package. Without root this prints the line to run, and those tests are skipped.
set -eu
for name in chromium chromium-browser google-chrome; do
    command -v "$name" >/dev/null && exit 0
done
"$(dirname "$0")/apt.sh" chromium chromium-sandbox fonts-liberation libgl1-mesa-dri || { [ "$(id -u)" != 0 ] && exit 0; exit 1; }
