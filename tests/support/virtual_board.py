"""The virtual board of `scripts/board`: power on and off, its page, commands over ssh, and power cuts."""

import http.client
import json
import os
import re
import shlex
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

BOOT = Path(__file__).resolve().parents[2] / "scripts" / "board" / "boot.sh"
KIT = "/home/pi/deblurkit"
PROGRAM = f"{KIT}/.venv/bin/deblurkit"
PACKAGES = f"{KIT}/.venv/lib/python3.13/site-packages"
STATE = "/var/lib/deblurkit"
PATIENCE_S = 600.0  # several times the longest wait on two cores: other machines are slower or busy
_SAMPLE = re.compile(r"^deblurkit_(\w+)(?:\{([^}]*)\})? (\S+)$", re.MULTILINE)


@dataclass(frozen=True)
class Answer:
    """An answer of the page."""

    status: int
    headers: dict[str, str]
    body: bytes


class VirtualBoard:
    """One board: a kernel and a disk. For one thread; call `cut_power` at the end."""

    def __init__(self, rig: Path, kernel: str, name: str) -> None:
        """`rig` is the folder that `rig.sh` fills. The disk gets this name there, and is in the state before the first start."""
        self._rig, self._kernel, self._disk = rig, rig / f"kernel-{kernel}", rig / f"{name}.qcow2"
        under = ["-F", "raw", "-b", str((rig / "disk" / "board.ext4").resolve()), str(self._disk)]
        subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", *under], check=True)
        self.console = self._disk.with_suffix(".console")
        """The output of the kernel and systemd, of every start."""
        self.token = ""
        """Of the page. `until_restoring` reads it from the board."""
        self._process: subprocess.Popen[bytes] | None = None
        self._ssh: subprocess.Popen[bytes] | None = None
        self._page_port = self._ssh_port = 0

    def power_on(self) -> None:
        """Start the emulator; returns at once."""
        self._page_port, self._ssh_port = _free_ports(2)
        ports = f"hostfwd=tcp:127.0.0.1:{self._page_port}-:8080,hostfwd=tcp:127.0.0.1:{self._ssh_port}-:22"
        options = [
            "-netdev",
            f"user,id=net,{ports}",
            "-device",
            "virtio-net-pci,netdev=net,romfile=",
            "-serial",
            "chardev:console",
        ]
        console = ["-chardev", f"file,id=console,path={self.console},append=on"]
        self._process = subprocess.Popen([str(BOOT), str(self._kernel), str(self._disk), *console, *options])

    def cut_power(self) -> None:
        """Kill the emulator now. Data that was not synced to the disk is lost."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
        self._process = None
        self._hang_up()

    def power_off(self) -> None:
        """Shut down properly."""
        self.sudo("systemctl", "poweroff", check=False)  # the connection may end before the answer
        assert self._process is not None
        self._process.wait(PATIENCE_S)
        self._process = None
        self._hang_up()

    def run(self, *words: str, check: bool = True, stdin: bytes = b"", timeout_s: float = PATIENCE_S) -> str:
        """Run a command on the board as the user pi; returns its stdout."""
        return self.raw(*words, check=check, stdin=stdin, timeout_s=timeout_s).decode()

    def raw(self, *words: str, check: bool = True, stdin: bytes = b"", timeout_s: float = PATIENCE_S) -> bytes:
        """The same, in bytes. With `check` it must end with 0."""
        self._connect()
        line = [*self._ssh_line(), shlex.join(words)]
        done = subprocess.run(line, input=stdin, capture_output=True, timeout=timeout_s, check=False)
        if check:
            assert done.returncode == 0, f"{shlex.join(words)} ended with {done.returncode}: {done.stdout!r} {done.stderr!r}"
        return done.stdout

    def put(self, file: Path, place: str) -> None:
        """Copy a file to the board."""
        self.run("sh", "-c", f"cat > {shlex.quote(place)}", stdin=file.read_bytes())

    def sudo(self, *words: str, check: bool = True) -> str:
        """Run a command on the board as root; returns its stdout."""
        return self.run("sudo", *words, check=check)

    def fact(self, name: str) -> str:
        """A property of the service, from systemd."""
        return self.run("systemctl", "show", "deblurkit", "-P", name).strip()

    def get(self, path: str, token: bool = True) -> Answer:
        """The page's answer, through the forwarded port. Raises OSError or HTTPException if there is none."""
        asked = http.client.HTTPConnection("127.0.0.1", self._page_port, timeout=30)
        try:
            asked.request("GET", path, headers={"Authorization": f"Bearer {self.token}"} if token else {})
            answer = asked.getresponse()
            return Answer(answer.status, dict(answer.getheaders()), answer.read())
        finally:
            asked.close()

    def stream_part(self, view: str) -> Answer:
        """One part of the live stream: its headers, its bytes."""
        asked = http.client.HTTPConnection("127.0.0.1", self._page_port, timeout=30)
        try:
            asked.request("GET", f"/stream?view={view}", headers={"Authorization": f"Bearer {self.token}"})
            answer = asked.getresponse()
            assert answer.readline().startswith(b"--")
            lines = iter(lambda: answer.readline().decode().rstrip("\r\n"), "")
            headers = dict(line.split(": ", 1) for line in lines)
            return Answer(answer.status, headers, answer.read(int(headers["Content-Length"])))
        finally:
            asked.close()

    def state(self) -> dict[str, Any]:
        """The page's state. Raises as `get` does."""
        return json.loads(self.get("/state").body)

    def metrics(self) -> dict[str, float]:
        """The metrics, by name without `deblurkit_`, with their labels."""
        samples = _SAMPLE.findall(self.get("/metrics").body.decode())
        return {f"{name}{{{labels}}}" if labels else name: float(value) for name, labels, value in samples}

    def healthy(self) -> bool:
        """Whether pictures come; needs no token."""
        return self.get("/healthz", token=False).status == 200

    def until(self, wanted: Callable[[], object], what: str, patience_s: float = PATIENCE_S) -> float:
        """Wait until this happens; returns the seconds. While the page does not answer, it waits too."""
        began = time.monotonic()
        while not _succeeds(wanted):
            assert self._process is not None
            assert self._process.poll() is None, f"the board went off: {self._last_words()}"
            assert time.monotonic() - began < patience_s, f"did not happen: {what}; {self._last_words()}"
            time.sleep(0.2)
        return time.monotonic() - began

    def until_restoring(self) -> float:
        """Wait for restored pictures; returns the seconds."""
        took = self.until(self.healthy, "pictures")
        self.token = self.token or self.sudo("cat", f"{STATE}/token").strip()
        return took + self.until(lambda: self.state()["frames"] > 2, "restored pictures")

    def until_more_frames(self, more: int = 5) -> float:
        """Wait for so many more restored pictures; returns the seconds."""
        first = self.state()["frames"]
        return self.until(lambda: self.state()["frames"] >= first + more, f"{more} more frames")

    def _last_words(self) -> str:
        console = self.console.read_text(errors="replace")[-1500:]
        try:
            page = self.get("/state").body.decode()
        except (OSError, http.client.HTTPException) as error:
            page = repr(error)
        try:
            journal = self.raw(
                "sudo", "journalctl", "-u", "deblurkit", "-n", "15", "-o", "cat", check=False, timeout_s=30
            ).decode()
        except (OSError, AssertionError, subprocess.TimeoutExpired):
            journal = "no answer over ssh"
        return f"page: {page[:1500]}\njournal: {journal}\nconsole: {console}"

    @property
    def way(self) -> list[str]:
        """The ssh options that reach the user pi at 127.0.0.1 while the board is on."""
        options = [
            f"IdentityFile={self._rig / 'disk' / 'key'}",
            "IdentitiesOnly=yes",
            f"Port={self._ssh_port}",
            "ConnectTimeout=20",
        ]
        options += ["StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null", "LogLevel=ERROR"]
        return [word for option in options for word in ("-o", option)]

    def _ssh_line(self) -> list[str]:
        return ["ssh", "-F", "none", *self.way, "-S", str(self._socket()), "pi@127.0.0.1"]

    def _socket(self) -> Path:
        return self._rig / f"ssh-{self._ssh_port}"

    def _connect(self) -> None:
        """Use one connection for all commands: the key exchange takes an emulated processor seconds."""
        began = time.monotonic()
        while not self._socket().exists():
            if self._ssh is None or self._ssh.poll() is not None:
                assert time.monotonic() - began < PATIENCE_S, (
                    f"no ssh; console: {self.console.read_text(errors='replace')[-1500:]}"
                )
                *line, who = self._ssh_line()
                quiet = subprocess.DEVNULL
                self._ssh = subprocess.Popen([*line, "-M", "-N", who], stdin=quiet, stdout=quiet, stderr=quiet)
            time.sleep(0.2)

    def _hang_up(self) -> None:
        if self._ssh is not None:
            self._ssh.kill()
            self._ssh.wait()
        self._ssh = None
        self._socket().unlink(missing_ok=True)


def _succeeds(wanted: Callable[[], object]) -> object:
    try:
        return wanted()
    except (OSError, http.client.HTTPException):
        return False


def _free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    try:
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]
    finally:
        for one in sockets:
            one.close()


def rig() -> Path | None:
    """The folder of this run from `rig.sh`; None without it."""
    return Path(os.environ["BOARD_RIG"]) if os.environ.get("BOARD_RIG") else None


@contextmanager
def switched_on(kernel: str, name: str) -> Iterator[VirtualBoard]:
    """A new board, switched on; its power is cut at the end."""
    folder = rig()
    assert folder is not None
    board = VirtualBoard(folder, kernel, name)
    board.power_on()
    try:
        yield board
    finally:
        board.cut_power()


def protected(board: VirtualBoard) -> str:
    """Hashes and permissions of the configuration, the token, the unit, the program and the shipped bundles."""
    places = ["/etc/deblurkit.toml", "/etc/systemd/system/deblurkit.service", f"{STATE}/token", f"{PACKAGES}/device"]
    found = f"find {' '.join(places)} -type f ! -path '*/__pycache__/*'"
    return board.sudo("sh", "-c", f"{found} -exec sha256sum {{}} + | sort; {found} -printf '%m %p\\n' | sort")
