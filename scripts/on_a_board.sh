#!/bin/sh
# Everything that only a real board can show, with one command, in about 40 minutes. All results go into out/board.
#   scripts/on_a_board.sh [SOURCE]     SOURCE: auto (default), picamera2, v4l2:/dev/video0, rtsp://…, or none without a camera
#   SUITE=quick MINUTES=2 scripts/on_a_board.sh      a first look, in about 8 minutes
# Run it in a checkout (README, "On a Raspberry Pi"), with nothing else running and the service stopped. Needs the internet once,
# for packages. Ends with 0 if everything passed; otherwise its last lines say what failed.
set -eu
cd "$(dirname "$0")/.."
source=${1:-auto} suite=${SUITE:-full} minutes=${MINUTES:-10}
out=out/board
if systemctl is-active --quiet deblurkit 2>/dev/null; then
    echo "on_a_board: the service is running and would share the processor; sudo systemctl stop deblurkit, then start this again" >&2
    exit 2
fi
scripts/setup.sh floor
kit=.venv/bin/deblurkit constraints=constraints/constraints.txt
# As scripts/setup.sh: a newer numpy would break Bookworm's picamera2.
[ -e /etc/rpi-issue ] && grep -q bookworm /etc/os-release && constraints=constraints/bookworm.txt
pip=".venv/bin/python -m pip install --quiet --disable-pip-version-check -c $constraints"
# Further runtimes are compared if they have wheels for this board; the row of a missing one says so.
for package in onnxruntime ncnn openvino; do $pip $package || echo "on_a_board: continuing without $package" >&2; done
$pip pytest pytest-timeout pillow
rm -rf "$out"
mkdir -p "$out"

failed=
step() { # step NAME COMMAND…: print the name, keep the output in NAME.txt, continue if it fails
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

echo "== all results are in $out; $out/bench/report.html or report.md is the answer for this board" >&2
if [ -n "$failed" ]; then
    echo "on_a_board: failed:$failed; the reasons are in $out/NAME.txt. Please report it with these files." >&2
    exit 1
fi
echo "== please check the new file in results/ and contribute it: results/README.md" >&2
