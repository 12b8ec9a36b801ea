"""Pick what to run on this machine from the measured rows, and say why. docs/results.md describes the rule in words.

Candidates are network rows that `deblurkit run` can run here, whose output matches the reference and which improve blurred
pictures. Without a request: the best picture at 30 frames a second, or at the next lower of `CAMERA_FPS` that a row reaches.
"""

import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from benchmarks.best_at_rate import EQUAL_DB, INTERVAL_SHARE, equal_to_best_db, fits, limit_ms
from benchmarks.records import NETWORK, OK, Latency, Loop, Pick, Row
from device import runtimes
from device.bundle.manifest import VARIANTS
from device.errors import GateError
from device.loop.tuned import TunedModel

CAMERA_FPS = (30.0, 25.0, 15.0, 10.0, 5.0)
"""Usual rates of cameras, tried in this order if no rate is requested."""
_EQUAL_TIME_SHARE = 0.05
"""Times count as equal if their intervals overlap or if they differ by no more than this."""
_EQUAL_MEMORY_SHARE = 0.1
_MIN_SHARP_DB, _MIN_SHARP_JPEG_GAIN_DB = 40.0, -0.5


@dataclass(frozen=True)
class _Candidate:
    row: Row
    latency: Latency
    gain_db: float
    harm: str
    """How it harms pictures that are already sharp, in words; empty if it leaves them as they are."""
    uses_every_core: bool
    """Whether it leaves no core to capture and output."""

    @property
    def figures(self) -> str:
        return f"{self.gain_db:+.2f} dB, p50 {self.latency.p50_ms.value:.1f} ms, p95 {self.latency.p95_ms.value:.1f} ms"


@dataclass(frozen=True)
class _Request:
    fps: float | None
    most_ms: float
    """The most that restoring a frame may take."""
    slow_loops: dict[str, float]
    """Frames a second of whole loops that were measured to miss the rate, by label."""
    words: str

    def is_met(self, candidate: _Candidate) -> bool:
        return fits(candidate.latency, self.most_ms) and candidate.row.label not in self.slow_loops


def pick(
    rows: Sequence[Row],
    *,
    fps: float | None = None,
    max_ms: float | None = None,
    min_gain_db: float | None = None,
    loops: Iterable[Loop] = (),
    cores: int | None = None,
    installed: Callable[[str], bool] | None = None,
    earlier: TunedModel | None = None,
) -> Pick:
    """Pick what to run. `fps` leaves 15 % of a frame's time to capture and output; `max_ms` limits restoring alone (p95).

    `loops` are measured whole loops; one that misses `fps` rules out its row. `cores` is the number of cores of this machine; one
    stays free if any other row is good enough. `earlier` is a tuned model that is still valid here: it stays while no measurement
    distinguishes a better row from it. Raises GateError, which names the closest row, if nothing is good enough.
    """
    cores = cores or len(os.sched_getaffinity(0))
    candidates = _candidates(rows, cores, installed or _runs_here)
    if not candidates:
        raise GateError("nothing to pick: no file was measured on a runtime that `deblurkit run` can use here; see its rows")
    good = [c for c in candidates if (c.gain_db >= min_gain_db if min_gain_db is not None else c.gain_db > 0)]
    loops = tuple(loops)
    request = _request(fps, max_ms, min_gain_db, loops)
    if request is None and good:
        first = next(tier for tier in _tiers(good) if tier)
        rates = (_request(rate, None, min_gain_db, loops) for rate in CAMERA_FPS)
        request = next((each for each in rates if each and any(each.is_met(c) for c in first)), None)
        if request is None:
            fastest = _fastest(first, earlier)
            return _pick(fastest, f"nothing reaches {CAMERA_FPS[-1]:g} frames a second; the fastest: {fastest.figures}")
    if request is None:
        raise GateError(_nothing_fits(candidates, None, min_gain_db))
    chosen = next((met for tier in _tiers(good) if (met := [c for c in tier if request.is_met(c)])), None)
    if chosen is None:
        raise GateError(_nothing_fits(candidates, request, min_gain_db))
    best, without_earlier = _best(chosen, earlier), _best(chosen)
    why = f"the best picture of {len(chosen)} that restore {request.words}: {best.figures}"
    if fps is None and max_ms is None:
        usual = "the rate of most cameras" if request.fps == CAMERA_FPS[0] else f"{request.fps:g}"
        reason = "" if request.fps == CAMERA_FPS[0] else f", because nothing reaches {CAMERA_FPS[0]:g}"
        why = f"no rate was requested, so {usual} was used{reason}; {why}"
    if best is not without_earlier:
        other = f"{without_earlier.row.label} ({without_earlier.figures})"
        why += f"; {other} cannot be distinguished from it, so the earlier pick stays"
    return _pick(best, why + _better_but_ruled_out(best, good, request))


def _runs_here(runtime: str) -> bool:
    return runtime in runtimes.RUNTIMES and runtimes.installed(runtime)


def _candidates(rows: Sequence[Row], cores: int, installed: Callable[[str], bool]) -> list[_Candidate]:
    candidates = []
    for row in rows:
        if row.kind != NETWORK or row.status != OK or row.latency is None or row.gain_db is None:
            continue
        if row.agreement is not None and row.agreement.psnr_db < row.agreement.needed_db:
            continue
        if row.runtime is not None and installed(row.runtime) and not _run_prefers_another_file(row, rows):
            candidates.append(_Candidate(row, row.latency, row.gain_db, _harm(row), cores > 1 and row.threads >= cores))
    return candidates


def _run_prefers_another_file(row: Row, rows: Sequence[Row]) -> bool:
    """Return whether `run` would use another file of that variant on that runtime: one of the format that the runtime prefers.

    Both make the same picture in the same time, and the pick must not depend on which was measured a little faster.
    """
    order = runtimes.formats(str(row.runtime)) if row.runtime in runtimes.RUNTIMES else ()

    def rank(file: str | None) -> int:
        suffix = str(file).rpartition(".")[2]
        return order.index(suffix) if suffix in order else len(order)

    key = (row.name, row.variant, row.runtime, row.threads)
    same = [r for r in rows if r.status == OK and (r.name, r.variant, r.runtime, r.threads) == key]
    return any(rank(other.file) < rank(row.file) for other in same)


def _harm(row: Row) -> str:
    sharp, jpeg = row.quality.get("sharp-in"), row.quality.get("sharp-jpeg")
    words = []
    if sharp is not None and sharp.psnr_db < _MIN_SHARP_DB:
        words.append(f"sharp pictures come out at {sharp.psnr_db:.1f} dB")
    if jpeg is not None and jpeg.gain_db < _MIN_SHARP_JPEG_GAIN_DB:
        words.append(f"sharp JPEG pictures lose {-jpeg.gain_db:.2f} dB")
    return " and ".join(words)


def _request(fps: float | None, max_ms: float | None, min_gain_db: float | None, loops: Sequence[Loop]) -> _Request | None:
    limits = []
    if fps is not None:
        share = f"{INTERVAL_SHARE:.0%} of the {1000 / fps:.1f} ms between two frames"
        limits.append((limit_ms(fps), f"{fps:g} frames a second (p95 of at most {limit_ms(fps):.1f} ms: {share})"))
    if max_ms is not None:
        limits.append((max_ms, f"a frame within {max_ms:g} ms (p95)"))
    if not limits:
        return None
    words = " and ".join(words for _, words in limits)
    return _Request(
        fps=fps,
        most_ms=min(limit for limit, _ in limits),
        slow_loops={loop.label: loop.fps for loop in loops if fps is not None and loop.fps < fps},
        words=words + (f" with a gain of at least {min_gain_db:.2f} dB" if min_gain_db else ""),
    )


def _tiers(good: Sequence[_Candidate]) -> list[list[_Candidate]]:
    """Rows that do not harm sharp pictures before rows that do; within both, rows that leave a core free first."""
    return [
        [c for c in good if bool(c.harm) == harms and c.uses_every_core == every_core]
        for harms in (False, True)
        for every_core in (False, True)
    ]


def _best(candidates: Sequence[_Candidate], earlier: TunedModel | None = None) -> _Candidate:
    """The best gain; of equal ones the fastest, then fewer threads, less memory, the preferred runtime, fewer bits."""
    least_db = equal_to_best_db(c.gain_db for c in candidates)
    return _fastest([c for c in candidates if c.gain_db >= least_db], earlier)


def _fastest(candidates: Sequence[_Candidate], earlier: TunedModel | None = None) -> _Candidate:
    first = min(candidates, key=lambda c: c.latency.p50_ms.value).latency.p50_ms
    limit = max(first.high, first.value * (1 + _EQUAL_TIME_SHARE))
    equal = [c for c in candidates if min(c.latency.p50_ms.low, c.latency.p50_ms.value) <= limit]
    for c in equal:
        if earlier and (c.row.sha256, c.row.runtime, c.row.threads) == (earlier.sha256, earlier.runtime, earlier.threads):
            return c
    fewest = min(c.row.threads for c in equal)
    equal = [c for c in equal if c.row.threads == fewest]
    least_mib = min(c.row.peak_rss_mib or 0.0 for c in equal)
    equal = [c for c in equal if (c.row.peak_rss_mib or 0.0) <= least_mib * (1 + _EQUAL_MEMORY_SHARE)]
    order = list(runtimes.RUNTIMES)
    return min(equal, key=lambda c: (order.index(str(c.row.runtime)), -VARIANTS.index(str(c.row.variant))))


def _pick(best: _Candidate, why: str) -> Pick:
    row = best.row
    if best.uses_every_core:
        why += "; it uses every core, because nothing that leaves one to capture and output is good enough"
    if best.harm:
        why += f"; but {best.harm}, and nothing that leaves them unharmed is good enough"
    return Pick(label=row.label, name=row.name, variant=str(row.variant), runtime=str(row.runtime), threads=row.threads, why=why)


def _better_but_ruled_out(best: _Candidate, good: Sequence[_Candidate], request: _Request) -> str:
    """Name the row with a better picture, and why it was not picked."""
    better = [c for c in good if c.gain_db > best.gain_db + EQUAL_DB]
    if not better:
        return ""
    more = _best(better)
    if (fps := request.slow_loops.get(more.row.label)) is not None:
        reason = f"its whole loop reached {fps:.1f} frames a second"
    elif not fits(more.latency, request.most_ms):
        reason = f"its p95 is {more.latency.p95_ms.value:.1f} ms"
    else:
        reason = more.harm or "it uses every core"
    return f"; {more.row.label} would gain {more.gain_db:+.2f} dB, but {reason}"


def _nothing_fits(candidates: Sequence[_Candidate], request: _Request | None, min_gain_db: float | None) -> str:
    least_db = min_gain_db or 0.0
    slow_loops = request.slow_loops if request else {}

    def shortfall(c: _Candidate) -> float:
        late = max(0.0, c.latency.p95_ms.high / request.most_ms - 1) if request else 0.0
        return late + max(0.0, least_db - c.gain_db) + (0.1 if c.row.label in slow_loops else 0.0)

    closest = min(candidates, key=shortfall)
    if request is None:
        wanted = f"has a gain of at least {min_gain_db:.2f} dB" if min_gain_db else "improves blurred pictures"
    else:
        wanted = f"restores {request.words}" + ("" if min_gain_db else " and improves blurred pictures")
    label = closest.row.label
    loop = f", its whole loop {slow_loops[label]:.1f} frames a second" if label in slow_loops else ""
    return (
        f"nothing here {wanted}; closest: {label} ({closest.figures}{loop}); "
        "relax the limits, measure a smaller --size, or give another --bundle"
    )
