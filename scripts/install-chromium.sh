#!/bin/sh
# Chromium for the tests of the web page, from the system's own packages. Without root it says how, and those tests skip.
set -eu
for name in chromium chromium-browser google-chrome; do
    command -v "$name" >/dev/null && exit 0
done
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq chromium >/dev/null
else
    echo "no Chromium: the browser tests will be skipped; sudo apt install chromium" >&2
fi
