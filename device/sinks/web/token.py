"""The page in the local network: its address, its token, and both as a QR code for a phone's camera."""

import fcntl
import logging
import os
import re
import secrets
import socket
import struct
from contextlib import suppress
from pathlib import Path

log = logging.getLogger(__name__)
_TOKEN = re.compile(r"[A-Za-z0-9_-]{43}")  # 32 random bytes
_SIOCGIFADDR = 0x8915  # linux/sockios.h: the IPv4 address of an interface


def kept_token(folder: Path) -> str:
    """The token of this machine: created once, readable by its user only. If it cannot be stored, a token for this run only."""
    path = folder / "token"
    temporary = folder / f".token.{os.getpid()}.{secrets.token_hex(4)}.part"
    try:
        if (known := _read(path)) is not None:
            return known
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        token = secrets.token_urlsafe(32)
        with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(f"{token}\n")
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(temporary, path)
        except FileExistsError:  # another process has just created it, or the file contains no token
            if (known := _read(path)) is not None:
                return known
            os.replace(temporary, path)
            log.warning("%s: contained no valid token; created a new one, so old addresses of the page no longer work", path)
        return token
    except OSError as error:
        log.warning(
            "%s: %s; the page has a new token at each start; set STATE_DIRECTORY to a writable folder to keep it",
            path,
            error.strerror,
        )
        return secrets.token_urlsafe(32)
    finally:
        with suppress(OSError):
            temporary.unlink()


def _read(path: Path) -> str | None:
    try:
        text = path.read_text("latin-1").strip()
    except FileNotFoundError:
        return None
    if path.stat().st_mode & 0o077:
        path.chmod(0o600)
        log.warning("%s: other users could read it; access is restricted now. Delete it to get a new token", path)
    return text if _TOKEN.fullmatch(text) else None


def own_name() -> str:
    """How others in the network reach this machine: the address of its default interface, else of another, else its name."""
    with suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(("192.0.2.1", 9))  # an address for documentation (RFC 5737); nothing is sent
        return str(probe.getsockname()[0])
    for _, interface in socket.if_nameindex():
        with suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            answer = fcntl.ioctl(probe.fileno(), _SIOCGIFADDR, struct.pack("256s", interface.encode()[:15]))
            address = socket.inet_ntoa(answer[20:24])
            if not address.startswith("127."):
                return address
    return f"{socket.gethostname().partition('.')[0]}.local"


def qr_code(address: str) -> str:
    """The address as a QR code of block characters, for a terminal; empty if segno is not installed."""
    try:
        import segno
    except ImportError:
        log.info("segno is not installed: there is no QR code of the page's address (pip install segno)")
        return ""
    import io

    out = io.StringIO()
    segno.make(address, micro=False).terminal(out, compact=True)
    return out.getvalue()
