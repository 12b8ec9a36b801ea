#!/bin/sh
# Train the shipped bundles again and export them into the package. Resumes where it was stopped.
#   scripts/models.sh ../shared/data/train
set -eu
cd "$(dirname "$0")/.."
data=${1:?"give the folder of training photographs: make models DATA=../shared/data/train"}
licence="CC BY-SA 4.0 (CID22), Unsplash Licence (CLIC 2025), CC0 1.0 (gb82, budgie), CC0 1.0 or CC BY-SA 4.0 by file (ubuntu_mate)"
train() { # train OUT OPTIONS…: begin the run, or go on with it
    out=$1
    shift
    if [ -e "$out/run.json" ]; then
        .venv/bin/deblurkit train --out "$out" --resume
    else
        .venv/bin/deblurkit train --preset small --data "$data" --val-share 0.05 --licence "$licence" --out "$out" "$@"
    fi
}
# First the plain Gaussian, which is learned quickly; then everything a camera does, from there.
train runs/small --blur gaussian --epochs 80 --steps 1000
.venv/bin/deblurkit export runs/small --out device/bundles/small --replace
train runs/small-camera --init device/bundles/small --epochs 50 --steps 2000 --learning-rate 0.0007
.venv/bin/deblurkit export runs/small-camera --out device/bundles/small-camera --replace
