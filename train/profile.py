"""deblurkit train --profile: does the input pipeline keep up with the network? Answers before hours of training.

It measures the same training steps on batches from the input pipeline and on one cached batch, alternately, so that other
load on the machine affects both.
"""

import logging
import math
import time
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

from device.errors import OK
from device.system.console import print_json, table
from train.batches import AHEAD, Batch, Batches, prefetched
from train.fit import compile_network, devices_for
from train.picture_cache import PixelCache
from train.run_folder import RunRecord

log = logging.getLogger(__name__)
TARGET_RATIO = 0.9  # below it the training waits for its input
ROUNDS, ROUND_S = 5, 2.0  # rounds of each kind, and about how long each takes
_MIN_STEPS, _MAX_STEPS = 4, 200  # in a round
_WARM_UP = 2 * AHEAD  # steps, until the graph is built, the first crops are ready and the clocks have risen


@dataclass(frozen=True)
class Rates:
    """Steps per second, medians over the rounds."""

    patch: int
    """Side of the patches, pixels; 0 for whole pictures."""
    batch: int
    with_input: float
    """On batches from the input pipeline, as in training."""
    cached: float
    """On one batch that stays in memory: the speed of the network alone."""
    ratio: float
    steps_per_round: int
    rounds: int


def run(record: RunRecord, batches: Batches, cache: PixelCache, as_json: bool) -> int:
    """Measure every stage of the run's recipe and print the rates; nothing is written."""
    stages = record.recipe.stages or ((0, record.recipe.batch),)
    epochs = record.recipe.epochs
    measured = []
    for i, (patch, batch) in enumerate(stages):
        epoch = -(-i * epochs // len(stages))  # the first epoch in which `train.batches.GrowingPatches` uses this stage
        if epoch < epochs:
            measured.append(measure(record, batches, epoch * batches.steps_per_epoch, patch, batch))
    worst = min(rates.ratio for rates in measured)
    advice = "" if worst >= TARGET_RATIO else _advice(record, cache)
    if as_json:
        stages_json: list[dict[str, Any]] = [asdict(rates) for rates in measured]
        print_json({"preset": record.preset, "ratio": worst, "bar": TARGET_RATIO, "stages": stages_json, "advice": advice})
        return OK
    rows = [
        [str(r.patch or "whole"), str(r.batch), f"{r.with_input:.2f}", f"{r.cached:.2f}", f"{r.ratio:.3f}"] for r in measured
    ]  # fmt: skip
    print(table(["patch", "batch", "steps/s with input", "steps/s on a cached batch", "ratio"], rows))
    print(f"{record.preset} on {record.device}; medians of {ROUNDS} rounds each, alternating")
    print(advice or f"the input keeps up: {worst:.3f} is not below {TARGET_RATIO}")
    return OK


def measure(record: RunRecord, batches: Batches, first: int, patch: int, batch: int) -> Rates:
    """Measure both rates for the steps from `first` on, alternating, after a warm-up of both."""
    with devices_for(record) as devices:
        network, _, teacher = compile_network(record, record.recipe.epochs * batches.steps_per_epoch)

        def train(pairs: Batch) -> None:
            devices.train(network, *(teacher.add_targets(pairs, devices) if teacher else pairs))

        def rate_with_input(at: int, untimed: int, timed: int) -> float:
            # Requests AHEAD more batches than it trains on, so that the threads work until the end of the timed steps.
            source = prefetched(batches, at, at + untimed + timed + AHEAD)
            for _ in range(untimed):
                train(next(source))
            began = time.perf_counter()
            for _ in range(timed):
                train(next(source))
            seconds = time.perf_counter() - began
            source.close()  # returns when its threads have ended, so that they do not slow down the other kind of round
            return timed / seconds

        cached_batch = batches.batch(first)
        at, steps = first, _MIN_STEPS
        rate_with_input(at, _WARM_UP - _MIN_STEPS, _MIN_STEPS)
        at += _WARM_UP
        with_input, cached = [], []
        for round_number in range(ROUNDS + 1):
            with_input.append(rate_with_input(at, AHEAD, steps))
            at += AHEAD + steps
            train(cached_batch)
            began = time.perf_counter()
            for _ in range(steps):
                train(cached_batch)
            cached.append(steps / (time.perf_counter() - began))
            if round_number == 0:  # only sets the length of the others
                steps = min(_MAX_STEPS, max(_MIN_STEPS, math.ceil(ROUND_S * cached[0])))
            else:
                log.info("round %d/%d  with input %.2f  cached %.2f steps/s", round_number, ROUNDS, with_input[-1], cached[-1])
    with_rate, cached_rate = median(with_input[1:]), median(cached[1:])
    return Rates(
        patch=patch,
        batch=batch,
        with_input=round(with_rate, 3),
        cached=round(cached_rate, 3),
        ratio=round(with_rate / cached_rate, 3),
        steps_per_round=steps,
        rounds=ROUNDS,
    )


def _advice(record: RunRecord, cache: PixelCache) -> str:
    lines = [f"below {TARGET_RATIO}: the network waits for its batches. What can help:"]
    if cache.evicted:
        lines.append(
            f"- the pictures do not fit into {cache.limit_bytes >> 20} MiB and are decoded again and again: "
            "allow more with --cache MIB, or make the pictures smaller"
        )
    lines += [
        "- more CPU cores, or no other programs on them: one thread per core computes the batches",
        "- a GPU: on the CPU, network and input share the cores",
    ]
    if record.recipe.patch:
        lines.append(
            "- --patch 64 or 128, which use more of each blurred crop of 256 pixels, or --blur gaussian, which is faster"
        )
    return "\n".join(lines)
