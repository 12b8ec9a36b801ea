"""The folder `results/`: results of other people's boards, each checked before it is taken; the table and page made of them."""

import getpass
import json
import logging
import math
import re
import shlex
import socket
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from benchmarks.boards import plausible
from benchmarks.records import NETWORK, OK, Result, Row, as_json, from_json
from device.errors import DataError, UsageError
from device.system.console import new_parser, print_json, start_logging, table
from device.system.files import write_atomically

MOST_MIB = 4
_MOST_READ_MIB = 64
FPS = 30
_SAME_DB = 0.05
_COMMON_NAMES = {
    "admin",
    "debian",
    "localhost",
    "orangepi",
    "raspberry",
    "raspberrypi",
    "root",
    "rock",
    "runner",
    "ubuntu",
    "user",
}
_HEADER = ["board", "cpu", "kind", "date", "frame", f"best at {FPS} fps", "fastest", "file"]
_EXAMPLE = "deblurkit bench results --add out/bench/bench.json\n  deblurkit bench results --report out/boards.html"
log = logging.getLogger(__name__)


def main(argv: list[str]) -> int:
    """`deblurkit bench results`: check the folder, or add a result to it. Raises DataError, naming everything that is wrong."""
    parser = new_parser("bench results", "Contributed results: check them, add one, make a page of them.", _EXAMPLE)
    parser.add_argument("folder", type=Path, nargs="?", default=Path("results"), metavar="DIR", help="(default: results)")
    parser.add_argument("--add", type=Path, metavar="FILE", help="check a bench.json and copy it, without paths and pictures")
    parser.add_argument("--report", type=Path, metavar="FILE.html", help="write a page of all boards")
    options = parser.parse_args(argv)
    start_logging(options.quiet)
    if options.report and options.report.suffix.lower() not in (".html", ".htm"):
        raise UsageError(f"--report {options.report}: expected the name of a page, such as out/boards.html")
    if options.add:
        path = add(options.add, options.folder)
        log.info("%s: look it over, then offer it (%s)", path, options.folder / "README.md")
    results, wrong = collect(options.folder)
    if options.json:
        print_json({"results": {name: summary(result) for name, result in results.items()}, "problems": wrong})
    else:
        print(as_table(results))
    if wrong:
        raise DataError("\n  ".join([f"{options.folder}: {len(wrong)} problems", *wrong]))
    if options.report:
        from benchmarks.boards.page import page

        write_atomically(options.report, page(results).encode())
        log.info("%s: %d boards", options.report, len(results))
    return 0


def read(path: Path, most_mib: int = _MOST_READ_MIB) -> Result:
    """A result from its file. Raises DataError for one that cannot be read, is no result, or is larger than `most_mib`."""
    try:
        with open(path, "rb") as file:
            data = file.read(most_mib * 2**20 + 1)
    except OSError as error:
        raise DataError(f"{path}: {error.strerror}; expected a bench.json of `deblurkit bench --report DIR`") from error
    if len(data) > most_mib * 2**20:
        raise DataError(f"{path}: larger than {most_mib} MiB; expected a bench.json of `deblurkit bench --report DIR`")
    try:
        content = json.loads(data, parse_constant=_refused, parse_float=_finite)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: not JSON ({error}); expected a bench.json of `deblurkit bench --report DIR`") from error
    return from_json(content, str(path))


def collect(folder: Path) -> tuple[dict[str, Result], list[str]]:
    """(results that may be taken by file name, what is wrong with the others). Raises DataError where there is no folder."""
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder; expected one of contributed results (BOARD-DATE.json)")
    taken: dict[str, Result] = {}
    wrong: list[str] = []
    seen: dict[tuple[str, str], str] = {}
    for path in sorted(folder.iterdir(), key=lambda path: (path.stem, path.suffix)):  # the first of a day before its -2
        if path.name == "README.md" or path.name.startswith("."):
            continue
        if path.suffix != ".json" or path.is_symlink() or not path.is_file():
            wrong.append(f"{path.name}: expected only README.md and BOARD-DATE.json files")
            continue
        try:
            result = read(path, MOST_MIB)
        except DataError as error:
            wrong.append(str(error))
            continue
        found = plausible.problems(result)
        if not re.fullmatch(re.escape(stem(result)) + r"(-\d+)?\.json", path.name):
            found.append(f"expected the name {stem(result)}.json")
        identity = (result.machine.hardware_hash, result.started)
        if identity in seen:
            found.append(f"the same result as {seen[identity]}")
        seen.setdefault(identity, path.name)
        wrong += [f"{path.name}: {problem}" for problem in found]
        if not found:
            taken[path.name] = result
    return taken, wrong


def add(path: Path, folder: Path) -> Path:
    """Check a result and copy it into `folder` without pictures and paths; returns its place. Raises DataError."""
    given = read(path)
    result = plausible.reduced(given, short_command(given.command))
    wrong = plausible.problems(result, local_names())
    if wrong:
        raise DataError("\n  ".join([f"{path}: not taken", *wrong]))
    data = json.dumps(as_json(result), indent=1).encode() + b"\n"
    if len(data) > MOST_MIB * 2**20:
        raise DataError(f"{path}: {len(data) / 2**20:.1f} MiB without its pictures, {MOST_MIB} are allowed; measure fewer rows")
    place, number = folder / f"{stem(result)}.json", 1
    while place.exists():
        if place.read_bytes() == data:
            raise DataError(f"{path}: is there already, as {place}")
        number += 1
        place = folder / f"{stem(result)}-{number}.json"
    write_atomically(place, data)
    return place


def stem(result: Result) -> str:
    """BOARD-DATE, in small letters, digits and hyphens."""
    board = re.sub(r"[^a-z0-9]+", "-", (result.machine.board or result.machine.cpu).lower()).strip("-")[:60].rstrip("-")
    return f"{board or 'board'}-{result.started[:10]}"


def short_command(command: str) -> str:
    """The command with the last part only of every path."""
    try:
        words = shlex.split(command)
    except ValueError:  # not what deblurkit wrote: a quote that is not closed
        return plausible.without_paths(command)
    return shlex.join(_short_word(word) for word in words)


def local_names() -> list[str]:
    """This machine's name and its user's: what no result shall hold. Names that thousands of machines have are left out."""
    found = {socket.gethostname().partition(".")[0], Path.home().name}
    with suppress(OSError, KeyError):  # a container's user has no entry
        found.add(getpass.getuser())
    return sorted(name for name in found if len(name) > 2 and name.lower() not in _COMMON_NAMES)


def best(rows: Sequence[Row], fps: float | None = None) -> Row | None:
    """The network that gains most among those whose p95 fits the rate, the faster within 0.05 dB; without a rate the fastest."""
    able = [row for row in rows if row.kind == NETWORK and row.status == OK and row.latency and row.gain_db is not None]
    if fps is None:
        return min(able, key=p50_ms, default=None)
    able = [row for row in able if row.latency and row.latency.p95_ms.value <= 1000 / fps]
    most_db = max((row.gain_db or 0 for row in able), default=0)
    return min((row for row in able if (row.gain_db or 0) >= most_db - _SAME_DB), key=p50_ms, default=None)


def p50_ms(row: Row) -> float:
    """Of a row that was timed."""
    assert row.latency is not None
    return row.latency.p50_ms.value


def summary(result: Result) -> dict[str, Any]:
    """What the table says of a result."""
    in_time, fastest = best(result.rows, FPS), best(result.rows)
    machine = result.machine
    return {
        "board": machine.board or machine.cpu,
        "cpu": f"{machine.cpu}, {machine.cores} core{'' if machine.cores == 1 else 's'}",
        "kind": machine.kind,
        "date": result.started[:10],
        "size": "x".join(map(str, result.size_wh)),
        "best": said(in_time) if in_time else "none",
        "fastest": said(fastest) if fastest else "none",
    }


def said(row: Row) -> str:
    """ "small int8.tflite, litert, 1 thread: 29.6 ms, +1.60 dB" """
    return f"{row.label}: {p50_ms(row):.1f} ms, {row.gain_db or 0:+.2f} dB"


def as_table(results: dict[str, Result]) -> str:
    """A line for each board."""
    if not results:
        return "no results yet"
    return table(_HEADER, [[*summary(result).values(), name] for name, result in results.items()])


def _short_word(word: str) -> str:
    option, equals, value = word.partition("=") if word.startswith("-") else ("", "", word)
    parts = [part for part in re.split(r"[/\\]", value) if part]
    if len(parts) < 2 and not value.startswith(("/", "~")):
        return word
    return option + equals + (plausible.without_paths(value) if value.startswith(("/", "~")) else parts[-1])


def _finite(number: str) -> float:
    if not math.isfinite(value := float(number)):
        raise ValueError(f"{number[:20]} is too large")
    return value


def _refused(constant: str) -> float:
    raise ValueError(f"{constant} is no number of JSON")
