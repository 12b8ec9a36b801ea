#!/usr/bin/env bash
# The kit on an Arm board without a board: Debian for arm64 in a folder, the kit's wheel installed there, QEMU's user mode.
#   scripts/aarch64/rig.sh               Bookworm and Trixie side by side, then the instruction budget
#   scripts/aarch64/rig.sh PART...       some of: bookworm (Python 3.11, numpy 1), trixie (3.13), budget
# Each system runs as a Cortex-A76 (Raspberry Pi 5) and as a Cortex-A72 (4), one Python process each. Needs root (mounts,
# chroot), apt and pip; ends with 77 and a reason where it cannot run.
#
# What differs from a Raspberry Pi: the kernel is this machine's, there is no camera and no GPU, and nothing here is a time.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
checkout=$(cd "$here/../.." && pwd)
cannot() { echo "rig: $*" >&2; exit 77; }

parts=("$@")
[ $# -gt 0 ] || parts=(bookworm trixie budget)
for part in "${parts[@]}"; do
    case $part in
        bookworm | trixie | budget) ;;
        *) echo "usage: $0 [bookworm|trixie|budget...]" >&2; exit 2 ;;
    esac
done
[ "$(id -u)" = 0 ] || cannot "needs root, for mounts and chroot: sudo make test-aarch64"
export PYTHON=${PYTHON:-$checkout/.venv/bin/python}
cores=(cortex-a76 cortex-a72)
declare -A unit_core=([bookworm]=cortex-a72 [trixie]=cortex-a76)  # as boards of either age have them
# What runs the tests there. onnx tells what ONNX Runtime makes of a file.
tools=(pip pytest pytest-timeout iniconfig pluggy pygments pillow onnx)

work=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; rm -rf "$work"' EXIT

# on_board SUITE CORE: install the kit as a user does, then test it on each core, and on CORE the units of device as well.
on_board() {
    local root home=/home/pi core tests
    root=$("$here/root.sh" "$1" testing "${tools[@]}")
    exec 8> "$(dirname "$root")/lock-$1"
    flock 8  # one run at a time
    inside() { "$here/inside.sh" "$root" "$1" PYTHONPATH=/opt/testing "${@:2}" 8>&-; }
    rm -rf --one-file-system "${root:?}$home"
    mkdir -p "$root$home"
    cp -r "$checkout/tests" "$checkout/pyproject.toml" "$work"/deblurkit-*.whl "$work/pictures.npz" "$root$home"
    inside cortex-a76 python3 -m venv --system-site-packages --without-pip .venv
    inside cortex-a76 .venv/bin/python -m pip install -qq --disable-pip-version-check --no-index \
        "$(cd "$work" && ls deblurkit-*.whl)[live,onnx]"
    for core in "${cores[@]}"; do
        tests=(tests/rigs/aarch64)
        [ "$core" != "$2" ] || tests+=(tests/device)
        inside "$core" AARCH64_RIG="$core" AARCH64_PICTURES="$home/pictures.npz" .venv/bin/python -m pytest -q -p no:cacheprovider \
            --durations=5 "${tests[@]}"
    done
}

systems=()
for part in "${parts[@]}"; do [ "$part" = budget ] || systems+=("$part"); done
if [ ${#systems[@]} -gt 0 ]; then
    for system in "${systems[@]}"; do "$here/root.sh" "$system" > /dev/null; done
    "$PYTHON" -m build --wheel --no-isolation --outdir "$work" "$checkout" > "$work/log" 2>&1 || { cat "$work/log" >&2; exit 1; }
    (cd "$checkout" && PYTHONPATH=$checkout "$PYTHON" tests/support/arm_pictures.py "$work/pictures.npz")
    running=()
    for system in "${systems[@]}"; do
        on_board "$system" "${unit_core[$system]}" > "$work/$system.log" 2>&1 &
        running+=($!)
    done
    status=0
    for index in "${!systems[@]}"; do
        wait "${running[$index]}" || status=$?
        echo "== ${systems[$index]} =="
        cat "$work/${systems[$index]}.log"
    done
    [ "$status" != 77 ] || tail -q -n 1 "$work"/*.log >&2  # the reason
    [ "$status" = 0 ] || exit "$status"
fi
if [[ " ${parts[*]} " == *" budget "* ]]; then
    "$PYTHON" "$checkout/scripts/instructions/count.py" --check
fi
