"""How the rigs are called, and what scripts/rigs.py makes of their ends. Nothing is emulated here."""

import importlib.util
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SCRIPTS = ROOT / "scripts"
USAGE = {
    "aarch64": "short|long [bookworm|trixie|budget...]",
    "board": "short|long|16k|deploy",
    "picamera": "all|virtual|imports-bookworm|imports-trixie",
    "service": "bookworm|trixie short|long",
    "vivid": "test|run COMMAND...",
}
NEED_ROOT = {"aarch64": ["short"], "board": ["short"], "picamera": ["virtual"], "service": ["trixie", "short"]}

_spec = importlib.util.spec_from_file_location("rigs", SCRIPTS / "rigs.py")
assert _spec is not None
assert _spec.loader is not None
rigs = importlib.util.module_from_spec(_spec)
sys.modules["rigs"] = rigs
_spec.loader.exec_module(rigs)


@pytest.mark.parametrize("name", USAGE)
def test_a_rig_says_how_it_is_used(name: str) -> None:
    done = subprocess.run([SCRIPTS / name / "rig.sh", "nonsense"], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert USAGE[name] in done.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="drops root to see what a rig says without it")
@pytest.mark.parametrize("name", NEED_ROOT)
def test_without_root_a_rig_says_so_and_does_nothing(name: str) -> None:
    with (SCRIPTS / name / "rig.sh").open() as script:  # opened here: the user nobody may not be allowed into this folder
        done = subprocess.run(
            ["bash", "-s", *NEED_ROOT[name]], stdin=script, cwd="/", env={**os.environ, "HOME": "/nonexistent"},
            user=65534, group=65534, extra_groups=[], capture_output=True, text=True, check=False,
        )  # fmt: skip
    assert done.returncode == rigs.CANNOT, done.stderr
    assert "needs root" in done.stderr


def test_every_command_of_the_runner_is_there() -> None:
    for command, _ in rigs.RIGS.values():
        assert os.access(ROOT / command.split()[0], os.X_OK), command


def test_the_counts_of_several_summaries_are_added() -> None:
    log = "..\n3 passed, 1 skipped in 2.10s\n=== 1 failed, 4 passed, 2 errors in 61.00s (0:01:01) ===\n12 passed the gate\n"
    assert rigs.counts(log) == Counter(passed=7, skipped=1, failed=1, error=2)
    coloured = "\x1b[32m\x1b[32m\x1b[1m7 passed\x1b[0m\x1b[32m in 110.39s (0:01:50)\x1b[0m\x1b[0m\r\n"
    assert rigs.counts(coloured) == Counter(passed=7)


@pytest.fixture
def scripted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Rigs that are three lines of shell, in a checkout whose wheel is built."""
    monkeypatch.setattr(rigs, "ROOT", tmp_path)
    monkeypatch.setattr(rigs, "LOGS", tmp_path / "out" / "rigs")
    monkeypatch.delenv("KIT_WHEEL", raising=False)
    monkeypatch.setenv("PYTHON", sys.executable)
    (tmp_path / "scripts").mkdir()
    for name, text in {
        "kit_wheel.sh": "echo x.whl",
        "good": 'echo "wheel $KIT_WHEEL"; echo "2 passed, 1 skipped in 1.00s"',
        "bad": 'echo "1 failed, 1 passed in 1.00s"; exit 1',
        "broken": 'echo "3 passed in 1.00s"; echo "cannot clean up" >&2; exit 3',
        "no-root": 'echo "needs root" >&2; exit 77',
        "no-kernel": 'echo "this kernel cannot" >&2; exit 78',
    }.items():
        (tmp_path / "scripts" / name).write_text(f"#!/bin/sh\n{text}\n")
        (tmp_path / "scripts" / name).chmod(0o755)
    return tmp_path


def ended(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], names: list[str], *words: str
) -> tuple[int, list[str]]:
    """The exit code of a run of these rigs, and the lines that it printed."""
    monkeypatch.setattr(rigs, "RIGS", {name: (f"scripts/{name}", ("short",)) for name in names})
    monkeypatch.setattr(rigs.signal, "signal", lambda *_: None)
    code = rigs.main(["short", *words])
    return code, capsys.readouterr().out.splitlines()


def test_a_run_ends_with_one_line_for_each_rig_and_the_counts_of_all(
    scripted: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (scripted / "test.log").write_text("40 passed, 2 skipped in 3.00s\n")
    code, lines = ended(monkeypatch, capsys, ["good", "no-kernel"], "--add", str(scripted / "test.log"))
    assert code == 0
    assert len(lines) == 3
    assert next(line for line in lines if line.startswith("good ")).endswith("2 passed, 1 skipped")
    assert next(line for line in lines if line.startswith("no-kernel ")).endswith("SKIPPED: this kernel cannot")
    assert lines[-1].startswith("42 passed, 4 skipped in ")
    assert "wheel x.whl" in (scripted / "out/rigs/good.log").read_text()


@pytest.mark.parametrize(("name", "last"), [("bad", "1 failed, 3 passed, 1 skipped in "), ("broken", "1 failed, 5 passed, 1 ")])
def test_a_rig_that_fails_fails_the_run_and_shows_its_log(
    scripted: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str, last: str
) -> None:
    code, lines = ended(monkeypatch, capsys, ["good", name])
    assert code == 1
    assert lines[-1].startswith(last)
    assert any(line.startswith(f"{name} ") and "FAILED with status" in line for line in lines)
    assert any("passed in 1.00s" in line for line in lines[:-1])


def test_a_rig_that_this_machine_could_run_fails_a_strict_run_only(
    scripted: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    code, lines = ended(monkeypatch, capsys, ["no-root", "no-kernel"])
    assert (code, lines[-1][:10]) == (0, "2 skipped ")
    code, lines = ended(monkeypatch, capsys, ["no-root", "no-kernel"], "--strict")
    assert (code, lines[-1][:20]) == (1, "1 failed, 1 skipped ")


def test_a_rig_is_chosen_by_its_name_or_the_beginning_of_it() -> None:
    assert set(rigs.chosen("short", ["service", "board"])) == {"service-trixie", "service-bookworm", "board"}
    assert "board-deploy" in rigs.chosen("long", ["board"])
    with pytest.raises(SystemExit) as stop:
        rigs.chosen("short", ["nothing"])
    assert stop.value.code == 2
