"""What a contributed result must be: measured to its end on an undisturbed machine, possible, and nobody's private matter."""

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from benchmarks.records import KINDS, NETWORK, OK, Estimate, Latency, Result, Row, as_json, from_json

MACHINE_KINDS = ("real", "virtual")
SUITES = ("quick", "full")
LEAST_ROUNDS = 3
MOST_CHARACTERS = 2000
_MOST_DB = 99.0
_ABSOLUTE = re.compile(
    r"(?<![\w./\\])(?:~\w*|[A-Za-z]:)?[/\\]+[^\s/\\'\",;:()]+[/\\][^\s'\",;:()]*|(?<![\w./\\])~\w*[/\\][^\s'\",;:()]*"
)
"""A path of two parts and more, from the root or from a home folder."""
_HOMES = ("home", "Users")
_PRIVATE = (
    (_ABSOLUTE, "a path of the machine"),
    (re.compile(r"[\w.+-]+@[\w-]+\.[a-z]{2,}"), "an e-mail address"),
    (re.compile(r"\b(?:[0-9a-f]{2}:){5}[0-9a-f]{2}\b", re.IGNORECASE), "a network card's address"),
)


def problems(result: Result, names: Sequence[str] = ()) -> list[str]:
    """What speaks against taking this result, in words; empty where nothing does.

    `names` are words that may not stand in it: the machine's and the user's name where it was measured.
    """
    found = [*_whole(result), *_texts(result, names)]
    labels = [row.label for row in result.rows]
    found += [f"two rows of {label}" for label in sorted({name for name in labels if labels.count(name) > 1})]
    for row in result.rows:
        found += [f"{row.label}: {problem}" for problem in _row(row, result.rounds)]
    return found


def reduced(result: Result, command: str) -> Result:
    """Without pictures and without paths: of each the last part stays; `command` stands in place of the command."""
    return from_json(_mapped(as_json(replace(result, examples=(), command=command))), "the result without paths")


def without_paths(text: str) -> str:
    """Every path from the root or from a home folder becomes its last part; a home folder itself becomes HOME."""
    return _ABSOLUTE.sub(lambda path: _last(path[0]), text)


def _mapped(value: Any) -> Any:
    match value:
        case str():
            return without_paths(value)
        case dict():
            return {key: _mapped(inner) for key, inner in value.items()}
        case list() | tuple():
            return [_mapped(inner) for inner in value]
    return value


def _last(path: str) -> str:
    parts = [part for part in re.split(r"[/\\]", path) if part]
    if (len(parts) >= 2 and parts[-2] in _HOMES) or parts[-1].startswith("~"):
        return "HOME"
    return parts[-1]


def _whole(result: Result) -> Iterator[str]:
    machine = result.machine
    if machine.kind == "emulated":
        yield "measured on an emulated machine: its times say nothing about any board; measure on the board itself"
    elif machine.kind not in MACHINE_KINDS:
        yield f"machine of kind {machine.kind!r}; expected {' or '.join(MACHINE_KINDS)}"
    if not result.complete:
        yield "partial: the benchmark was interrupted; let it run to its end"
    for doubt in result.doubts:
        yield f"it doubts itself ({doubt}); mend that and measure again"
    if result.suite not in SUITES:
        yield f"suite {result.suite!r}; expected {' or '.join(SUITES)}"
    if result.rounds < LEAST_ROUNDS:
        yield f"{result.rounds} rounds; expected {LEAST_ROUNDS} or more"
    if len(result.size_wh) != 2 or not all(16 <= side <= 16384 for side in result.size_wh):
        yield f"a frame of {result.size_wh}; expected width and height, 16 to 16384 pixels"
    if result.examples:
        yield "it holds pictures; `deblurkit bench results --add` leaves them out"
    if not (machine.cpu.strip() and machine.hardware_hash and machine.cores >= 1):
        yield "the machine has no processor's name, no hardware hash or no cores"
    if not any(row.kind == NETWORK and row.status == OK for row in result.rows):
        yield "no network was measured"
    labels = {row.label for row in result.rows}
    if result.pick and result.pick.label not in labels:
        yield f"the pick, {result.pick.label}, is none of its rows"
    try:
        started = datetime.fromisoformat(result.started)
        late = started > datetime.now().astimezone() + timedelta(days=1)
    except (ValueError, TypeError):  # TypeError: a time without its zone cannot be compared
        yield f"started {result.started!r}; expected date and time with the zone, such as 2026-11-25T12:00:00+00:00"
    else:
        if late or started.year < 2026:  # a board without a battery for its clock begins in 1970
            yield f"started {result.started}: the machine's clock is wrong; set it and measure again"


def _row(row: Row, rounds: int) -> Iterator[str]:
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
    yield from _latency(row.latency, network)
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
        yield "its pictures were not compared with the reference"
    elif row.agreement.psnr_db < row.agreement.needed_db:
        yield f"ok, but agrees with the reference to {row.agreement.psnr_db:.1f} dB only (needed: {row.agreement.needed_db:.1f})"
    if row.gain_db is None or abs(row.gain_db) > 40:
        yield f"gain_db is {row.gain_db}; expected -40 to 40"
    for case, of in row.quality.items():
        if not (0 <= of.psnr_db <= _MOST_DB and 0 <= of.input_psnr_db <= _MOST_DB and -1 <= of.ssim <= 1):
            yield f"{case}: PSNR or SSIM out of range"


def _latency(of: Latency, network: bool) -> Iterator[str]:
    three = (of.p50_ms, of.p95_ms, of.p99_ms)
    if of.frames < 1 or any(e.value < 0 or (network and e.value == 0) for e in three):
        yield "no frames, or times that are not above 0"
    if not of.p50_ms.value <= of.p95_ms.value <= of.p99_ms.value:
        yield f"p50 {of.p50_ms.value}, p95 {of.p95_ms.value}, p99 {of.p99_ms.value} ms; expected each at least the one before"
    for name, estimate in (("p50", of.p50_ms), ("p95", of.p95_ms), ("p99", of.p99_ms), ("jitter", of.jitter_ms)):
        if not _in_order(estimate):
            yield f"{name} {estimate.value} ms lies outside its interval, {estimate.low} to {estimate.high}"
    medians = of.rounds_p50_ms
    if medians and not 0.99 * min(medians) - 1e-3 <= of.p50_ms.value <= 1.01 * max(medians) + 1e-3:
        yield f"p50 {of.p50_ms.value} ms lies outside the medians of its rounds, {min(medians)} to {max(medians)}"


def _in_order(of: Estimate) -> bool:
    return of.low <= of.value <= of.high


def _texts(result: Result, names: Sequence[str]) -> Iterator[str]:
    for where, value in _leaves(as_json(replace(result, examples=())), ""):
        if isinstance(value, float) and not math.isfinite(value):
            yield f"{where} is {value}"
        if not isinstance(value, str):
            continue
        if len(value) > MOST_CHARACTERS or any(ord(character) < 32 and character not in "\n\t" for character in value):
            yield f"{where}: longer than {MOST_CHARACTERS} characters, or with control characters"
            continue
        for pattern, what in _PRIVATE:
            if (seen := pattern.search(value)) is not None:
                yield f"{where} holds {what} ({seen[0]}); `deblurkit bench results --add` takes paths out"
        for name in names:
            if re.search(rf"(?<!\w){re.escape(name)}(?!\w)", value):
                yield f"{where} holds {name!r}, a name of this machine or its user; rename what is called so and measure again"


def _leaves(value: Any, where: str) -> Iterator[tuple[str, Any]]:
    """(place, value) of everything in plain data, keys of mappings too."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield where or "key", key
            yield from _leaves(inner, f"{where}.{key}" if where else str(key))
    elif isinstance(value, list | tuple):
        for number, inner in enumerate(value):
            yield from _leaves(inner, f"{where}[{number}]")
    else:
        yield where, value
