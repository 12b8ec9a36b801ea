"""Run the whole loop of `deblurkit run` in a process of its own, on a generated camera, and return what it reports."""

import json
import socket
import tempfile
import threading
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

from device.errors import RunError
from device.system.python_process import run_python

_JOIN_S = 60
_TIMEOUT_S = 600


def run_loop(
    bundle: str, size: str, threads: int, seconds: float, fps: int, sinks: list[str], *, viewer: bool, flags: Sequence[str] = ()
) -> dict[str, Any]:
    """Run `deblurkit run` on the demo source and return its --json object; with `viewer`, a client reads the page's stream.

    `flags` are added to the command. Raises RunError if the run fails.
    """
    with tempfile.TemporaryDirectory(prefix="deblurkit-live-") as folder:
        port = _free_port()
        config = Path(folder, "run.toml")
        config.write_text(f'[camera]\nsize = "{size}"\nfps = {fps}\n[web]\nport = {port}\n')
        sink_flags = [f"--sink={sink}{folder if sink == 'record:' else ''}" for sink in sinks]
        command = ["--source=demo", f"--bundle={bundle}", f"--threads={threads}", f"--seconds={seconds}", f"--config={config}"]
        with _viewer(port) if viewer else nullcontext():
            return run_deblurkit([*command, *sink_flags, *flags])


def run_deblurkit(arguments: list[str]) -> dict[str, Any]:
    """Run `deblurkit run --json` with these arguments and return its JSON object. Raises RunError if the run fails."""
    done = run_python("-m", "deblurkit", "run", "--json", "--quiet", *arguments, timeout_s=_TIMEOUT_S)
    if done.returncode:
        raise RunError(f"deblurkit run {' '.join(arguments)}: exit code {done.returncode}: {done.stderr.strip()[-500:]}")
    report: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return report


@contextmanager
def _viewer(port: int) -> Iterator[None]:
    """A client that reads the page's stream as fast as it comes."""
    stop = threading.Event()

    def watch() -> None:
        while not stop.is_set():
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/stream?view=both", timeout=5) as stream:
                    while not stop.is_set() and stream.read1(1 << 20):
                        pass
            except OSError:
                stop.wait(0.05)

    thread = threading.Thread(target=watch, name="viewer", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(_JOIN_S)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
