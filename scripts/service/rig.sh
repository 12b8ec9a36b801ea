#!/usr/bin/env bash
# The service on a real systemd: Debian in a folder, booted in a container, with the kit's own wheel installed.
#   scripts/service/rig.sh bookworm short|long   systemd 252, Python 3.11, numpy below 2
#   scripts/service/rig.sh trixie short|long     systemd 257, Python 3.13
# The short form on Bookworm leaves out what test_deploy.py does on Trixie too (tests/rigs/service/conftest.py lists what it runs).
# Further arguments go to pytest. Needs root (mounts, containers), apt and pip. Ends with 77 and the reason if it cannot run here.
#
# What differs from a Raspberry Pi: there is no camera, the processor is this machine's, and on a machine with control groups
# of version 1 nothing keeps the service below MemoryMax.
set -euo pipefail
checkout=$(cd "$(dirname "$0")/../.." && pwd)
scripts=$checkout/scripts
cache=${XDG_CACHE_HOME:-$HOME/.cache}/deblurkit/service
cannot() { echo "rig: $*" >&2; exit 77; }

suite=${1:-} form=${2:-}
case $suite:$form in
    bookworm:short | bookworm:long) python=3.11 constraints=constraints/bookworm.txt ;;
    trixie:short | trixie:long) python=3.13 constraints=constraints/constraints.txt ;;
    *) echo "usage: $0 bookworm|trixie short|long [pytest arguments]" >&2; exit 2 ;;
esac
shift 2

[ "$(id -u)" = 0 ] || cannot "needs root, for mounts and a container: sudo make test-service"
"$scripts/need.sh" mmdebstrap systemd-nspawn:systemd-container unshare:util-linux flock:util-linux || exit
mirror=$("$scripts/mirror.sh") || exit
export PYTHON=${PYTHON:-$checkout/.venv/bin/python}
export PYTHON_HERE=$PYTHON
home=/home/pi venv="/home/pi/my kit/.venv"  # a path with a space, in a home that is closed as on Raspberry Pi OS
machine=$(uname -m)

make_root() {  # "|| return": bash ignores `set -e` in a function whose status is tested
    mmdebstrap --quiet --variant=minbase --include=systemd,systemd-sysv,dbus,procps,python3,python3-venv,openssh-server,sudo \
        --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/locale/*' \
        "$suite" "$1" "deb $mirror $suite main" || return
    rm -f "$1/etc/machine-id"
    mkdir -p "$1/wheels" "$1$home"
    chmod 700 "$1$home"
    "$PYTHON" "$scripts/pins.py" "$python" "$machine" requirements live > "$1/wheels/requirements.txt" || return
    "$PYTHON" "$scripts/pins.py" "$python" "$machine" constraints "$constraints" > "$1/wheels/pins.txt" || return
    "$scripts/wheels.sh" download "$python" "$machine" "$1/wheels" -r "$1/wheels/requirements.txt" -c "$1/wheels/pins.txt" || return
    chroot "$1" env -i PATH=/usr/bin:/bin python3 -m venv "$venv" || return
    chroot "$1" env -i PATH=/usr/bin:/bin "$venv/bin/python" -m pip install -qq --no-index --find-links=/wheels \
        -r /wheels/requirements.txt -c /wheels/pins.txt
}

mkdir -p "$cache"
exec 9> "$cache/lock-$suite"
flock 9  # one run at a time: it changes the root
version=$(cat "$scripts"/{service/rig.sh,pins.py,wheels.sh} "$checkout"/{pyproject.toml,"$constraints"} | cksum | cut -d' ' -f1)
root=$cache/$suite-$version
if [ ! -d "$root" ]; then
    find "$cache" -mindepth 1 -maxdepth 1 -name "$suite-*" -exec rm -r {} +  # older versions, unfinished ones
    trap 'rm -rf "$root.part"' EXIT
    make_root "$root.part" || cannot "Debian $suite or its wheels could not be fetched"
    mv "$root.part" "$root"
fi

# The kit as it is now, and nothing that an earlier run left behind.
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
wheel=$("$scripts/kit_wheel.sh" "$work")
rm -rf "$root"/{wheels/deblurkit-*,etc/deblurkit,etc/deblurkit.toml,etc/systemd/system/deblurkit.service*,opt/deblurkit,var/lib/{,private/}deblurkit,var/log/journal}
cp "$wheel" "$root/wheels/"
chroot "$root" env -i PATH=/usr/bin:/bin "$venv/bin/python" -m pip install -qq --no-index --no-deps --force-reinstall \
    "/wheels/${wheel##*/}"

# The container in namespaces of its own: its mounts and processes end with this script, however it ends. Its control groups are
# of version 2, below a group of their own, even if this machine's are of version 1.
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
[ -n "$booted" ] || { tail -n 20 "$work/boot.log" >&2; cannot "Debian $suite does not boot in a container here; its last lines are above"; }

cd "$checkout"
SERVICE_RIG="$leader:$venv/bin/deblurkit" SERVICE_WHEELS="$root/wheels" SERVICE_FORM="$suite $form" "$PYTHON" -m pytest -p no:cacheprovider tests/rigs/service "$@"
