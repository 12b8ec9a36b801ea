"""Results made by hand, and the page in a browser, lie with the rigs."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "rigs"))
from page_parts import browser, visit

__all__ = ["browser", "visit"]
