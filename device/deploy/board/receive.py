"""Receive a release, and verify its hashes and signatures before anything in it is trusted."""

import hashlib
import re
import shutil
import subprocess
from pathlib import Path

from device.deploy.board.channel import Channel
from device.deploy.board.paths import SIGNERS, Refused, read_if_exists, write_or_remove

SUMS = "SHA256SUMS"
RELEASE_SIGNERS = "allowed_signers"
"""The public key that comes with a signed release."""
NAMESPACE = "deblurkit"


def receive(channel: Channel, part: Path, files: list[tuple[str, int]]) -> None:
    """Write the files, given as (name, bytes), into the new folder `part`. Raises Refused for an unsafe name, ConnectionLost."""
    part.mkdir()
    for name, size in files:
        path = part / safe_name(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(path, "xb") as file:
            for chunk in channel.receive(size):
                file.write(chunk)


def safe_name(name: str) -> str:
    """The name, if it can only mean a file below a folder. Raises Refused for any other."""
    if not re.fullmatch(r"(?!\.)[\w.+@-]+(/(?!\.)[\w.+@-]+)*", name, re.ASCII):
        raise Refused(f"{name!r}: not a valid file name in a release; expected letters, digits and .+@-_")
    return name


def verify(part: Path) -> str:
    """Check the signatures, then every hash; returns a message that says what was checked. Raises Refused.

    The order matters: the list of hashes is verified first, then the files against the list.
    """
    signed = _check_signatures(part)
    _check_hashes(part)
    return f"all hashes are correct{signed}"


def keep_key(part: Path) -> bool:
    """Keep the key of the first signed release: from then on the board accepts nothing else. True if this was the first."""
    key = read_if_exists(part / RELEASE_SIGNERS)
    if key is None or SIGNERS.exists():
        return False
    write_or_remove(SIGNERS, key)
    return True


def _check_signatures(part: Path) -> str:
    if not _signature(part / SUMS).exists():
        if SIGNERS.exists():
            raise Refused(
                f"this board accepts signed releases only, and this one is not signed; use --sign with the key that {SIGNERS} "
                f"names there (to accept unsigned releases again, remove that file)"
            )
        return ""
    if shutil.which("ssh-keygen") is None:
        raise Refused("the board has no ssh-keygen to check the signature with: sudo apt install openssh-client")
    signers = SIGNERS if SIGNERS.exists() else part / RELEASE_SIGNERS
    for file in (part / SUMS, *sorted(part.glob("bundles/*/manifest.json"))):
        words = ["ssh-keygen", "-Y", "verify", "-f", str(signers), "-I", NAMESPACE, "-n", NAMESPACE, "-s", str(_signature(file))]
        with open(file, "rb") as message:
            done = subprocess.run(words, stdin=message, capture_output=True, text=True, errors="replace", check=False)
        if done.returncode != 0:
            output = (done.stderr or done.stdout).strip().splitlines()
            raise Refused(
                f"{file.relative_to(part)}: not signed by the key in {signers} ({output[-1] if output else 'no reason given'}); "
                f"sign with that key, and change nothing afterwards"
            )
    return f"; signed by the key in {SIGNERS}" if signers == SIGNERS else "; signed"


def _signature(file: Path) -> Path:
    return file.with_name(f"{file.name}.sig")


def _check_hashes(part: Path) -> None:
    rows = (row.split("  ", 1) for row in (part / SUMS).read_text().splitlines())
    expected = {name: sha256 for sha256, name in rows}
    present = {str(path.relative_to(part)) for path in part.rglob("*") if path.is_file()} - {SUMS, f"{SUMS}.sig"}
    if mismatched := sorted(present ^ set(expected)):
        raise Refused(f"{', '.join(mismatched)}: in the list of hashes but not received, or the reverse; deploy again")
    for name, sha256 in expected.items():
        with open(part / name, "rb") as file:
            if hashlib.file_digest(file, "sha256").hexdigest() != sha256:
                raise Refused(f"{name}: its SHA-256 is not the one in the list, so it was changed on the way; deploy again")
