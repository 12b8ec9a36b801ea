"""The command `deblurkit bench results`: the folder of contributed results, each checked before it is accepted."""

import getpass
import json
import logging
import re
import shlex
import socket
from contextlib import suppress
from pathlib import Path

from benchmarks.boards import plausible
from benchmarks.boards.summary import as_table, summarise
from benchmarks.records import Result, as_json, read
from device.errors import DataError, RuntimeMissing, UsageError
from device.system.console import new_parser, print_json, start_logging
from device.system.files import write_atomically

MAX_MIB = 4
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
_EXAMPLE = "deblurkit bench results --add out/bench/bench.json\n  deblurkit bench results --report out/boards.html"
log = logging.getLogger(__name__)


def main(argv: list[str]) -> int:
    """Check the folder, add a result to it, or make a page of it. Raises DataError, which lists every problem."""
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
        log.info("%s: read it through, then contribute it (%s)", path, options.folder / "README.md")
    results, problems = collect(options.folder)
    if options.json:
        print_json({"results": {name: summarise(result) for name, result in results.items()}, "problems": problems})
    else:
        print(as_table(results))
    if problems:
        raise DataError("\n  ".join([f"{options.folder}: {len(problems)} problems", *problems]))
    if options.report:
        _write_page(options.report, results)
    return 0


def collect(folder: Path) -> tuple[dict[str, Result], list[str]]:
    """Return (acceptable results by file name, problems of the others). Raises DataError if there is no such folder."""
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder; expected one of contributed results (BOARD-DATE.json)")
    accepted: dict[str, Result] = {}
    problems: list[str] = []
    seen: dict[tuple[str, str], str] = {}
    for path in sorted(folder.iterdir(), key=lambda path: (path.stem, path.suffix)):  # the first of a day before its -2
        if path.name == "README.md" or path.name.startswith("."):
            continue
        if path.suffix != ".json" or path.is_symlink() or not path.is_file():
            problems.append(f"{path.name}: expected only README.md and BOARD-DATE.json files")
            continue
        try:
            result = read(path, MAX_MIB)
        except DataError as error:
            problems.append(str(error))
            continue
        found = plausible.problems(result)
        if not re.fullmatch(re.escape(stem(result)) + r"(-\d+)?\.json", path.name):
            found.append(f"expected the name {stem(result)}.json")
        identity = (result.machine.hardware_hash, result.started)
        if identity in seen:
            found.append(f"the same result as {seen[identity]}")
        seen.setdefault(identity, path.name)
        problems += [f"{path.name}: {problem}" for problem in found]
        if not found:
            accepted[path.name] = result
    return accepted, problems


def add(path: Path, folder: Path) -> Path:
    """Check a result and copy it into `folder` without pictures and paths; return the new path. Raises DataError."""
    original = read(path)
    result = plausible.reduced(original, short_command(original.command))
    problems = plausible.problems(result, local_names())
    if problems:
        raise DataError("\n  ".join([f"{path}: not accepted", *problems]))
    data = json.dumps(as_json(result), indent=1).encode() + b"\n"
    if len(data) > MAX_MIB * 2**20:
        raise DataError(f"{path}: {len(data) / 2**20:.1f} MiB without its pictures, {MAX_MIB} are allowed; measure fewer rows")
    target, number = folder / f"{stem(result)}.json", 1
    while target.exists():
        if target.read_bytes() == data:
            raise DataError(f"{path}: already there as {target}")
        number += 1
        target = folder / f"{stem(result)}-{number}.json"
    write_atomically(target, data)
    return target


def stem(result: Result) -> str:
    """BOARD-DATE in lower-case letters, digits and hyphens."""
    board = re.sub(r"[^a-z0-9]+", "-", (result.machine.board or result.machine.cpu).lower()).strip("-")[:60].rstrip("-")
    return f"{board or 'board'}-{result.started[:10]}"


def short_command(command: str) -> str:
    """Replace every path in the command by its last part."""
    try:
        words = shlex.split(command)
    except ValueError:  # not written by deblurkit: an unclosed quote
        return plausible.without_paths(command)
    return shlex.join(_short_word(word) for word in words)


def local_names() -> list[str]:
    """Names that no result may contain: of this machine and its user. Names that thousands of machines have are allowed."""
    names = {socket.gethostname().partition(".")[0], Path.home().name}
    with suppress(OSError, KeyError):  # the user of a container has no entry
        names.add(getpass.getuser())
    return sorted(name for name in names if len(name) > 2 and name.lower() not in _COMMON_NAMES)


def _write_page(path: Path, results: dict[str, Result]) -> None:
    try:
        from benchmarks.boards.page import page
    except ModuleNotFoundError as error:
        raise RuntimeMissing(f"--report needs {error.name}, which is not installed; pip install 'deblurkit[bench]'") from error
    write_atomically(path, page(results).encode())
    log.info("%s: %d boards", path, len(results))


def _short_word(word: str) -> str:
    option, equals, value = word.partition("=") if word.startswith("-") else ("", "", word)
    parts = [part for part in re.split(r"[/\\]", value) if part]
    if len(parts) < 2 and not value.startswith(("/", "~")):
        return word
    return option + equals + (plausible.without_paths(value) if value.startswith(("/", "~")) else parts[-1])
