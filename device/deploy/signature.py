"""Signatures with OpenSSH's own keys (ssh-keygen -Y): the key that opens the board can also sign what is sent to it."""

import subprocess
from pathlib import Path

from device.deploy.board.receive import NAMESPACE
from device.errors import RunError, UsageError


def sign(key: Path, file: Path) -> Path:
    """Write FILE.sig beside the file; returns its path. ssh-keygen asks for a passphrase on the terminal. Raises RunError."""
    signature = file.with_name(f"{file.name}.sig")
    signature.unlink(missing_ok=True)
    _keygen("-Y", "sign", "-f", str(key), "-n", NAMESPACE, str(file))
    return signature


def allowed_signers(key: Path) -> str:
    """The line by which a board recognises the key (ALLOWED SIGNERS in ssh-keygen(1)). Raises UsageError, RunError."""
    if not key.is_file():
        raise UsageError(f"{key}: no such file; --sign takes an ssh key, for example ~/.ssh/id_ed25519")
    public = key if key.suffix == ".pub" else key.with_name(f"{key.name}.pub")
    text = public.read_text() if public.is_file() else _keygen("-y", "-f", str(key))
    words = text.split()
    if len(words) < 2:
        raise UsageError(f"{public}: not a public key; expected a line such as `ssh-ed25519 AAAA…`")
    return f'{NAMESPACE} namespaces="{NAMESPACE}" {words[0]} {words[1]}\n'


def _keygen(*words: str) -> str:
    try:
        done = subprocess.run(("ssh-keygen", *words), capture_output=True, text=True, errors="replace", check=False)
    except FileNotFoundError as error:
        raise RunError("this machine has no ssh-keygen; install OpenSSH's client: sudo apt install openssh-client") from error
    if done.returncode != 0:
        raise RunError(f"ssh-keygen {words[0]} {words[1]}: {done.stderr.strip()}; expected a key that ssh-keygen can sign with")
    return done.stdout
