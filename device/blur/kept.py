"""The blur that somebody set on the page and kept: used by later runs that are not told another one."""

from device.system.files import write_atomically
from device.system.paths import state_folder

_NAME = "blur.txt"


def keep(text: str) -> None:
    """Keep these words, as `device.blur.choice.parse_words` reads them. Raises RunError if they cannot be written."""
    write_atomically(state_folder() / _NAME, f"{text}\n".encode())


def kept() -> str:
    """The words that were kept; empty if there are none."""
    try:
        return (state_folder() / _NAME).read_text().strip()
    except (OSError, UnicodeDecodeError):
        return ""
