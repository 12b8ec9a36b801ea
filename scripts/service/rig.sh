#!/usr/bin/env bash
# The service on a systemd that really runs: Debian in a folder, booted in a container, with the kit's own wheel in it.
#   scripts/service/rig.sh bookworm   systemd 252, Python 3.11, numpy below 2
#   scripts/service/rig.sh trixie     systemd 257, Python 3.13
# More arguments go to pytest. Needs root (mounts, containers), apt and pip; ends with 77 and a reason where it cannot run.
#
# What differs from a Raspberry Pi: no camera, the processor is this machine's, and where this machine's control groups
# are of version 1 nothing holds the service below MemoryMax.
set -euo pipefail
checkout=$(cd "$(dirname "$0")/../.." && pwd)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/deblurkit/service
cannot() { echo "rig: $*" >&2; exit 77; }

suite=${1:-}
case $suite in
    bookworm) python=3.11 constraints=constraints/bookworm.txt ;;
    trixie) python=3.13 constraints=constraints/constraints.txt ;;
    *) echo "usage: $0 bookworm|trixie [pytest arguments]" >&2; exit 2 ;;
esac
shift

[ "$(id -u)" = 0 ] || cannot "needs root, for mounts and a container: sudo make test-service"
missing=
for tool in mmdebstrap systemd-nspawn unshare flock; do command -v "$tool" >/dev/null || missing+=" $tool"; done
if [ -n "$missing" ]; then
    command -v apt-get >/dev/null || cannot "needs$missing"
    apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=300 install -y -qq mmdebstrap systemd-container util-linux >/dev/null ||
        cannot "needs$missing: apt install mmdebstrap systemd-container util-linux"
fi
mirror=$("$checkout/scripts/mirror.sh") || exit

host_python=${PYTHON:-$checkout/.venv/bin/python}
pip() { "$host_python" -m pip -qq --disable-pip-version-check "$@"; }
platforms=()
for glibc in 17 27 28 31 34; do platforms+=("--platform=manylinux_2_${glibc}_$(uname -m)"); done
home=/home/pi venv="/home/pi/my kit/.venv"  # a path with a space, in a home that is closed as on Raspberry Pi OS

make_root() {
    mmdebstrap --quiet --variant=minbase --include=systemd,systemd-sysv,dbus,procps,python3,python3-venv,openssh-server,sudo \
        --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/locale/*' \
        "$suite" "$1" "deb $mirror $suite main"
    rm -f "$1/etc/machine-id"
    mkdir -p "$1/wheels" "$1$home"
    chmod 700 "$1$home"
    # A constraints file's markers are judged by the Python that reads it: the others' lines are left out here.
    "$host_python" - "$checkout" "$constraints" "$python" > "$1/wheels/wanted.txt" <<-'PYTHON'
	import sys, tomllib
	from pathlib import Path
	from pip._vendor.packaging.requirements import Requirement
	checkout, constraints, python = sys.argv[1:]
	project = tomllib.loads(Path(checkout, "pyproject.toml").read_text())["project"]
	wanted = [Requirement(line) for line in [*project["dependencies"], *project["optional-dependencies"]["live"]]]
	pins = [Requirement(line) for line in Path(checkout, constraints).read_text().splitlines() if line and line.lstrip()[0] != "#"]
	there = {"python_version": python, "python_full_version": python + ".0"}
	pinned = {pin.name: pin.specifier for pin in pins if pin.marker is None or pin.marker.evaluate(there)}
	for one in wanted:
	    print(f"{one.name}{pinned.get(one.name, one.specifier)}")
	PYTHON
    pip download --dest "$1/wheels" -r "$1/wheels/wanted.txt" --python-version "$python" --implementation cp \
        --abi "cp${python/./}" --abi abi3 --abi none "${platforms[@]}" --only-binary=:all:
    chroot "$1" env -i PATH=/usr/bin:/bin python3 -m venv "$venv"
    chroot "$1" env -i PATH=/usr/bin:/bin "$venv/bin/python" -m pip install -qq --no-index --find-links=/wheels -r /wheels/wanted.txt
}

mkdir -p "$cache"
exec 9> "$cache/lock"
flock 9  # one run at a time: they share the roots
fits=$(cat "$checkout"/{scripts/service/rig.sh,pyproject.toml,"$constraints"} | cksum | cut -d' ' -f1)
root=$cache/$suite-$fits
if [ ! -d "$root" ]; then
    find "$cache" -mindepth 1 -maxdepth 1 -name "$suite-*" -exec rm -r {} +  # of older versions, or half made
    trap 'rm -rf "$root.part"' EXIT
    make_root "$root.part" || cannot "Debian $suite or its wheels could not be fetched"
    mv "$root.part" "$root"
fi

# The kit as it is now, and nothing that an earlier run left.
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"$host_python" -m build --wheel --no-isolation --outdir "$work" "$checkout" > "$work/log" 2>&1 || { cat "$work/log" >&2; exit 1; }
rm -rf "$root"/{wheels/deblurkit-*,etc/deblurkit,etc/deblurkit.toml,etc/systemd/system/deblurkit.service*,opt/deblurkit,var/lib/{,private/}deblurkit,var/log/journal}
cp "$work"/deblurkit-*.whl "$root/wheels/"
chroot "$root" env -i PATH=/usr/bin:/bin "$venv/bin/python" -m pip install -qq --no-index --no-deps --force-reinstall \
    "$(cd "$root" && ls -d wheels/deblurkit-*.whl | sed 's|^|/|')"

# Everything that is begun and mounted here ends with this script, however that ends. The container's control groups are of
# version 2, below a group of their own, also where this machine's are of version 1.
unshare --mount --pid --fork --kill-child --mount-proc bash -euc '
    group=/sys/fs/cgroup/deblurkit-service-$1
    mountpoint -q /sys/fs/cgroup && umount -R -l /sys/fs/cgroup
    mount -t cgroup2 cgroup2 /sys/fs/cgroup
    mkdir -p "$group"
    echo 0 > "$group/cgroup.procs"
    SYSTEMD_NSPAWN_UNIFIED_HIERARCHY=1 systemd-nspawn --quiet --directory="$2" --machine="deblurkit-$1" --register=no --keep-unit \
        --private-network --boot --console=pipe < /dev/null > "$3/boot.log" 2>&1 || true
    echo 0 > /sys/fs/cgroup/cgroup.procs
    find "$group" -depth -type d -exec rmdir {} \;' rig "$suite" "$root" "$work" 9>&- &
container=$!
finish() {
    [ -z "${leader:-}" ] || nsenter --target "$leader" --all systemctl poweroff 2>/dev/null || true
    for _ in $(seq 50); do kill -0 "$container" 2>/dev/null || break; sleep 0.2; done
    kill -KILL "$container" 2>/dev/null || true
    rm -rf "$work"
}
trap finish EXIT

child() { pgrep --parent "$1" 2>/dev/null | head -n 1; }
booted=
for _ in $(seq 200); do
    shell=$(child "$container") && nspawn=$(child "${shell:-0}") && leader=$(child "${nspawn:-0}") || true
    if [ -n "${leader:-}" ] && [[ $(nsenter --target "$leader" --all systemctl is-system-running 2>/dev/null) =~ running|degraded ]]; then
        booted=yes
        break
    fi
    kill -0 "$container" 2>/dev/null || break
    sleep 0.3
done
[ -n "$booted" ] || { tail -n 20 "$work/boot.log" >&2; cannot "Debian $suite does not boot in a container here"; }

cd "$checkout"
SERVICE_RIG="$leader:$venv/bin/deblurkit" SERVICE_WHEELS="$root/wheels" "$host_python" -m pytest -p no:cacheprovider tests/rigs/service "$@"
