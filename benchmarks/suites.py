"""The suites quick, full and sustained: from a request to a result."""

import logging
import os
import subprocess
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from pathlib import Path

from benchmarks import combinations, environment, rounds, sustained, workload
from benchmarks.best_at_rate import pareto_front
from benchmarks.combinations import Planned
from benchmarks.examples import examples
from benchmarks.loops import measure_loops
from benchmarks.pick import pick
from benchmarks.records import NETWORK, OK, SCHEMA, Loop, Machine, Pick, Result, Row, Sustained
from benchmarks.request import Request
from benchmarks.rows import rows as make_rows
from device.errors import DeblurkitError, GateError, RunError

log = logging.getLogger(__name__)
BUDGET_MIN = {"quick": 2.75, "full": 18.5}
"""Minutes for the rounds by default. Everything else comes on top and takes less than a tenth of it."""


@dataclass(frozen=True)
class Outcome:
    """A result, and why it has no pick."""

    result: Result
    no_pick: GateError | None = None


def measure(request: Request, raw_csv: Path) -> Outcome:
    """Run quick or full and write every timed frame to `raw_csv`. Ctrl-C gives a partial result.

    Raises UsageError, BundleError, DataError.
    """
    began_s, suspended_s, started = time.monotonic(), environment.suspended_s(), datetime.now().astimezone()
    ticks = environment.stolen_ticks()
    machine, doubts = _look_at_the_machine(began_s)
    full = request.suite == "full"
    planned = _plan(request, full)
    budget_s = 60 * (request.minutes or BUDGET_MIN[request.suite])
    with tempfile.TemporaryDirectory(prefix="deblurkit-bench-") as name:
        folder = Path(name)
        pictures = workload.write(folder, request.size_wh, request.data, request.pictures)
        measured = rounds.run(planned, folder, rounds=request.rounds, seconds=request.seconds, budget_s=budget_s, began_s=began_s)
        if measured.complete and measured.rounds < request.rounds:
            doubts.append(f"{measured.rounds} rounds instead of {request.rounds}: there was no time for more; raise --minutes")
        rounds.write_raw(measured, raw_csv)
        rows = make_rows(measured, folder, {a.sha256: a for b in request.bundles for a in b.manifest.artifacts})
        pareto = pareto_front(rows)
        rows = [replace(row, front=i in pareto) for i, row in enumerate(rows)]
        complete = measured.complete
        networks = [i for i in sorted(pareto, key=lambda i: -(rows[i].gain_db or 0)) if rows[i].kind == NETWORK]
        choose = partial(_choose, request, rows)
        loops: list[Loop] = []
        try:
            if complete:
                measure_loops(choose, rows, planned, request.size_wh, networks if full else [], loops)
        except KeyboardInterrupt:
            complete = False
        except (DeblurkitError, subprocess.TimeoutExpired) as error:  # the other measurements are still worth reporting
            doubts.append(f"the whole loop could not be measured: {error}")
            log.warning("%s", doubts[-1])
        picked, no_pick = None, None
        try:
            picked = choose(loops)
        except GateError as error:
            no_pick = error
        shown = [i for i, row in enumerate(rows) if picked and row.label == picked.label]
        pairs = examples(measured, folder, [*shown, *(i for i in networks if i not in shown)][:2])
    doubts += environment.doubts_after(rows, _stolen_share(ticks), environment.suspended_s() - suspended_s)
    result = Result(
        schema=SCHEMA,
        suite=request.suite,
        command=request.command,
        started=started.isoformat(timespec="seconds"),
        seconds=round(time.monotonic() - began_s, 1),
        complete=complete,
        size_wh=request.size_wh,
        rounds=measured.rounds if measured.complete else request.rounds,
        pictures=pictures,
        machine=machine,
        doubts=tuple(doubts),
        rows=tuple(rows),
        loops=tuple(loops),
        examples=pairs,
        pick=picked,
    )
    return Outcome(result, no_pick)


def load(request: Request) -> Result:
    """Run sustained: the preferred file of each bundle, or the requested ones, at full load. Raises RunError."""
    began_s, started = time.monotonic(), datetime.now().astimezone()
    machine, doubts = _look_at_the_machine(began_s)
    seconds = 60 * (request.minutes or 10)
    curves: list[Sustained] = []
    complete = True
    with tempfile.TemporaryDirectory(prefix="deblurkit-bench-") as name:
        workload.write_frame(Path(name), request.size_wh)
        for plan in _plan_for_full_load(request):
            log.info("%s: %.0f minutes at full load", plan.row.label, seconds / 60)
            job = plan.job
            curve = sustained.run(
                str(job.bundle), str(job.file), str(job.runtime), job.threads, plan.row.label, seconds, Path(name)
            )
            curves.append(curve)
            complete &= curve.seconds >= seconds - sustained.SAMPLE_S
            if not complete:
                break
    return Result(
        schema=SCHEMA,
        suite=request.suite,
        command=request.command,
        started=started.isoformat(timespec="seconds"),
        seconds=round(time.monotonic() - began_s, 1),
        complete=complete,
        size_wh=request.size_wh,
        rounds=1,
        pictures="none",
        machine=machine,
        doubts=tuple(doubts),
        rows=(),
        sustained=tuple(curves),
    )


def has_measured_network(rows: Sequence[Row]) -> bool:
    """Return whether at least one network was measured."""
    return any(row.kind == NETWORK and row.status == OK for row in rows)


def _look_at_the_machine(began_s: float) -> tuple[Machine, list[str]]:
    machine = environment.machine()
    doubts = environment.doubts_before(machine, environment.moment(began_s), environment.busy_cores())
    for doubt in doubts:
        log.warning("%s", doubt)
    return machine, doubts


def _plan(request: Request, full: bool) -> list[Planned]:
    interpreters = [combinations.interpreter(path) for path in request.interpreters]
    threads = combinations.thread_counts(request.threads, full)
    names = list(request.runtimes) or combinations.default_runtimes(full)
    planned = combinations.plan(request.bundles, names, interpreters, threads, full=full)
    if request.variants:
        planned = [p for p in planned if p.job.kind != NETWORK or p.job.variant in request.variants]
    return planned


def _plan_for_full_load(request: Request) -> list[Planned]:
    """One file of each bundle: of the requested variant on the requested runtime, with all cores by default."""
    interpreters = [combinations.interpreter(request.interpreters[0])]
    names = list(request.runtimes) or ["litert"]
    threads = request.threads or (len(os.sched_getaffinity(0)),)
    chosen = []
    for bundle in request.bundles:
        planned = [p for p in combinations.plan([bundle], names, interpreters, threads, full=False) if p.interpreter]
        variants = request.variants or (bundle.artifact(None, ("tflite", "onnx")).variant,)
        chosen += [p for p in planned if p.job.kind == NETWORK and p.job.variant in variants]
    if not chosen:
        raise RunError(f"nothing to put under load: {', '.join(names)} reads no file of the bundles, or is not installed")
    return chosen


def _choose(request: Request, rows: Sequence[Row], loops: Sequence[Loop]) -> Pick:
    return pick(
        rows, fps=request.fps, max_ms=request.max_ms, min_gain_db=request.min_gain_db, loops=loops, earlier=request.earlier
    )


def _stolen_share(before: tuple[int, int] | None) -> float | None:
    after = environment.stolen_ticks()
    if before is None or after is None or after[1] <= before[1]:
        return None
    return (after[0] - before[0]) / (after[1] - before[1])
