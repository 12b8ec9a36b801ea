"""Run the rigs, two at a time but the virtual board alone: one line for each, then the counts of all their tests.

    python scripts/rigs.py short [RIG...]    what .ci/run and `make test-all` run; docs/boards.md says what each form has
    python scripts/rigs.py long [RIG...]     everything that the rigs have

RIG is a name below or its beginning (`service` is both systems). The output of each goes to out/rigs/RIG.log. A rig that cannot
run here ends with 77 (no root, no package, no network) or 78 (nothing can change it on this machine, for example its kernel): it
is skipped, with its reason. With --strict 77 is a failure. The last line has the form of pytest's; a rig that fails outside its
tests counts as one failure, a rig that is skipped as one skip. Ends with 1 if anything failed.
"""

import argparse
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from threading import RLock

ROOT = Path(__file__).resolve().parents[1]
LOGS = ROOT / "out" / "rigs"
CANNOT, NEVER = 77, 78
SHOWN_LINES = 60
RIGS = {
    "board": ("scripts/board/rig.sh {form}", ("short", "long")),
    "board-deploy": ("scripts/board/rig.sh deploy", ("long",)),
    "service-trixie": ("scripts/service/rig.sh trixie {form}", ("short", "long")),
    "aarch64-trixie": ("scripts/aarch64/rig.sh {form} trixie", ("short", "long")),
    "aarch64-bookworm": ("scripts/aarch64/rig.sh {form} bookworm", ("short", "long")),
    "service-bookworm": ("scripts/service/rig.sh bookworm {form}", ("short", "long")),
    "picamera": ("scripts/picamera/rig.sh all", ("short", "long")),
    "budget": ("scripts/aarch64/rig.sh {form} budget", ("short", "long")),
    "vivid": ("scripts/vivid/rig.sh test", ("short", "long")),
    "legacy": ("scripts/legacy/rig.sh", ("short", "long")),
}
"""Name -> command and the forms that run it, the longest first, so that two at a time end together."""
ALONE = ("board", "board-deploy")
"""They run first and alone: the emulated machine has two processors, and its tests wait for real seconds."""
_SUMMARY = re.compile(r"^(?:=+ )?((?:\d+ [a-z]+(?:, )?)+) in [\d.:]+s\b", re.MULTILINE)
_COLOUR = re.compile(r"\x1b\[[\d;?]*[A-Za-z]")  # a serial console looks like a terminal to pytest
_COUNTED = ("failed", "passed", "skipped", "xfailed", "xpassed", "error")


@dataclass(frozen=True)
class Outcome:
    """How a rig ended."""

    status: int
    log: str
    wall_s: float = 0.0
    cpu_s: float = 0.0
    tests: Counter[str] = field(default_factory=Counter)

    @property
    def reason(self) -> str:
        """Why it could not run: the last line that it printed."""
        return next((line for line in reversed(self.log.splitlines()) if line.strip()), "no reason given")


def counts(log: str) -> Counter[str]:
    """The numbers of every summary line of pytest in a log, by their words: passed, failed, skipped, error."""
    found: Counter[str] = Counter()
    for line in _SUMMARY.findall(_COLOUR.sub("", log).replace("\r", "")):
        for number, word in re.findall(r"(\d+) ([a-z]+)", line):
            found[word.removesuffix("s") if word == "errors" else word] += int(number)
    return Counter({word: found[word] for word in _COUNTED if found[word]})


def in_words(tests: Counter[str]) -> str:
    """`1 failed, 12 passed`, as pytest writes it."""
    return ", ".join(f"{tests[word]} {word}" for word in _COUNTED if tests[word]) or "no tests ran"


def skipped(outcome: Outcome, strict: bool) -> bool:
    """Whether a rig could not run here and that is accepted."""
    return outcome.status == NEVER or (outcome.status == CANNOT and not strict)


def total(outcomes: Sequence[Outcome], strict: bool) -> Counter[str]:
    """The counts of all rigs; a rig that failed beside its tests is one failure, a skipped one is one skip."""
    result: Counter[str] = Counter()
    for outcome in outcomes:
        result += outcome.tests
        if skipped(outcome, strict):
            result["skipped"] += 1
        elif outcome.status != 0 and not outcome.tests["failed"] + outcome.tests["error"]:
            result["failed"] += 1
    return result


def minutes(seconds: float) -> str:
    """`3 min 07 s`."""
    return f"{int(seconds) // 60:2d} min {int(seconds) % 60:02d} s"


def run(command: str, log: Path) -> Outcome:
    """Run a rig to its end, with its output in `log`. Its processes end with this one."""
    began_s = time.monotonic()
    with log.open("wb") as file:
        with _lock:
            if _stopped:
                return Outcome(_stopped[0], "not started: this run was stopped")
            child = subprocess.Popen(command.split(), cwd=ROOT, stdin=subprocess.DEVNULL, stdout=file, stderr=subprocess.STDOUT,
                                     start_new_session=True)  # fmt: skip
            _running.add(child.pid)
        _, ended, used = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(ended)
        with _lock:
            _running.discard(child.pid)
    text = log.read_text(errors="replace").replace("\r", "")
    return Outcome(child.returncode, text, time.monotonic() - began_s, used.ru_utime + used.ru_stime, counts(text))


_running: set[int] = set()
_stopped: list[int] = []
_lock = RLock()  # the signal may come while this thread holds it


def _stop(number: int, _: object) -> None:
    """End what runs, and start nothing more."""
    with _lock:
        _stopped.append(128 + number)
        for pid in _running:
            os.killpg(pid, signal.SIGTERM)


def report(name: str, outcome: Outcome, strict: bool) -> None:
    """Print one line; for a failure also the end of its log."""
    took = f"{name:17} {minutes(outcome.wall_s)} ({minutes(outcome.cpu_s).strip()} of CPU)"
    if skipped(outcome, strict):
        print(f"{took}  SKIPPED: {outcome.reason}", flush=True)
        return
    failed = "" if outcome.status == 0 else f"FAILED with status {outcome.status}: "
    print(f"{took}  {failed}{in_words(outcome.tests)}", flush=True)
    if failed:
        print("\n".join(f"    {line}" for line in outcome.log.splitlines()[-SHOWN_LINES:]), flush=True)


def chosen(form: str, names: Sequence[str]) -> dict[str, str]:
    """Name -> command of the rigs asked for, all without names. Raises SystemExit with 2 for a name that no rig has."""
    rigs = {name: command.format(form=form) for name, (command, forms) in RIGS.items() if form in forms}
    for asked in names:
        if not any(name == asked or name.startswith(f"{asked}-") for name in rigs):
            print(f"no rig {asked!r} in the {form} form; expected one of {', '.join(rigs)}", file=sys.stderr)
            raise SystemExit(2)
    matching = (name for name in rigs for asked in names if name == asked or name.startswith(f"{asked}-"))
    return {name: rigs[name] for name in dict.fromkeys(matching)} if names else rigs


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("form", choices=("short", "long"))
    parser.add_argument("rig", nargs="*")
    parser.add_argument("--strict", action="store_true", help="a rig that ends with 77 fails")
    parser.add_argument("--jobs", type=int, default=2, help="rigs at a time (default: 2)")
    parser.add_argument("--add", type=Path, metavar="LOG", help="a log of pytest whose counts belong to the last line")
    options = parser.parse_intermixed_args(arguments)
    rigs = chosen(options.form, options.rig)
    LOGS.mkdir(parents=True, exist_ok=True)
    began_s = time.monotonic()
    signal.signal(signal.SIGTERM, _stop)
    signal.signal(signal.SIGINT, _stop)
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(options.jobs) as pool:
        os.environ.setdefault("PYTHON", str(ROOT / ".venv" / "bin" / "python"))
        built = run(f"scripts/kit_wheel.sh {folder}", LOGS / "wheel.log")  # once, for all of them
        if built.status != 0:
            print(built.log, end="")
            return 1
        os.environ["KIT_WHEEL"] = built.reason

        def one(name: str) -> Outcome:
            outcome = run(rigs[name], LOGS / f"{name}.log")
            report(name, outcome, options.strict)
            return outcome

        alone = [one(name) for name in rigs if name in ALONE]
        outcomes = [*alone, *pool.map(one, (name for name in rigs if name not in ALONE))]
    tests = total(outcomes, options.strict)
    if options.add is not None:
        tests += counts(options.add.read_text(errors="replace"))
    print(f"{in_words(tests)} in {time.monotonic() - began_s:.1f}s")
    return 1 if tests["failed"] + tests["error"] else 0


if __name__ == "__main__":
    sys.exit(main())
