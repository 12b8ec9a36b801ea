"""The blur that somebody set on the page and kept: used by later live runs that are not told another one."""

import json
import logging

from device.blur.choice import BlurChoice, parse_words
from device.errors import UsageError
from device.system.files import write_atomically
from device.system.paths import state_folder

log = logging.getLogger(__name__)
_NAME = "blur.json"


def keep(words: str, strength: float) -> None:
    """Keep these words, as `parse_words` reads them, and the strength, 0 to 1. Raises RunError if they cannot be written."""
    write_atomically(state_folder() / _NAME, f"{json.dumps({'blur': words, 'strength': strength})}\n".encode())


def kept() -> tuple[BlurChoice, float] | None:
    """What was kept; None if nothing was, or if the file makes no sense, which is said."""
    path = state_folder() / _NAME
    try:
        values = json.loads(path.read_text())
        choice, strength = parse_words(values["blur"]), float(values["strength"])
        if 0 <= strength <= 1:
            return choice, strength
        reason = f"strength {strength}"
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError, KeyError, AttributeError, UsageError) as error:
        reason = f"{type(error).__name__}: {error}"
    log.warning("%s: expected a blur and a strength of 0 to 1, seen %s; the blur is estimated", path, reason)
    return None
