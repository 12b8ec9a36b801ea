"""One connection to a board, with the system's OpenSSH: ~/.ssh/config applies here too."""

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
_LOST = 255  # ssh's exit status when the connection is lost
_GREETING = "deblurkit-is-connected"
log = logging.getLogger(__name__)

File = tuple[str, Path]
"""Name below the release's folder, and its path on this machine."""


class DeployRefused(RunError):
    """The board refused the request, or went back to what ran before; `facts` has the other fields of its answer."""

    def __init__(self, message: str, facts: dict[str, Any]) -> None:
        super().__init__(message)
        self.facts = facts


class Connection:
    """A connection to a board. All commands share it, so ssh asks for a password once. A context manager."""

    def __init__(self, target: str, port: int | None, options: list[str]) -> None:
        if target.startswith("-"):
            raise UsageError(f"{target}: not an address; expected USER@HOST")
        if shutil.which("ssh") is None:
            raise RunError("this machine has no ssh; install OpenSSH's client: sudo apt install openssh-client")
        self._target = target
        self._folder = tempfile.mkdtemp(prefix="deblurkit-")  # short: the length of a socket's name is limited
        keep_alive = ("ConnectTimeout=20", "ServerAliveInterval=10", "ServerAliveCountMax=3", "ControlPersist=no")
        all_options = [word for option in (*options, *keep_alive) for word in ("-o", option)]
        self._ssh = ["ssh", "-T", *all_options, *(["-p", str(port)] if port else []), "-S", f"{self._folder}/s"]

    def __enter__(self) -> "Connection":
        # The connection stays open while this `cat` runs, and `cat` ends with its input, however this process ends.
        self._master = subprocess.Popen(
            [*self._ssh, "-M", "--", self._target, "cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self._master.stdin is not None
        assert self._master.stdout is not None
        try:
            self._master.stdin.write(f"{_GREETING}\n")
            self._master.stdin.flush()
        except BrokenPipeError:
            pass
        if not any(line.strip() == _GREETING for line in iter(self._master.stdout.readline, "")):
            self.__exit__()
            raise RunError(f"{self._target}: ssh cannot connect (its message is above); try by hand: ssh {self._target}")
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self._master.communicate(timeout=10)
        except (subprocess.TimeoutExpired, BrokenPipeError):
            self._master.kill()
            self._master.wait()
        shutil.rmtree(self._folder, ignore_errors=True)

    def run_script(self, script: str) -> str:
        """Run a shell script on the board; returns its output. Raises RunError if the connection is lost."""
        done = subprocess.run(
            self._command("sh -s"), input=script, stdout=subprocess.PIPE, text=True, errors="replace", check=False
        )
        if done.returncode == _LOST:
            raise RunError(f"{self._target}: the connection was lost; nothing was changed on the board, try again")
        return done.stdout

    def request(
        self, request: dict[str, Any], *, root: bool, files: list[File] | None = None, sent: Callable[[int], None] | None = None
    ) -> dict[str, Any]:
        """Send a request and its files; returns the board's answer. Calls `sent` with the size of every chunk that was sent.

        Raises DeployRefused or BundleError with the board's reason, RunError if the connection is lost before the answer.
        """
        files = files or []
        sizes = [(name, path.stat().st_size) for name, path in files]
        head = f"{json.dumps(_program())}\n{json.dumps({**request, 'files': sizes})}\n".encode()
        start = "/usr/bin/python3 -I -c 'import json, sys; exec(json.loads(sys.stdin.buffer.readline()))'"
        done, switching = threading.Event(), False
        with subprocess.Popen(
            self._command(start if root else f"sudo -n {start}"), stdin=subprocess.PIPE, stdout=subprocess.PIPE
        ) as child:
            assert child.stdin is not None
            assert child.stdout is not None
            sender = threading.Thread(target=_send, args=(child.stdin, head, files, done, sent), name="sender", daemon=True)
            sender.start()
            try:
                for line in child.stdout:
                    record = _parse(line)
                    switching |= "switching" in record
                    if "result" in record:
                        return dict(record["result"])
                    if "refused" in record:
                        raise _error(record)
                    log.info("%s: %s", self._target, record["message"])
            finally:
                done.set()
                sender.join()
        state = "the board finishes the switch by itself" if switching else "what ran before still runs"
        raise RunError(f"{self._target}: the connection was lost; {state}. Deploy again to see which release runs")

    def _command(self, command: str) -> list[str]:
        return [*self._ssh, "-o", "ControlMaster=no", "--", self._target, command]


def _send(
    pipe: IO[bytes], head: bytes, files: list[File], done: threading.Event, sent: Callable[[int], None] | None = None
) -> None:
    """Send the head and the files, then one byte a second until `done`: the heartbeat that the board waits for."""
    try:
        pipe.write(head)
        for _, path in files:
            with open(path, "rb") as file:
                while chunk := file.read(1 << 16):
                    pipe.write(chunk)
                    if sent is not None:
                        sent(len(chunk))
        pipe.flush()
        while not done.wait(_HEARTBEAT_S):
            pipe.write(b".")
            pipe.flush()
    except BrokenPipeError:  # the board ended the request; its last line has the reason
        pass
    finally:
        with suppress(BrokenPipeError):  # here, because raised later it would hide that line
            pipe.close()


def _parse(line: bytes) -> dict[str, Any]:
    """The record in a line from the board. A line of another program, such as sudo, becomes a message."""
    text = line.decode(errors="replace").strip()
    try:
        record = json.loads(text)
    except ValueError:
        record = None
    return record if isinstance(record, dict) else {"message": text}


def _error(record: dict[str, Any]) -> DeblurkitError:
    if record["code"] == BundleError.exit_code:
        return BundleError(record["refused"])
    return DeployRefused(record["refused"], {key: value for key, value in record.items() if key not in ("refused", "code")})


def _program() -> str:
    """The program for the board: the files of `device.deploy.board` as modules of the same names."""
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
