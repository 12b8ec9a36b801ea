"""The answer: which of the measured rows to run here, and why. docs/results.md describes the rule in words.

Candidates are network rows that `deblurkit run` can run here, that agree with the reference and improve blurred pictures.
Without a wish: the best picture at 30 frames a second, or at the next lower of `USUAL_FPS` that something keeps.
"""

import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from benchmarks.records import NETWORK, NON_BLIND, OK, Latency, Loop, Pick, Result, Row
from device import runtimes
from device.bundle.manifest import MANIFEST, VARIANTS, file_facts
from device.bundle.open import SHIPPED, Bundle, shipped
from device.errors import GateError, UsageError
from device.loop import tuned
from device.loop.tuned import TunedModel

USUAL_FPS = (30.0, 25.0, 15.0, 10.0, 5.0)
"""Of cameras, where nobody says how many are wanted: the first that something keeps."""
SHARE = 0.85
"""Of a frame's interval that restoring may take (p95, upper end of its interval): capture and output take the rest."""
SAME_DB = 0.05
"""Gains that differ by less are the same."""
SAME_SHARE = 0.05
"""So are times whose intervals overlap, or that differ by less than this."""
_SAME_MEMORY_SHARE = 0.1
_LEAST_SHARP_DB, _MOST_HARM_DB = 40.0, -0.5


@dataclass(frozen=True)
class _Candidate:
    row: Row
    latency: Latency
    gain_db: float
    harm: str
    """What it does to pictures that are sharp already, in words; empty where they stay as they are."""
    crowded: bool
    """Whether it takes every core, and leaves none to capture and output."""

    @property
    def most_ms(self) -> float:
        return self.latency.p95_ms.high

    @property
    def figures(self) -> str:
        return f"{self.gain_db:+.2f} dB, p50 {self.latency.p50_ms.value:.1f} ms, p95 {self.latency.p95_ms.value:.1f} ms"


@dataclass(frozen=True)
class _Wish:
    fps: float | None
    ms: float
    """That a frame may take at most."""
    slow: dict[str, float]
    """By label, whole loops that were measured to miss the rate: frames a second."""
    words: str

    def is_met(self, one: _Candidate) -> bool:
        return one.most_ms <= self.ms and one.row.label not in self.slow


def pareto_front(rows: Sequence[Row]) -> set[int]:
    """Indices of the rows than which none is both faster (p50) and better (gain to 0.01 dB), one of the two strictly.

    Oracles and doing nothing are left out.
    """
    points = {
        i: (row.latency.p50_ms.value, -round(row.gain_db, 2))
        for i, row in enumerate(rows)
        if row.status == OK and row.kind != NON_BLIND and row.name != "nothing" and row.latency and row.gain_db is not None
    }
    return {i for i, p in points.items() if not any(q != p and q[0] <= p[0] and q[1] <= p[1] for q in points.values())}


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
    """What to run. `fps` leaves 15 % of a frame's time to capture and output; `max_ms` is what restoring alone may take (p95).

    `loops`: whole loops that were measured; one that misses `fps` rules its row out. `cores`: of this machine; one is kept free
    where something else does. `earlier`: an answer that still holds here, and stays while nothing measured tells a better one
    apart from it. Raises GateError, with what came nearest, where nothing is good enough.
    """
    cores = cores or len(os.sched_getaffinity(0))
    candidates = _candidates(rows, cores, installed or _runs_here)
    if not candidates:
        raise GateError("nothing to pick: no file could be measured on a runtime that `deblurkit run` uses here; see its rows")
    good = [c for c in candidates if (c.gain_db >= min_gain_db if min_gain_db is not None else c.gain_db > 0)]
    loops = tuple(loops)
    wish = _wish(fps, max_ms, min_gain_db, loops)
    if wish is None and good:
        first = next(tier for tier in _tiers(good) if tier)
        rates = (_wish(rate, None, min_gain_db, loops) for rate in USUAL_FPS)
        wish = next((each for each in rates if each and any(each.is_met(c) for c in first)), None)
        if wish is None:
            fastest = _fastest(first, earlier)
            return _pick(fastest, f"nothing keeps {USUAL_FPS[-1]:g} frames a second; the fastest: {fastest.figures}")
    if wish is None:
        raise GateError(_nearest(candidates, None, min_gain_db))
    chosen = next((found for tier in _tiers(good) if (found := [c for c in tier if wish.is_met(c)])), None)
    if chosen is None:
        raise GateError(_nearest(candidates, wish, min_gain_db))
    best, fresh = _best(chosen, earlier), _best(chosen)
    why = f"the best picture of {len(chosen)} that restore {wish.words}: {best.figures}"
    if fps is None and max_ms is None:
        usual = "that of most cameras" if wish.fps == USUAL_FPS[0] else f"{wish.fps:g}, since nothing keeps {USUAL_FPS[0]:g},"
        why = f"no rate was asked for, so {usual} was taken; {why}"
    if best is not fresh:
        why += f"; {fresh.row.label} is not told apart from it ({fresh.figures}), so the earlier answer stays"
    return _pick(best, why + _given_up(best, good, wish))


def as_measured(picked: Pick, result: Result, bundles: Iterable[Bundle] = ()) -> TunedModel:
    """What `deblurkit run` keeps of it. `bundles`: those that were measured, needed for one that does not ship.

    Raises UsageError where it is not known where the bundle lies.
    """
    row = next(r for r in result.rows if r.label == picked.label)
    assert row.latency is not None
    assert row.gain_db is not None
    return TunedModel(
        schema=tuned.SCHEMA,
        hardware_hash=result.machine.hardware_hash,
        versions=tuned.versions(picked.runtime),
        bundle=_place(row, bundles),
        bundle_hash=row.bundle_hash,
        file=str(row.file),
        sha256=str(row.sha256),
        variant=picked.variant,
        runtime=picked.runtime,
        threads=picked.threads,
        size_wh=result.size_wh,
        p50_ms=round(row.latency.p50_ms.value, 2),
        p95_ms=round(row.latency.p95_ms.value, 2),
        gain_db=round(row.gain_db, 3),
        why=picked.why,
        measured=result.started[:10],
    )


def _place(row: Row, bundles: Iterable[Bundle]) -> str:
    """What `--bundle` would be given: a shipped bundle's name, else the folder, or the file where there is no manifest."""
    if row.name in shipped() and row.bundle_hash == file_facts(SHIPPED / row.name / MANIFEST)["sha256"]:
        return row.name
    for bundle in bundles:
        if bundle.name == row.name:
            alone = row.bundle_hash is None
            return str((bundle.folder / str(row.file) if alone else bundle.folder).resolve())
    raise UsageError(f"{row.name}: not a bundle that ships, and it is not known where it lies; give --bundle its folder")


def _runs_here(runtime: str) -> bool:
    return runtime in runtimes.RUNTIMES and runtimes.installed(runtime)


def _candidates(rows: Sequence[Row], cores: int, installed: Callable[[str], bool]) -> list[_Candidate]:
    found = []
    for row in rows:
        if row.kind != NETWORK or row.status != OK or row.latency is None or row.gain_db is None:
            continue
        if row.agreement is not None and row.agreement.psnr_db < row.agreement.needed_db:
            continue
        if row.runtime is not None and installed(row.runtime) and not _stands_behind(row, rows):
            found.append(_Candidate(row, row.latency, row.gain_db, _harm(row), cores > 1 and row.threads >= cores))
    return found


def _stands_behind(row: Row, rows: Sequence[Row]) -> bool:
    """Whether `run` would take another file of that variant on that runtime: one of the format that the runtime prefers.

    They make the same picture in the same time, and the answer shall not depend on which was measured a little faster.
    """
    order = runtimes.formats(str(row.runtime)) if row.runtime in runtimes.RUNTIMES else ()

    def place(file: str | None) -> int:
        suffix = str(file).rpartition(".")[2]
        return order.index(suffix) if suffix in order else len(order)

    what = (row.name, row.variant, row.runtime, row.threads)
    same = [r for r in rows if r.status == OK and (r.name, r.variant, r.runtime, r.threads) == what]
    return any(place(other.file) < place(row.file) for other in same)


def _harm(row: Row) -> str:
    sharp, jpeg = row.quality.get("sharp-in"), row.quality.get("sharp-jpeg")
    words = []
    if sharp is not None and sharp.psnr_db < _LEAST_SHARP_DB:
        words.append(f"sharp pictures come out at {sharp.psnr_db:.1f} dB")
    if jpeg is not None and jpeg.gain_db < _MOST_HARM_DB:
        words.append(f"sharp JPEG pictures lose {-jpeg.gain_db:.2f} dB")
    return " and ".join(words)


def _wish(fps: float | None, max_ms: float | None, min_gain_db: float | None, loops: Sequence[Loop]) -> _Wish | None:
    limits = []
    if fps is not None:
        interval = 1000 / fps
        rest = f"p95 of {SHARE * interval:.1f} ms at most: {SHARE:.0%} of the {interval:.1f} ms between two"
        limits.append((SHARE * interval, f"{fps:g} frames a second ({rest})"))
    if max_ms is not None:
        limits.append((max_ms, f"a frame within {max_ms:g} ms (p95)"))
    if not limits:
        return None
    ms = min(limit for limit, _ in limits)
    words = " and ".join(words for _, words in limits)
    slow = {loop.label: loop.fps for loop in loops if fps is not None and loop.fps < fps}
    return _Wish(fps, ms, slow, words + (f" with a gain of at least {min_gain_db:.2f} dB" if min_gain_db else ""))


def _tiers(good: Sequence[_Candidate]) -> list[list[_Candidate]]:
    """Those that spare sharp pictures before those that harm them; within each those that leave a core free first."""
    return [
        [c for c in good if bool(c.harm) == harms and c.crowded == crowded]
        for harms in (False, True)
        for crowded in (False, True)
    ]


def _best(candidates: Sequence[_Candidate], earlier: TunedModel | None = None) -> _Candidate:
    """The best gain; among equals the fastest, then fewer threads, less memory, the runtime that is taken first, fewer bits."""
    top = max(c.gain_db for c in candidates)
    return _fastest([c for c in candidates if c.gain_db >= top - SAME_DB], earlier)


def _fastest(candidates: Sequence[_Candidate], earlier: TunedModel | None = None) -> _Candidate:
    first = min(candidates, key=lambda c: c.latency.p50_ms.value).latency.p50_ms
    limit = max(first.high, first.value * (1 + SAME_SHARE))
    alike = [c for c in candidates if min(c.latency.p50_ms.low, c.latency.p50_ms.value) <= limit]
    for c in alike:
        if earlier and (c.row.sha256, c.row.runtime, c.row.threads) == (earlier.sha256, earlier.runtime, earlier.threads):
            return c
    fewest = min(c.row.threads for c in alike)
    alike = [c for c in alike if c.row.threads == fewest]
    least = min(c.row.peak_rss_mib or 0.0 for c in alike)
    alike = [c for c in alike if (c.row.peak_rss_mib or 0.0) <= least * (1 + _SAME_MEMORY_SHARE)]
    order = list(runtimes.RUNTIMES)
    return min(alike, key=lambda c: (order.index(str(c.row.runtime)), -VARIANTS.index(str(c.row.variant))))


def _pick(best: _Candidate, why: str) -> Pick:
    row = best.row
    if best.crowded:
        why += "; it takes every core: nothing that leaves one to capture and output would do"
    if best.harm:
        why += f"; but {best.harm}, and nothing that spares them would do"
    return Pick(row.label, row.name, str(row.variant), str(row.runtime), row.threads, why)


def _given_up(best: _Candidate, good: Sequence[_Candidate], wish: _Wish) -> str:
    """What would restore better, and why it is not taken."""
    better = [c for c in good if c.gain_db > best.gain_db + SAME_DB]
    if not better:
        return ""
    more = _best(better)
    if (fps := wish.slow.get(more.row.label)) is not None:
        reason = f"its whole loop made {fps:.1f} frames a second"
    elif more.most_ms > wish.ms:
        reason = f"its p95 is {more.latency.p95_ms.value:.1f} ms"
    else:
        reason = more.harm or "it takes every core"
    return f"; {more.row.label} would gain {more.gain_db:+.2f} dB, but {reason}"


def _nearest(candidates: Sequence[_Candidate], wish: _Wish | None, min_gain_db: float | None) -> str:
    least_db = min_gain_db or 0.0

    def missing(c: _Candidate) -> float:
        late = max(0.0, c.most_ms / wish.ms - 1) if wish else 0.0
        slow = wish is not None and c.row.label in wish.slow
        return late + max(0.0, least_db - c.gain_db) + (0.1 if slow else 0.0)

    near = min(candidates, key=missing)
    if wish is None:
        wanted = f"has a gain of at least {min_gain_db:.2f} dB" if min_gain_db else "improves blurred pictures"
    else:
        wanted = f"restores {wish.words}" + ("" if min_gain_db else " and improves blurred pictures")
    loop = f", its whole loop {wish.slow[near.row.label]:.1f} frames a second" if wish and near.row.label in wish.slow else ""
    return (
        f"nothing here {wanted}; nearest: {near.row.label} ({near.figures}{loop}); "
        "ask for less, measure a smaller --size, or give another --bundle"
    )
