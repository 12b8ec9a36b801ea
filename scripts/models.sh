#!/bin/sh
# Train the shipped bundles again and export them into the package: hours on a CPU. Resumes where it was stopped.
#   scripts/models.sh ../shared/data/train
# The shipped `small` was not trained from scratch: it was initialised (--init) from the rgb bundle `small-camera` of commit
# fcdaf67, after its 182,000 steps. From scratch it needs more than the 100 epochs of its own training.
set -eu
cd "$(dirname "$0")/.."
data=${1:?"give the folder of training photographs: make models DATA=../shared/data/train"}
licence="CC BY-SA 4.0 (CID22), Unsplash Licence (CLIC 2025), CC0 1.0 (gb82, budgie), CC0 1.0 or CC BY-SA 4.0 by file (ubuntu_mate)"
train() { # train OUT OPTIONS…: start the run, or resume it
    out=$1
    shift
    if [ -e "$out/run.json" ]; then
        .venv/bin/deblurkit train --out "$out" --resume
    else
        .venv/bin/deblurkit train --data "$data" --val-share 0.05 --licence "$licence" --out "$out" "$@"
    fi
}
for preset in nano small; do
    train "runs/$preset-long" --preset $preset --epochs "${EPOCHS:-250}" --steps 1000
    # Then fine-tuning with 8-bit rounding in the network.
    train "runs/$preset" --preset $preset --init "runs/$preset-long" --quantise --loss log_mse --learning-rate 0.0002 \
        --batch 8 --patch 96 --epochs 7 --steps 500
    .venv/bin/deblurkit export "runs/$preset" --out "device/bundles/$preset" --ncnn --replace
done
