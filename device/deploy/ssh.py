"""One connection to a board, by the system's OpenSSH: whatever is in ~/.ssh/config holds here too."""

import json
import logging
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Callable
from contextlib import suppress
from importlib import resources
from pathlib import Path
from typing import IO, Any

from device.deploy import board
from device.errors import BundleError, DeblurkitError, RunError, UsageError

_HEARTBEAT_S = 1.0
_LOST = 255  # what ssh ends with when the connection is
_GREETING = "deblurkit-is-through"
log = logging.getLogger(__name__)

File = tuple[str, Path]
"""Name below the release's folder, and where it lies here."""


class Refusal(RunError):
    """The board has said no, or has gone back to what ran before; `facts` has what it told beside."""

    def __init__(self, message: str, facts: dict[str, Any]) -> None:
        super().__init__(message)
        self.facts = facts


class Board:
    """A board that is reached: its commands share one connection, so that a password is asked for once."""

    def __init__(self, target: str, port: int | None, options: list[str]) -> None:
        if target.startswith("-"):
            raise UsageError(f"{target}: no address; expected USER@HOST")
        if shutil.which("ssh") is None:
            raise RunError("there is no ssh here; install OpenSSH's client: sudo apt install openssh-client")
        self._target = target
        self._folder = tempfile.mkdtemp(prefix="deblurkit-")  # short: the name of a socket is
        given = [word for option in options for word in ("-o", option)]
        alive = [
            "-o",
            "ConnectTimeout=20",
            "-o",
            "ServerAliveInterval=10",
            "-o",
            "ServerAliveCountMax=3",
            "-o",
            "ControlPersist=no",
        ]
        self._ssh = ["ssh", "-T", *given, *alive, *(["-p", str(port)] if port else []), "-S", f"{self._folder}/s"]

    def __enter__(self) -> "Board":
        # The connection lasts as long as this `cat`, which ends with its input, however this process ends.
        self._first = subprocess.Popen(
            [*self._ssh, "-M", "--", self._target, "cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self._first.stdin is not None
        assert self._first.stdout is not None
        try:
            self._first.stdin.write(f"{_GREETING}\n")
            self._first.stdin.flush()
        except BrokenPipeError:
            pass
        if not any(line.strip() == _GREETING for line in iter(self._first.stdout.readline, "")):
            self.__exit__()
            raise RunError(f"{self._target}: ssh does not get there (its reason stands above); try by hand: ssh {self._target}")
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self._first.communicate(timeout=10)
        except (subprocess.TimeoutExpired, BrokenPipeError):
            self._first.kill()
            self._first.wait()
        shutil.rmtree(self._folder, ignore_errors=True)

    def shell(self, script: str) -> str:
        """What a script says there. Raises RunError where the connection ends."""
        done = subprocess.run(self._line("sh -s"), input=script, stdout=subprocess.PIPE, text=True, errors="replace", check=False)
        if done.returncode == _LOST:
            raise RunError(f"{self._target}: the connection was lost; nothing was changed there, try again")
        return done.stdout

    def ask(self, request: dict[str, Any], root: bool, files: list[File], sent: Callable[[int], None]) -> dict[str, Any]:
        """Let the board do what is asked; its answer. `sent` is told how many bytes have gone.

        Raises Refusal or BundleError with the board's reason, RunError where the connection ends before there is an answer.
        """
        sizes = [(name, path.stat().st_size) for name, path in files]
        head = f"{json.dumps(_program())}\n{json.dumps({**request, 'files': sizes})}\n".encode()
        begin = "/usr/bin/python3 -I -c 'import json, sys; exec(json.loads(sys.stdin.buffer.readline()))'"
        over, switching = threading.Event(), False
        with subprocess.Popen(
            self._line(begin if root else f"sudo -n {begin}"), stdin=subprocess.PIPE, stdout=subprocess.PIPE
        ) as child:
            assert child.stdin is not None
            assert child.stdout is not None
            feeder = threading.Thread(target=_feed, args=(child.stdin, head, files, over, sent), name="feeder", daemon=True)
            feeder.start()
            try:
                for line in child.stdout:
                    record = _record(line)
                    switching |= "switching" in record
                    if "result" in record:
                        return dict(record["result"])
                    if "refused" in record:
                        raise _refusal(record)
                    log.info("%s: %s", self._target, record["said"])
            finally:
                over.set()
                feeder.join()
        then = "it goes on by itself to one release or the other" if switching else "what ran before still runs"
        raise RunError(f"{self._target}: the connection was lost; {then}. Deploy again: it says how it is")

    def _line(self, command: str) -> list[str]:
        return [*self._ssh, "-o", "ControlMaster=no", "--", self._target, command]


def _feed(pipe: IO[bytes], head: bytes, files: list[File], over: threading.Event, sent: Callable[[int], None]) -> None:
    """Send all, then a byte a second for as long as somebody waits here."""
    try:
        pipe.write(head)
        for _, path in files:
            with open(path, "rb") as file:
                while piece := file.read(1 << 16):
                    pipe.write(piece)
                    sent(len(piece))
        pipe.flush()
        while not over.wait(_HEARTBEAT_S):
            pipe.write(b".")
            pipe.flush()
    except BrokenPipeError:  # the board has had enough; its last line says why
        pass
    finally:
        with suppress(BrokenPipeError):  # here, or it would hide that line when the process is left
            pipe.close()


def _record(line: bytes) -> dict[str, Any]:
    """A line of the board's; what is not its program's, such as a word of sudo's, is said as it is."""
    text = line.decode(errors="replace").strip()
    try:
        record = json.loads(text)
    except ValueError:
        record = None
    return record if isinstance(record, dict) else {"said": text}


def _refusal(record: dict[str, Any]) -> DeblurkitError:
    if record["code"] == BundleError.exit_code:
        return BundleError(record["refused"])
    return Refusal(record["refused"], {key: value for key, value in record.items() if key not in ("refused", "code")})


def _program() -> str:
    """What the board runs: the files of `device.deploy.board` as modules of the same names."""
    package = board.__name__
    sources = [(name, resources.files(board).joinpath(f"{name}.py").read_text()) for name in board.MODULES]
    return f"""
import os, sys, types
package = sys.modules[{package!r}] = types.ModuleType({package!r})
package.__path__ = []
for name, text in {sources!r}:
    module = sys.modules[{package!r} + "." + name] = types.ModuleType({package!r} + "." + name)
    exec(compile(text, name + ".py", "exec"), module.__dict__)
    setattr(package, name, module)
code = package.main.main(sys.stdin.buffer)
os._exit(code)  # a thread still reads stdin, and Python would wait for it
"""
