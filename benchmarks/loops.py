"""Measure whole loops with the rows that matter: what would be picked, and the Pareto optimal networks."""

import logging
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks.combinations import Planned
from benchmarks.measure import KERAS
from benchmarks.records import Loop, Pick, Row
from benchmarks.whole_loop import run_loop
from device.errors import GateError

log = logging.getLogger(__name__)
_SECONDS, _SOURCE_RATE, _MAX_LOOPS = 4.0, 1.5, 3


def measure_loops(
    choose: Callable[[Sequence[Loop]], Pick],
    rows: Sequence[Row],
    planned: Sequence[Planned],
    size_wh: tuple[int, int],
    pareto: Sequence[int],
    loops: list[Loop],
) -> None:
    """Append measured loops to `loops`, which keeps them if this is interrupted.

    First the loop of what `choose` picks; if its loop misses the rate, `choose` picks another row, up to three times. Then the
    loops of up to three rows of `pareto`. Raises RunError if a run fails.
    """
    for _ in range(_MAX_LOOPS):
        try:
            label = choose(loops).label
        except GateError:
            break
        if label in [loop.label for loop in loops]:
            break
        i = next(i for i, row in enumerate(rows) if row.label == label)
        loops.append(_measure_loop(rows[i], planned[i], size_wh))
    for i in pareto[:_MAX_LOOPS]:
        if rows[i].runtime != KERAS and rows[i].label not in [loop.label for loop in loops]:
            loops.append(_measure_loop(rows[i], planned[i], size_wh))


def _measure_loop(row: Row, plan: Planned, size_wh: tuple[int, int]) -> Loop:
    """Run the loop on a generated camera that is faster than the restoration, with one viewer of the page."""
    assert row.latency is not None
    fps = max(2, round(_SOURCE_RATE * 1000 / row.latency.p50_ms.value))
    log.info("the whole loop: %s", row.label)
    file = str(Path(str(plan.job.bundle), str(row.file)))
    size, flags = f"{size_wh[0]}x{size_wh[1]}", [f"--runtime={row.runtime}"]
    report = run_loop(file, size, row.threads, _SECONDS, fps, ["web"], viewer=True, flags=flags)
    stages = {name: of["p50"] for name, of in report["stages_ms"].items() if of["p50"] is not None and name != "sent"}
    return Loop(
        label=row.label,
        fps=report["fps"],
        stages_ms=stages,
        infer_share=report["fps"] * stages["infer"] / 1000,
        frame_age_p50_ms=report["frame_age_ms"]["p50"],
        frame_age_p95_ms=report["frame_age_ms"]["p95"],
        first_frame_s=report["first_frame_s"],
        peak_rss_mib=report["peak_rss_mib"],
    )
