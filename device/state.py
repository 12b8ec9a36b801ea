"""The state of a run as frozen dataclasses: what `/state`, `/metrics`, `run --json` and the advice are built from.

Names of fields are public keys: other programs read them. tests/device/state_keys.json records them.
"""

from dataclasses import asdict, dataclass
from typing import Any

from device.system.hardware import Throttled
from device.telemetry import TelemetrySnapshot


@dataclass(frozen=True, kw_only=True)
class CameraState:
    """The source, and how the camera took the newest picture; None where the camera does not report it."""

    ok: bool
    """False while the source delivers placeholder frames instead of pictures."""
    reason: str
    """What is wrong and what to do, separated by a semicolon; empty when all is well."""
    reopened: int
    bad_frames: int
    exposure_ms: float | None
    gain: float | None
    """Analogue."""
    in_focus: bool | None
    lens_dioptres: float | None
    lux: float | None


@dataclass(frozen=True)
class DecisionState:
    """How the run came to its model."""

    kind: str
    """`given`, `measured`, `stale` or `none`, see `device.loop.tuned.Decision`."""
    reason: str
    """In words."""


@dataclass(frozen=True, kw_only=True)
class BlurState:
    """The blur that is undone in the newest frame."""

    mode: str
    """`auto`, `blind`, `off`, `hand` or `folder`, see `device.blur.choice.BlurChoice`."""
    kind: str
    """One of `device.blur.psf.KINDS`."""
    size_px: float
    spread_px: float
    """Standard deviation along the widest axis."""
    angle_deg: float
    linear: bool
    noise: float | None
    origin: str
    confidence: float
    """0 to 1."""
    sureness: str
    """Of an estimate, in words: `sure`, `a guess` or `no clear blur`; empty for what was not estimated."""
    description: str
    """In words."""
    restored_px: float | None
    """How blurred the restored picture still is, as a Gaussian's standard deviation; None where that was not measured."""
    fits: bool | None
    """Whether a given PSF may have blurred what is seen; None: not compared yet, or none is given."""
    strength: float
    """How much of the restoration is shown, 0 to 1."""
    roi_xywh: tuple[int, int, int, int] | None
    """The region that is restored, in pixels; None: the whole picture."""
    error: str
    """Why it could not be estimated; empty when all is well."""


@dataclass(frozen=True)
class Verdict:
    """Whether restoring helps, and what would help more."""

    kind: str
    """`lens`: turn the lens first; `exposure`: expose for less time first; `helps`: restoring helps; `sharp`: nothing to undo;
    empty: not known yet."""
    text: str
    """In words."""


@dataclass(frozen=True, kw_only=True)
class RateControlState:
    """What rate control does to keep the frame rate or the frame age."""

    fps: float
    """The target; 0: none."""
    max_age_ms: float
    """The target; 0: none."""
    every: int
    """1: every frame is restored; 2: every second one."""
    bundle: str
    level: int
    """0 is the best."""
    levels: int
    changes: int
    """How often the level has changed."""


@dataclass(frozen=True, kw_only=True)
class RecordingState:
    """The recorder."""

    on: bool
    files: int
    bytes: int
    """Of all files together."""
    error: str
    """Why nothing is recorded; empty when all is well."""


@dataclass(frozen=True, kw_only=True)
class SinkState:
    """One sink."""

    description: str
    frames: int
    dropped: int
    failures: int
    error: str
    """Why it does not write at present; empty when it does."""


@dataclass(frozen=True)
class ModelOption:
    """A model that this run can switch to: one variant of a bundle on one runtime."""

    bundle: str
    variant: str
    runtime: str


@dataclass(frozen=True)
class Advice:
    """What is not right, and what a person can do about it."""

    text: str
    mend: str
    """How to fix it."""


@dataclass(frozen=True)
class Viewers:
    """Streams of the web page."""

    now: int
    most: int


@dataclass(frozen=True, kw_only=True)
class State(TelemetrySnapshot):
    """Everything about a run at one moment."""

    bundle: str
    variant: str
    artifact: str
    """Variant and format, such as `int8.tflite`."""
    runtime: str
    threads: int
    source: str
    size_wh: tuple[int, int] | None
    """Of the newest frame, pixels."""
    newest_frame_s: float | None
    """Age of the newest frame; None before the first."""
    health: str
    """Why the picture is not live; empty when it is."""
    healthy: bool
    camera: CameraState
    blur: BlurState
    choice: DecisionState
    """How the run came to its model."""
    deadline: RateControlState | None
    """Rate control; None without a target for the frame rate or the frame age."""
    recording: RecordingState | None
    """None without a recorder."""
    sinks: tuple[SinkState, ...]
    choices: tuple[ModelOption, ...]
    """The models that the page can switch to."""
    throttled: Throttled | None
    """None where the board does not report it."""
    message: str
    """The result of the last switch or reload."""
    version: str
    verdict: Verdict = Verdict("", "")
    warnings: tuple[Advice, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Dictionaries, tuples and plain values, for JSON."""
        return asdict(self)


@dataclass(frozen=True, kw_only=True)
class PageState(State):
    """The state as the web page serves it."""

    viewers: Viewers
