#!/usr/bin/env bash
# The board's disk with the kit, installed as README and docs/service.md say: a wheel in the user's environment, and the service in
# an image. The system on this disk has never been started. For rig.sh, which keeps it while the wheel stays the same.
#   scripts/board/install.sh ROOT WHEEL FOLDER
# Reads PYTHON; needs root.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$1 wheel=$2 folder=$3
venv=/home/pi/deblurkit/.venv
mkdir "$folder"
cp -a --reflink=auto "$root" "$folder/files"
packages=$(echo "$folder/files$venv"/lib/python3.*/site-packages)
"$PYTHON" -m pip -qq --disable-pip-version-check install --root-user-action=ignore --no-warn-conflicts --no-compile --no-deps \
    --ignore-requires-python --target "$folder/kit" "$wheel"
mv "$folder/kit/bin/deblurkit" "$folder/files$venv/bin/"
sed -i "1s|.*|#!$venv/bin/python|" "$folder/files$venv/bin/deblurkit"
cp -r "$folder/kit/share" "$folder/files$venv/"
rm -r "$folder"/kit/{bin,share}
mv "$folder"/kit/* "$packages/"
rmdir "$folder/kit"
cp "$here/board.toml" "$folder/files/home/pi/"
chown -R 1000:1000 "$folder/files/home/pi"
"$here/foreign.sh" "$folder/files" "$venv/bin/python" -m compileall -q "${packages#"$folder/files"}/device" "${packages#"$folder/files"}/deblurkit.py"
"$here/foreign.sh" "$folder/files" "$venv/bin/deblurkit" service install --root / --config /home/pi/board.toml
mv "$folder/files/key" "$folder/"
mke2fs -q -t ext4 -d "$folder/files" "$folder/board.ext4" 4G > /dev/null
rm -r --one-file-system "$folder/files"
