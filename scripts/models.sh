#!/bin/sh
# Train the shipped bundle again and export it into the package. Resumes where it was stopped.
#   scripts/models.sh ../shared/data/train
set -eu
cd "$(dirname "$0")/.."
data=${1:?"give the folder of training photographs: make models DATA=../shared/data/train"}
licence="CC BY-SA 4.0 (CID22), Unsplash Licence (CLIC 2025), CC0 1.0 (gb82, budgie), CC0 1.0 or CC BY-SA 4.0 by file (ubuntu_mate)"
if [ -e runs/small/run.json ]; then
    .venv/bin/deblurkit train --out runs/small --resume
else
    .venv/bin/deblurkit train --preset small --data "$data" --val-share 0.05 --epochs 80 --steps 1000 --out runs/small --licence "$licence"
fi
.venv/bin/deblurkit export runs/small --out device/bundles/small --replace
