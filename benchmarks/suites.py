"""The suites quick, full and sustained: from what was asked for to a result."""

import logging
import os
import subprocess
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from benchmarks import combinations, environment, live_suite, rounds, sustained, workload
from benchmarks.combinations import Planned
from benchmarks.measure import KERAS
from benchmarks.pick import pareto_front, pick
from benchmarks.records import NETWORK, OK, SCHEMA, Loop, Pick, Result, Row, Sustained
from device.bundle.open import Bundle
from device.errors import DeblurkitError, GateError, RunError
from device.loop.tuned import TunedModel

log = logging.getLogger(__name__)
BUDGET_MIN = {"quick": 2.75, "full": 18.5}
"""Minutes that a suite takes by itself; what it does beside the rounds comes on top and takes less than a tenth."""
_LOOP_S, _FASTER, _MOST_LOOPS = 4.0, 1.5, 3


@dataclass(frozen=True)
class Wanted:
    """What was asked for."""

    suite: str
    command: str
    bundles: tuple[Bundle, ...]
    runtimes: tuple[str, ...]
    """Empty: all."""
    variants: tuple[str, ...]
    """Empty: all."""
    threads: tuple[int, ...]
    """Empty: what the suite takes."""
    interpreters: tuple[str, ...]
    """Python interpreters whose environments are measured, first this one."""
    size_wh: tuple[int, int]
    data: Path | None
    pictures: int
    rounds: int
    seconds: float | None
    minutes: float | None
    fps: float | None
    max_ms: float | None
    min_gain_db: float | None
    earlier: TunedModel | None = None
    """The answer that holds on this machine until now."""


def measure(wanted: Wanted, raw_csv: Path) -> Result:
    """Measure; every timed frame goes to `raw_csv`. Ctrl-C gives a partial result. Raises UsageError, BundleError, DataError."""
    began_s, slept_s, started = time.monotonic(), environment.slept_s(), datetime.now().astimezone()
    ticks = environment.stolen_ticks()
    machine, now = environment.machine(), environment.moment(began_s)
    doubts = environment.doubts_before(machine, now, environment.busy_cores())
    for doubt in doubts:
        log.warning("%s", doubt)
    full = wanted.suite == "full"
    planned = _plan(wanted, full)
    budget_s = 60 * (wanted.minutes or BUDGET_MIN[wanted.suite])
    with tempfile.TemporaryDirectory(prefix="deblurkit-bench-") as name:
        folder = Path(name)
        pictures = workload.write(folder, wanted.size_wh, wanted.data, wanted.pictures)
        found = rounds.run(planned, folder, rounds=wanted.rounds, seconds=wanted.seconds, budget_s=budget_s, began_s=began_s)
        if found.complete and found.rounds < wanted.rounds:
            doubts.append(f"{found.rounds} rounds instead of {wanted.rounds}: there was no time for more; give more --minutes")
        rounds.write_raw(found, raw_csv)
        rows = rounds.rows(found, folder, {a.sha256: a for b in wanted.bundles for a in b.manifest.artifacts})
        best = pareto_front(rows)
        rows = [replace(row, front=i in best) for i, row in enumerate(rows)]
        complete = found.complete
        networks = [i for i in sorted(best, key=lambda i: -(rows[i].gain_db or 0)) if rows[i].kind == NETWORK]
        loops: list[Loop] = []
        try:
            if complete:
                _add_loops(wanted, rows, planned, networks if full else [], loops)
        except KeyboardInterrupt:
            complete = False
        except (DeblurkitError, subprocess.TimeoutExpired) as error:  # what was measured before is not lost with it
            doubts.append(f"the whole loop could not be measured: {error}")
            log.warning("%s", doubts[-1])
        picked = _picked(wanted, rows, loops)
        shown = [i for i, row in enumerate(rows) if picked and row.label == picked.label]
        examples = rounds.examples(found, folder, [*shown, *(i for i in networks if i not in shown)][:2])
    doubts += environment.doubts_after(rows, _stolen_share(ticks), environment.slept_s() - slept_s)
    return Result(
        SCHEMA, wanted.suite, wanted.command, started.isoformat(timespec="seconds"), round(time.monotonic() - began_s, 1),
        complete, wanted.size_wh, found.rounds if found.complete else wanted.rounds, pictures, machine, tuple(doubts),
        tuple(rows), tuple(loops), (), examples, picked,
    )  # fmt: skip


def load(wanted: Wanted) -> Result:
    """The suite `sustained`: the file that each bundle prefers, or the wanted ones, at full load."""
    began_s, started = time.monotonic(), datetime.now().astimezone()
    machine = environment.machine()
    doubts = environment.doubts_before(machine, environment.moment(began_s), environment.busy_cores())
    for doubt in doubts:
        log.warning("%s", doubt)
    seconds = 60 * (wanted.minutes or 10)
    curves: list[Sustained] = []
    complete = True
    with tempfile.TemporaryDirectory(prefix="deblurkit-bench-") as name:
        workload.write_frame(Path(name), wanted.size_wh)
        for plan in _at_full_load(wanted):
            log.info("%s: %.0f minutes at full load", plan.row.label, seconds / 60)
            job = plan.job
            found = sustained.run(
                str(job.bundle), str(job.file), str(job.runtime), job.threads, plan.row.label, seconds, Path(name)
            )
            curves.append(found)
            complete &= found.seconds >= seconds - sustained.STRETCH_S
            if not complete:
                break
    return Result(
        SCHEMA, wanted.suite, wanted.command, started.isoformat(timespec="seconds"), round(time.monotonic() - began_s, 1),
        complete, wanted.size_wh, 1, "none", machine, tuple(doubts), (), (), tuple(curves),
    )  # fmt: skip


def _plan(wanted: Wanted, full: bool) -> list[Planned]:
    interpreters = [combinations.interpreter(path) for path in wanted.interpreters]
    threads = combinations.thread_counts(wanted.threads, full)
    names = list(wanted.runtimes) or combinations.runtimes_of(full)
    planned = combinations.plan(wanted.bundles, names, interpreters, threads, full=full)
    if wanted.variants:
        planned = [p for p in planned if p.job.kind != NETWORK or p.job.variant in wanted.variants]
    return planned


def _at_full_load(wanted: Wanted) -> list[Planned]:
    """One file for each bundle: of the wanted variant on the wanted runtime, all cores unless said otherwise."""
    interpreters = [combinations.interpreter(wanted.interpreters[0])]
    names = list(wanted.runtimes) or ["litert"]
    threads = wanted.threads or (len(os.sched_getaffinity(0)),)
    found = []
    for bundle in wanted.bundles:
        planned = [p for p in combinations.plan([bundle], names, interpreters, threads, full=False) if p.interpreter]
        variants = wanted.variants or (bundle.artifact(None, ("tflite", "onnx")).variant,)
        found += [p for p in planned if p.job.kind == NETWORK and p.job.variant in variants]
    if not found:
        raise RunError(f"nothing to put under load: no file of the bundles is read by {', '.join(names)}, or it is not installed")
    return found


def _add_loops(wanted: Wanted, rows: Sequence[Row], planned: Sequence[Planned], also: Sequence[int], loops: list[Loop]) -> None:
    """Measure the whole loop of what would be picked, until that holds with its loop measured too; then of the front's best."""
    for _ in range(_MOST_LOOPS):
        picked = _picked(wanted, rows, loops)
        if picked is None or picked.label in [loop.label for loop in loops]:
            break
        chosen = next(i for i, row in enumerate(rows) if row.label == picked.label)
        loops.append(_loop(rows[chosen], planned[chosen], wanted.size_wh))
    for i in also[:_MOST_LOOPS]:
        if rows[i].runtime != KERAS and rows[i].label not in [loop.label for loop in loops]:
            loops.append(_loop(rows[i], planned[i], wanted.size_wh))


def _loop(row: Row, plan: Planned, size_wh: tuple[int, int]) -> Loop:
    """The whole loop with that combination: the demo's camera at more frames than it can restore, the page with one viewer."""
    assert row.latency is not None
    fps = max(2, round(_FASTER * 1000 / row.latency.p50_ms.value))
    size = f"{size_wh[0]}x{size_wh[1]}"
    log.info("the whole loop: %s", row.label)
    file = str(Path(str(plan.job.bundle), str(row.file)))
    words = [f"--runtime={row.runtime}"]
    state = live_suite.loop(file, size, row.threads, _LOOP_S, fps, ["web"], watched=True, words=words)
    stages = {name: of["p50"] for name, of in state["stages_ms"].items() if of["p50"] is not None and name != "sent"}
    return Loop(
        row.label, state["fps"], stages, state["fps"] * stages["infer"] / 1000, state["frame_age_ms"]["p50"],
        state["frame_age_ms"]["p95"], state["first_frame_s"], state["peak_rss_mib"],
    )  # fmt: skip


def choose(wanted: Wanted, rows: Sequence[Row], loops: Sequence[Loop]) -> Pick:
    """What to run here. Raises GateError where nothing is good enough for what was asked for."""
    return pick(rows, fps=wanted.fps, max_ms=wanted.max_ms, min_gain_db=wanted.min_gain_db, loops=loops, earlier=wanted.earlier)


def _picked(wanted: Wanted, rows: Sequence[Row], loops: Sequence[Loop]) -> Pick | None:
    """A suggestion, none where nothing fits."""
    try:
        return None if nothing_runs(rows) else choose(wanted, rows, loops)
    except GateError as error:
        log.warning("%s", error)
        return None


def _stolen_share(before: tuple[int, int] | None) -> float | None:
    after = environment.stolen_ticks()
    if before is None or after is None or after[1] <= before[1]:
        return None
    return (after[0] - before[0]) / (after[1] - before[1])


def nothing_runs(rows: Sequence[Row]) -> bool:
    """Whether no network could be measured at all."""
    return not any(row.kind == NETWORK and row.status == OK for row in rows)
