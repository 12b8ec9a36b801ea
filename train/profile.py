"""deblurkit train --profile: whether the input keeps up with the network, before hours are spent.

The same training steps, once on batches as they come from the input pipeline and once on a single batch that is held,
in turns, so that what else the machine does meets both alike.
"""

import logging
import math
import time
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

from device.errors import OK
from device.system.console import print_json, table
from train.data import AHEAD, Batch, Batches, prefetched
from train.fit import compiled, devices_of
from train.picture_cache import PixelCache
from train.run_folder import RunRecord

log = logging.getLogger(__name__)
BAR = 0.9  # below it the input is what the training waits for
ROUNDS, SECONDS = 5, 2.0  # of each kind; of each round, about
_FEWEST, _MOST = 4, 200  # steps in a round
_WARM_UP = 2 * AHEAD  # steps: the graph is built, the first crops are made, the clocks are up


@dataclass(frozen=True)
class Rates:
    """Steps a second, medians over the rounds."""

    patch: int
    """Side of the patches, pixels; 0 for whole pictures."""
    batch: int
    with_input: float
    """On batches as the training gets them."""
    cached: float
    """On one batch that is held in memory: what the network alone can do."""
    ratio: float
    steps_per_round: int
    rounds: int


def run(record: RunRecord, batches: Batches, cache: PixelCache, as_json: bool) -> int:
    """Measure every stage of the run's recipe and print what was found; nothing is written."""
    stages = record.recipe.stages or ((0, record.recipe.batch),)
    epochs = record.recipe.epochs
    found = []
    for i, (patch, batch) in enumerate(stages):
        epoch = -(-i * epochs // len(stages))  # the first in which `train.data.Growing` serves this stage
        if epoch < epochs:
            found.append(measure(record, batches, epoch * batches.steps_per_epoch, patch, batch))
    worst = min(rates.ratio for rates in found)
    advice = "" if worst >= BAR else _advice(record, cache)
    if as_json:
        stages_found: list[dict[str, Any]] = [asdict(rates) for rates in found]
        print_json({"preset": record.preset, "ratio": worst, "bar": BAR, "stages": stages_found, "advice": advice})
        return OK
    rows = [
        [str(r.patch or "whole"), str(r.batch), f"{r.with_input:.2f}", f"{r.cached:.2f}", f"{r.ratio:.3f}"] for r in found
    ]  # fmt: skip
    print(table(["patch", "batch", "steps/s with input", "steps/s on a held batch", "ratio"], rows))
    print(f"{record.preset} on {record.device}; medians of {ROUNDS} rounds each, in turns")
    print(advice or f"the input keeps up: {worst:.3f} is not below {BAR}")
    return OK


def measure(record: RunRecord, batches: Batches, first: int, patch: int, batch: int) -> Rates:
    """The two rates of the steps from `first` on, in turns, after a warm-up of both."""
    with devices_of(record) as devices:
        network, _, teacher = compiled(record, record.recipe.epochs * batches.steps_per_epoch)

        def train(drawn: Batch) -> None:
            devices.train(network, *(teacher.show(drawn, devices) if teacher else drawn))

        def piped(at: int, idle: int, timed: int) -> float:
            # As many more are asked for as are made in advance, so that the threads work to the end of the timed steps.
            source = prefetched(batches, at, at + idle + timed + AHEAD)
            for _ in range(idle):
                train(next(source))
            began = time.perf_counter()
            for _ in range(timed):
                train(next(source))
            seconds = time.perf_counter() - began
            source.close()  # returns when its threads have ended: they do not slow the other kind of round
            return timed / seconds

        held = batches.batch(first)
        at, steps = first, _FEWEST
        piped(at, _WARM_UP - _FEWEST, _FEWEST)
        at += _WARM_UP
        with_input, cached = [], []
        for turn in range(ROUNDS + 1):
            with_input.append(piped(at, AHEAD, steps))
            at += AHEAD + steps
            train(held)
            began = time.perf_counter()
            for _ in range(steps):
                train(held)
            cached.append(steps / (time.perf_counter() - began))
            if turn == 0:  # only to choose the length of the others
                steps = min(_MOST, max(_FEWEST, math.ceil(SECONDS * cached[0])))
            else:
                log.info("round %d/%d  with input %.2f  held %.2f steps/s", turn, ROUNDS, with_input[-1], cached[-1])
    with_rate, cached_rate = median(with_input[1:]), median(cached[1:])
    return Rates(
        patch, batch, round(with_rate, 3), round(cached_rate, 3), round(with_rate / cached_rate, 3), steps, ROUNDS
    )  # fmt: skip


def _advice(record: RunRecord, cache: PixelCache) -> str:
    lines = [f"below {BAR}: the network waits for its batches. What helps:"]
    if cache.evicted:
        lines.append(
            f"- the pictures do not fit into {cache.limit_bytes >> 20} MiB and are decoded again and again: "
            "give more with --cache MIB, or reduce the pictures"
        )
    lines += [
        "- more CPU cores, or nothing else running on them: batches are made by one thread a core",
        "- on the CPU, network and input share the cores; a GPU frees them",
    ]
    if record.recipe.patch:
        lines.append("- --patch 64 or 128, which use more of each blurred crop of 256, or --blur gaussian, which is made faster")
    return "\n".join(lines)
