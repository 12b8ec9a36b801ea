#!/usr/bin/env bash
# The board's files, as a folder: Debian with systemd and sshd, a user pi, and an environment with the wheels that the kit asks
# for. For rig.sh, which keeps it. Debian's packages are unpacked, and what their own scripts would have done is in configure.sh:
# emulated, those take ten minutes.
#   scripts/board/root.sh FOLDER
# Reads DEBIAN_MIRROR and PYTHON; needs root.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
checkout=$(cd "$here/../.." && pwd)
suite=trixie python=3.13
root=$1
system=base-files,base-passwd,bash,coreutils,dash,diffutils,e2fsprogs,findutils,grep,gzip,hostname,iproute2,libc-bin,login,mawk
system+=,libstdc++6,mount,passwd,procps,sed,tar,util-linux
board=systemd,systemd-sysv,udev,dbus,kmod,openssh-server,sudo,python3,python3-venv

mmdebstrap --quiet --arch=arm64 --variant=extract --include="$system,$board" --dpkgopt='path-exclude=/usr/share/doc/*' \
    --dpkgopt='path-exclude=/usr/share/locale/*' "$suite" "$root" "deb $DEBIAN_MIRROR $suite main"

# The wheels of `pip install deblurkit[live]` on the board, by this machine's pip: the board's own would take minutes to begin.
# A constraints file's markers are judged by the Python that reads it: the others' lines are left out here.
wanted=$("$PYTHON" - "$checkout" "$python" <<'END'
import sys, tomllib
from pathlib import Path
from pip._vendor.packaging.requirements import Requirement
checkout, python = sys.argv[1:]
project = tomllib.loads(Path(checkout, "pyproject.toml").read_text())["project"]
lines = Path(checkout, "constraints", "constraints.txt").read_text().splitlines()
wanted = [Requirement(line) for line in [*project["dependencies"], *project["optional-dependencies"]["live"]]]
pins = [Requirement(line) for line in lines if line and line.lstrip()[0] != "#"]
there = {"python_version": python, "python_full_version": python + ".0", "platform_machine": "aarch64"}
pinned = {pin.name: pin.specifier for pin in pins if pin.marker is None or pin.marker.evaluate(there)}
for one in wanted:
    print(f"{one.name}{pinned.get(one.name, one.specifier)}")
END
)
for_board=(--python-version "$python" --implementation cp --abi "cp${python/./}" --abi abi3 --abi none --only-binary=:all:
    --platform=manylinux2014_aarch64)
for glibc in 17 24 27 28 31 34; do for_board+=("--platform=manylinux_2_${glibc}_aarch64"); done
pip() { "$PYTHON" -m pip -qq --disable-pip-version-check "$@" "${for_board[@]}"; }
# In two steps: only `download` judges by the other Python which versions fit it.
# shellcheck disable=SC2086
pip download --dest "$root/wheels" $wanted
echo "root: Debian $suite, $(du -sm "$root/wheels" | cut -f1) MiB of wheels" >&2
pip install --root-user-action=ignore --no-warn-conflicts --no-compile --no-deps --ignore-requires-python \
    --target "$root/home/pi/deblurkit/.venv/lib/python$python/site-packages" "$root"/wheels/*.whl

install -m 755 "$here/configure.sh" "$root/configure.sh"
"$here/foreign.sh" "$root" /configure.sh
rm -r "$root"/{wheels,configure.sh}
