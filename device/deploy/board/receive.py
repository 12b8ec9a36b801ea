"""What comes over the line is written down, and believed only once its hashes and signatures are right."""

import hashlib
import re
import shutil
import subprocess
from pathlib import Path

from device.deploy.board.channel import Line
from device.deploy.board.paths import SIGNERS, Refused, content, write

SUMS = "SHA256SUMS"
BROUGHT = "allowed_signers"
NAMESPACE = "deblurkit"


def receive(line: Line, part: Path, files: list[tuple[str, int]]) -> None:
    """Write files of (name, bytes) as they come. Raises Refused for a name that could lead elsewhere, Lost."""
    part.mkdir()
    for name, size in files:
        place = part / plain(name)
        place.parent.mkdir(parents=True, exist_ok=True)
        with open(place, "xb") as file:
            for piece in line.pieces(size):
                file.write(piece)


def plain(name: str) -> str:
    """The name of a file below a folder. Raises Refused for any other."""
    if not re.fullmatch(r"(?!\.)[\w.+@-]+(/(?!\.)[\w.+@-]+)*", name, re.ASCII):
        raise Refused(f"{name!r}: no name of a file that a release can have; expected letters, digits and .+@-_")
    return name


def check(part: Path) -> str:
    """Says in words what was found right. Raises Refused where a file or a signature is not as it must be.

    The list of hashes is believed first, then what it says of the files.
    """
    by = _check_signatures(part)
    _check_hashes(part)
    return "the hashes of all files are right" + by


def pin(part: Path) -> bool:
    """Keep the key of the first signed release: from then on the board takes nothing else. True where that was now."""
    key = content(part / BROUGHT)
    if key is None or SIGNERS.exists():
        return False
    write(SIGNERS, key)
    return True


def _check_signatures(part: Path) -> str:
    if not _signature(part / SUMS).exists():
        if SIGNERS.exists():
            raise Refused(
                f"this board takes signed releases only, and this one is not signed; give --sign with the key that {SIGNERS} "
                f"names there (to take unsigned ones again, remove that file)"
            )
        return ""
    if shutil.which("ssh-keygen") is None:
        raise Refused("there is no ssh-keygen on the board to check the signature with: sudo apt install openssh-client")
    signers = SIGNERS if SIGNERS.exists() else part / BROUGHT
    for file in (part / SUMS, *sorted(part.glob("bundles/*/manifest.json"))):
        words = ["ssh-keygen", "-Y", "verify", "-f", str(signers), "-I", NAMESPACE, "-n", NAMESPACE, "-s", str(_signature(file))]
        with open(file, "rb") as message:
            done = subprocess.run(words, stdin=message, capture_output=True, text=True, errors="replace", check=False)
        if done.returncode != 0:
            said = (done.stderr or done.stdout).strip().splitlines()
            raise Refused(
                f"{file.relative_to(part)}: not signed by the key that {signers} names ({said[-1] if said else 'no reason'}); "
                f"sign with that key, and change nothing afterwards"
            )
    return f", and its signature is of the key that {SIGNERS} names" if signers == SIGNERS else ", and it is signed"


def _signature(file: Path) -> Path:
    return file.with_name(f"{file.name}.sig")


def _check_hashes(part: Path) -> None:
    rows = (row.split("  ", 1) for row in (part / SUMS).read_text().splitlines())
    listed = {name: sha256 for sha256, name in rows}
    found = {str(p.relative_to(part)) for p in part.rglob("*") if p.is_file()} - {SUMS, f"{SUMS}.sig"}
    if odd := sorted(found ^ set(listed)):
        raise Refused(f"{', '.join(odd)}: only in the list of hashes, or only beside it; deploy again")
    for name, sha256 in listed.items():
        with open(part / name, "rb") as file:
            if hashlib.file_digest(file, "sha256").hexdigest() != sha256:
                raise Refused(f"{name}: its SHA-256 is not the list's, so it was changed on its way; deploy again")
