#!/bin/sh
# Train the shipped bundles again and export them into the package: hours on a CPU. Resumes where it was stopped.
#   scripts/models.sh ../shared/data/train
# The shipped ones were not trained from scratch: they began (--init) with those of commit 9b33886, which see one plane; a second
# plane grew on them. START is a folder of bundles like those: git worktree add DIR 9b33886; START=DIR/device/bundles.
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
start=${START:-"device/bundles"}
for preset in nano small; do
    case $preset in
        nano) rate=0.001 epochs=130 steps=400 ;;
        small) rate=0.0006 epochs=125 steps=250 ;;
    esac
    train "runs/$preset-long" --preset $preset --init "$start/$preset" --learning-rate $rate --batch 8 --patch 96 \
        --epochs "${EPOCHS:-$epochs}" --steps $steps
    # Then fine-tuning with 8-bit rounding in the network.
    train "runs/$preset" --preset $preset --init "runs/$preset-long" --quantise --loss log_mse --learning-rate 0.0002 \
        --batch 8 --patch 96 --epochs 3 --steps 250
    .venv/bin/deblurkit export "runs/$preset" --out "device/bundles/$preset" --ncnn --replace
done
