"""Check a contributed result: it must be complete, undisturbed, physically possible, and free of private data."""

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from benchmarks.records import KINDS, NETWORK, OK, Estimate, Latency, Result, Row, as_json, from_json

MACHINE_KINDS = ("real", "virtual")
SUITES = ("quick", "full")
MIN_ROUNDS = 3
MAX_CHARACTERS = 2000
_MAX_DB = 99.0
_ABSOLUTE_PATH = re.compile(
    r"(?<![\w./\\])(?:~\w*|[A-Za-z]:)?[/\\]+[^\s/\\'\",;:()]+[/\\][^\s'\",;:()]*|(?<![\w./\\])~\w*[/\\][^\s'\",;:()]*"
)
"""A path with two or more parts, from the root or from a home folder."""
_HOMES = ("home", "Users")
_PRIVATE = (
    (_ABSOLUTE_PATH, "a path of the machine"),
    (re.compile(r"[\w.+-]+@[\w-]+\.[a-z]{2,}"), "an e-mail address"),
    (re.compile(r"\b(?:[0-9a-f]{2}:){5}[0-9a-f]{2}\b", re.IGNORECASE), "a network card's address"),
)


def problems(result: Result, names: Sequence[str] = ()) -> list[str]:
    """List the reasons not to accept this result; an empty list accepts it.

    `names` are words that it must not contain: the names of the machine and of the user where it was measured.
    """
    found = [*_of_result(result), *_of_texts(result, names)]
    labels = [row.label for row in result.rows]
    found += [f"two rows of {label}" for label in sorted({name for name in labels if labels.count(name) > 1})]
    for row in result.rows:
        found += [f"{row.label}: {problem}" for problem in _of_row(row, result.rounds)]
    return found


def reduced(result: Result, command: str) -> Result:
    """Remove pictures, and of every path all but its last part; replace the command by `command`."""
    return from_json(_map_texts(as_json(replace(result, examples=(), command=command))), "the result without paths")


def without_paths(text: str) -> str:
    """Replace every path from the root or from a home folder by its last part, and a home folder itself by HOME."""
    return _ABSOLUTE_PATH.sub(lambda path: _last_part(path[0]), text)


def _map_texts(value: Any) -> Any:
    match value:
        case str():
            return without_paths(value)
        case dict():
            return {key: _map_texts(inner) for key, inner in value.items()}
        case list() | tuple():
            return [_map_texts(inner) for inner in value]
    return value


def _last_part(path: str) -> str:
    parts = [part for part in re.split(r"[/\\]", path) if part]
    if (len(parts) >= 2 and parts[-2] in _HOMES) or parts[-1].startswith("~"):
        return "HOME"
    return parts[-1]


def _of_result(result: Result) -> Iterator[str]:
    machine = result.machine
    if machine.kind == "emulated":
        yield "measured on an emulated machine: its times say nothing about any board; measure on the board itself"
    elif machine.kind not in MACHINE_KINDS:
        yield f"machine of kind {machine.kind!r}; expected {' or '.join(MACHINE_KINDS)}"
    if not result.complete:
        yield "partial: the benchmark was interrupted; let it run to its end"
    for doubt in result.doubts:
        yield f"it has a doubt ({doubt}); fix that and measure again"
    if result.suite not in SUITES:
        yield f"suite {result.suite!r}; expected {' or '.join(SUITES)}"
    if result.rounds < MIN_ROUNDS:
        yield f"{result.rounds} rounds; expected {MIN_ROUNDS} or more"
    if len(result.size_wh) != 2 or not all(16 <= side <= 16384 for side in result.size_wh):
        yield f"a frame of {result.size_wh}; expected width and height, 16 to 16384 pixels"
    if result.examples:
        yield "it contains pictures; `deblurkit bench results --add` removes them"
    if not (machine.cpu.strip() and machine.hardware_hash and machine.cores >= 1):
        yield "the machine has no processor name, no hardware hash or no cores"
    if not any(row.kind == NETWORK and row.status == OK for row in result.rows):
        yield "no network was measured"
    labels = {row.label for row in result.rows}
    if result.pick and result.pick.label not in labels:
        yield f"the pick, {result.pick.label}, is not one of its rows"
    try:
        started = datetime.fromisoformat(result.started)
        late = started > datetime.now().astimezone() + timedelta(days=1)
    except (ValueError, TypeError):  # TypeError: a time without a zone cannot be compared
        yield f"started {result.started!r}; expected date and time with the zone, such as 2026-11-25T12:00:00+00:00"
    else:
        if late or started.year < 2026:  # a board whose clock has no battery starts in 1970
            yield f"started {result.started}: the machine's clock is wrong; set it and measure again"


def _of_row(row: Row, rounds: int) -> Iterator[str]:
    network = row.kind == NETWORK
    if row.kind not in KINDS:
        yield f"kind {row.kind!r}"
    if row.status != OK:
        if not row.message:
            yield f"{row.status} without a message"
        return
    if row.latency is None:
        yield "ok without times"
        return
    yield from _of_latency(row.latency, network)
    if not (row.rounds == rounds == len(row.latency.rounds_p50_ms)):
        yield f"measured in {row.rounds} rounds with {len(row.latency.rounds_p50_ms)} medians; expected {rounds} of both"
    if not network:
        return
    for name, value in (("load_ms", row.load_ms), ("first_ms", row.first_ms), ("peak_rss_mib", row.peak_rss_mib)):
        if value is None or value <= 0:
            yield f"{name} is {value}; expected more than 0"
    if row.infer_share is not None and not 0 < row.infer_share <= 1.05:
        yield f"infer_share is {row.infer_share:.2f}; expected at most 1"
    if row.agreement is None:
        yield "its output was not compared with the reference"
    elif row.agreement.psnr_db < row.agreement.needed_db:
        yield f"ok, but its parity with the reference is {row.agreement.psnr_db:.1f} dB (needed: {row.agreement.needed_db:.1f})"
    if row.gain_db is None or abs(row.gain_db) > 40:
        yield f"gain_db is {row.gain_db}; expected -40 to 40"
    for case, of in row.quality.items():
        if not (0 <= of.psnr_db <= _MAX_DB and 0 <= of.input_psnr_db <= _MAX_DB and -1 <= of.ssim <= 1):
            yield f"{case}: PSNR or SSIM out of range"


def _of_latency(of: Latency, network: bool) -> Iterator[str]:
    three = (of.p50_ms, of.p95_ms, of.p99_ms)
    if of.frames < 1 or any(e.value < 0 or (network and e.value == 0) for e in three):
        yield "no frames, or times that are not above 0"
    if not of.p50_ms.value <= of.p95_ms.value <= of.p99_ms.value:
        yield f"p50 {of.p50_ms.value}, p95 {of.p95_ms.value}, p99 {of.p99_ms.value} ms; expected increasing values"
    for name, estimate in (("p50", of.p50_ms), ("p95", of.p95_ms), ("p99", of.p99_ms), ("jitter", of.jitter_ms)):
        if not _in_order(estimate):
            yield f"{name} {estimate.value} ms is outside its interval, {estimate.low} to {estimate.high}"
    medians = of.rounds_p50_ms
    if medians and not 0.99 * min(medians) - 1e-3 <= of.p50_ms.value <= 1.01 * max(medians) + 1e-3:
        yield f"p50 {of.p50_ms.value} ms is outside the medians of its rounds, {min(medians)} to {max(medians)}"


def _in_order(of: Estimate) -> bool:
    return of.low <= of.value <= of.high


def _of_texts(result: Result, names: Sequence[str]) -> Iterator[str]:
    for where, value in _leaves(as_json(replace(result, examples=())), ""):
        if isinstance(value, float) and not math.isfinite(value):
            yield f"{where} is {value}"
        if not isinstance(value, str):
            continue
        if len(value) > MAX_CHARACTERS or any(ord(character) < 32 and character not in "\n\t" for character in value):
            yield f"{where}: longer than {MAX_CHARACTERS} characters, or with control characters"
            continue
        for pattern, what in _PRIVATE:
            if (seen := pattern.search(value)) is not None:
                yield f"{where} contains {what} ({seen[0]}); `deblurkit bench results --add` removes paths"
        for name in names:
            if re.search(rf"(?<!\w){re.escape(name)}(?!\w)", value):
                yield f"{where} contains {name!r}, the name of this machine or its user; rename it and measure again"


def _leaves(value: Any, where: str) -> Iterator[tuple[str, Any]]:
    """Yield (place, value) of every value in plain data, and of the keys of mappings."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield where or "key", key
            yield from _leaves(inner, f"{where}.{key}" if where else str(key))
    elif isinstance(value, list | tuple):
        for number, inner in enumerate(value):
            yield from _leaves(inner, f"{where}[{number}]")
    else:
        yield where, value
