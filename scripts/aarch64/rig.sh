#!/usr/bin/env bash
# The kit on an Arm board without a board: Debian for arm64 in a folder, the kit's wheel installed there, QEMU's user mode.
#   scripts/aarch64/rig.sh short [PART...]   each system on one core: Bookworm on a Cortex-A72 (Raspberry Pi 4), Trixie on a
#                                            Cortex-A76 (Raspberry Pi 5), then the instruction budget
#   scripts/aarch64/rig.sh long [PART...]    each system on both cores, then the instruction budget
# PART: bookworm (Python 3.11, numpy 1), trixie (Python 3.13, numpy 2), budget. One Python process per system and core runs at a
# time. Needs root (mounts, chroot), apt and pip. Ends with 77 and the reason if it cannot run here.
#
# What differs from a Raspberry Pi: the kernel is this machine's, there is no camera and no GPU, and no duration means anything.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
checkout=$(cd "$here/../.." && pwd)
cannot() { echo "rig: $*" >&2; exit 77; }
usage() { echo "usage: $0 short|long [bookworm|trixie|budget...]" >&2; exit 2; }

form=${1:-}
case $form in short | long) shift ;; *) usage ;; esac
parts=("$@")
[ $# -gt 0 ] || parts=(bookworm trixie budget)
for part in "${parts[@]}"; do
    case $part in bookworm | trixie | budget) ;; *) usage ;; esac
done
[ "$(id -u)" = 0 ] || cannot "needs root, for mounts and chroot: sudo make test-aarch64"
export PYTHON=${PYTHON:-$checkout/.venv/bin/python}
declare -A first_core=([bookworm]=cortex-a72 [trixie]=cortex-a76)  # as boards of either age have them
declare -A other_core=([bookworm]=cortex-a76 [trixie]=cortex-a72)
# What runs the tests there. onnx shows what ONNX Runtime makes of a file.
tools=(pip pytest pytest-timeout iniconfig pluggy pygments pillow onnx)

work=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; rm -rf "$work"' EXIT

# on_board SUITE: install the kit as a user does, then test it: on the suite's first core also the unit tests of device.
on_board() {
    local root home=/home/pi core tests
    root=$("$here/root.sh" "$1" testing "${tools[@]}")
    exec 8> "$(dirname "$root")/lock-$1"
    flock 8  # one run at a time
    inside() { "$here/inside.sh" "$root" "$1" PYTHONPATH=/opt/testing "${@:2}" 8>&-; }
    rm -rf --one-file-system "${root:?}$home"
    mkdir -p "$root$home"
    cp -r "$checkout/tests" "$checkout/pyproject.toml" "$work"/deblurkit-*.whl "$work/pictures.npz" "$root$home"
    inside "${first_core[$1]}" python3 -m venv --system-site-packages --without-pip .venv
    inside "${first_core[$1]}" .venv/bin/python -m pip install -qq --disable-pip-version-check --no-index \
        "$(cd "$work" && ls deblurkit-*.whl)[live,onnx]"
    for core in "${first_core[$1]}" "${other_core[$1]}"; do
        tests=(tests/rigs/aarch64)
        if [ "$core" = "${first_core[$1]}" ]; then tests+=(tests/device); elif [ "$form" = short ]; then continue; fi
        inside "$core" AARCH64_RIG="$core" AARCH64_PICTURES="$home/pictures.npz" .venv/bin/python -m pytest -q -p no:cacheprovider \
            --durations=5 "${tests[@]}"
    done
}

systems=()
for part in "${parts[@]}"; do [ "$part" = budget ] || systems+=("$part"); done
if [ ${#systems[@]} -gt 0 ]; then
    for system in "${systems[@]}"; do "$here/root.sh" "$system" > /dev/null; done
    "$checkout/scripts/kit_wheel.sh" "$work" > /dev/null
    (cd "$checkout" && PYTHONPATH=$checkout "$PYTHON" tests/support/arm_pictures.py "$work/pictures.npz")
    running=()
    for system in "${systems[@]}"; do
        on_board "$system" > "$work/$system.log" 2>&1 &
        running+=($!)
    done
    status=0
    for index in "${!systems[@]}"; do
        wait "${running[$index]}" || status=$?
        echo "== ${systems[$index]} =="
        cat "$work/${systems[$index]}.log"
    done
    case $status in 77 | 78) tail -q -n 1 "$work"/*.log >&2 ;; esac  # the reason
    [ "$status" = 0 ] || exit "$status"
fi
if [[ " ${parts[*]} " == *" budget "* ]]; then
    "$here/root.sh" bookworm > /dev/null  # count.py counts there
    cd "$checkout"
    BUDGET_RIG=1 "$PYTHON" -m pytest -q -s -p no:cacheprovider tests/rigs/budget
fi
