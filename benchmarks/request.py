"""What the user asked the benchmark for."""

from dataclasses import dataclass
from pathlib import Path

from device.bundle.open import Bundle
from device.loop.tuned import TunedModel


@dataclass(frozen=True)
class Request:
    """The options of `deblurkit bench` for the suites quick, full and sustained."""

    suite: str
    command: str
    bundles: tuple[Bundle, ...]
    runtimes: tuple[str, ...]
    """Empty: all."""
    variants: tuple[str, ...]
    """Empty: all."""
    threads: tuple[int, ...]
    """Empty: the suite decides."""
    interpreters: tuple[str, ...]
    """Python interpreters whose installed runtimes are measured, this one first."""
    size_wh: tuple[int, int]
    data: Path | None
    pictures: int
    rounds: int
    seconds: float | None
    minutes: float | None
    fps: float | None
    max_ms: float | None
    min_gain_db: float | None
    earlier: TunedModel | None = None
    """The tuned model of this machine that is still valid."""
