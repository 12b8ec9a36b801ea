#!/usr/bin/env bash
# The virtual board's files, as a folder: Debian with systemd and sshd, a user pi, and an environment with the wheels that the kit
# requires. For rig.sh, which keeps it. Debian's packages are only unpacked; configure.sh does what their own scripts would do:
# emulated, those take ten minutes.
#   scripts/board/root.sh FOLDER
# Reads DEBIAN_MIRROR and PYTHON; needs root.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
scripts=$here/..
suite=trixie python=3.13
root=$1
system=base-files,base-passwd,bash,coreutils,dash,diffutils,e2fsprogs,findutils,grep,gzip,hostname,iproute2,libc-bin,login,mawk
system+=,libstdc++6,mount,passwd,procps,sed,tar,util-linux
board=systemd,systemd-sysv,udev,dbus,kmod,openssh-server,sudo,python3,python3-venv

mmdebstrap --quiet --arch=arm64 --variant=extract --include="$system,$board" --dpkgopt='path-exclude=/usr/share/doc/*' \
    --dpkgopt='path-exclude=/usr/share/locale/*' "$suite" "$root" "deb $DEBIAN_MIRROR $suite main"

# The wheels of `pip install deblurkit[live]` on the board, unpacked by this machine's pip: the board's own would take minutes to
# start.
export PYTHON_HERE=$PYTHON
"$PYTHON" "$scripts/pins.py" "$python" aarch64 requirements live > "$root/requirements.txt"
"$PYTHON" "$scripts/pins.py" "$python" aarch64 constraints constraints/constraints.txt > "$root/pins.txt"
"$scripts/wheels.sh" download "$python" aarch64 "$root/wheels" -r "$root/requirements.txt" -c "$root/pins.txt"
echo "root: Debian $suite, $(du -sm "$root/wheels" | cut -f1) MiB of wheels" >&2
"$scripts/wheels.sh" unpack "$python" aarch64 "$root/home/pi/deblurkit/.venv/lib/python$python/site-packages" "$root"/wheels/*.whl

install -m 755 "$here/configure.sh" "$root/configure.sh"
"$here/foreign.sh" "$root" /configure.sh
rm -r "$root"/{wheels,requirements.txt,pins.txt,configure.sh}
