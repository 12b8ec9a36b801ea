#!/bin/sh
# What only a real board can show, with one command and in about 40 minutes; everything it finds goes into out/board.
#   scripts/on_a_board.sh [SOURCE]     SOURCE: auto (default), picamera2, v4l2:/dev/video0, rtsp://…, or none without a camera
#   SUITE=quick MINUTES=2 scripts/on_a_board.sh      a first look, in about 8 minutes
# From a checkout (README, "On a Raspberry Pi"), with nothing else running, the service stopped. Needs the internet once, for
# packages. Ends with 0 where all of it passed; what failed is said at the end.
set -eu
cd "$(dirname "$0")/.."
source=${1:-auto} suite=${SUITE:-full} minutes=${MINUTES:-10}
out=out/board
if systemctl is-active --quiet deblurkit 2>/dev/null; then
    echo "on_a_board: the service is running and would share the processor; sudo systemctl stop deblurkit, then again" >&2
    exit 2
fi
scripts/setup.sh floor
kit=.venv/bin/deblurkit constraints=constraints/constraints.txt
# As scripts/setup.sh: a newer numpy would break Bookworm's picamera2.
[ -e /etc/rpi-issue ] && grep -q bookworm /etc/os-release && constraints=constraints/bookworm.txt
pip=".venv/bin/python -m pip install --quiet --disable-pip-version-check -c $constraints"
# Runtimes beyond the floor are compared where this board has wheels of them; one that is missing is a row that says so.
for package in onnxruntime ncnn openvino; do $pip $package || echo "on_a_board: goes on without $package" >&2; done
$pip pytest pytest-timeout pillow
rm -rf "$out"
mkdir -p "$out"

failed=
step() { # step NAME COMMAND…: say it, keep what it prints in NAME.txt, go on if it fails
    name=$1
    shift
    echo "== $name" >&2
    "$@" > "$out/$name.txt" 2>&1 && tail -n 3 "$out/$name.txt" >&2 || { failed="$failed $name"; tail -n 20 "$out/$name.txt" >&2; }
}
step doctor $kit doctor
step tests .venv/bin/python -m pytest tests/device
step demo $kit run --source demo --sink null --seconds 30 --json
[ "$source" = none ] || step camera $kit run --source "$source" --sink null --seconds 60 --json
step bench $kit bench --suite "$suite" --pick --report "$out/bench"
step sustained $kit bench --suite sustained --minutes "$minutes" --report "$out/sustained"
case $(tr -d '\000' 2>/dev/null < /proc/device-tree/model || true) in
    "Raspberry Pi 4"* | "Raspberry Pi 5"*) step predicted .venv/bin/python -m benchmarks.boards.predict against "$out/bench/bench.json" ;;
esac
step contribute $kit bench results --add "$out/bench/bench.json"

echo "== $out holds all of it; report.html or report.md in $out/bench is the answer for this board" >&2
if [ -n "$failed" ]; then
    echo "on_a_board: did not pass:$failed; each one's $out/NAME.txt says why. Please tell us of it with these files." >&2
    exit 1
fi
echo "== look results/ over and offer the new file: results/README.md" >&2
