"""Signatures by OpenSSH's own keys (ssh-keygen -Y): the key that opens the board can also vouch for what comes to it."""

import subprocess
from pathlib import Path

from device.deploy.board.receive import NAMESPACE
from device.errors import RunError, UsageError


def sign(key: Path, file: Path) -> Path:
    """Write FILE.sig beside the file; its path. A passphrase is asked for on the terminal. Raises RunError."""
    signature = file.with_name(f"{file.name}.sig")
    signature.unlink(missing_ok=True)
    _keygen("-Y", "sign", "-f", str(key), "-n", NAMESPACE, str(file))
    return signature


def signers(key: Path) -> str:
    """The line by which a board knows the key (ALLOWED SIGNERS in ssh-keygen(1)). Raises UsageError, RunError."""
    if not key.is_file():
        raise UsageError(f"{key}: no such file; --sign takes a key of ssh's, for example ~/.ssh/id_ed25519")
    public = key if key.suffix == ".pub" else key.with_name(f"{key.name}.pub")
    text = public.read_text() if public.is_file() else _keygen("-y", "-f", str(key))
    words = text.split()
    if len(words) < 2:
        raise UsageError(f"{public}: no public key; expected a line such as `ssh-ed25519 AAAA…`")
    return f'{NAMESPACE} namespaces="{NAMESPACE}" {words[0]} {words[1]}\n'


def _keygen(*words: str) -> str:
    try:
        done = subprocess.run(("ssh-keygen", *words), capture_output=True, text=True, errors="replace", check=False)
    except FileNotFoundError as error:
        raise RunError("there is no ssh-keygen here; install OpenSSH's client: sudo apt install openssh-client") from error
    if done.returncode != 0:
        raise RunError(f"ssh-keygen {words[0]} {words[1]}: {done.stderr.strip()}; expected a key that ssh-keygen can sign with")
    return done.stdout
