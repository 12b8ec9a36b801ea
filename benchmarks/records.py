"""What a benchmark's result holds: the schema of bench.json, which these dataclasses document (docs/results.md).

Times are milliseconds, memory MiB, quality dB, temperatures °C, clocks MHz. None is what could not be had, never a guess.
"""

from dataclasses import asdict, dataclass, field, replace
from typing import Any

from device.config import build
from device.errors import DataError

SCHEMA = 2
OK = "ok"
MISSING = "missing"
FAILED = "failed"
WRONG = "wrong"
STATUSES = (OK, MISSING, FAILED, WRONG)
NETWORK = "network"
CLASSICAL = "classical"
NON_BLIND = "oracle"
"""The word of the schema for a method that needs the true kernel."""
KINDS = (NETWORK, CLASSICAL, NON_BLIND)
_EARLIER_NAMES = {"Wiener, told": "Wiener (non-blind)", "Richardson-Lucy, told": "Richardson-Lucy (non-blind)"}
"""Methods that results of schema 2 hold under another name: a comparison matches rows by name."""


@dataclass(frozen=True)
class Estimate:
    """A figure with its 95 % confidence interval, by bootstrap over rounds and within them."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Latency:
    """Milliseconds of one restored frame in memory, pixels in and pixels out; after the warm-up."""

    frames: int
    """How many were timed, all rounds together; their times are in raw.csv."""
    p50_ms: Estimate
    p95_ms: Estimate
    p99_ms: Estimate
    jitter_ms: Estimate
    """The distance between p5 and p95."""
    rounds_p50_ms: tuple[float, ...]
    """The median of each round."""
    warm_up_frames: int
    """Frames before the times were steady; the largest of the rounds."""
    steady: bool
    """Whether every round became steady, and the rounds' medians lie within 5 % of their middle."""


@dataclass(frozen=True)
class PictureParity:
    """How near the pictures of this combination are to those of the reference: 8-bit levels, the frame that is timed."""

    reference: str
    """What they are compared with, in words."""
    psnr_db: float
    """99 where they are equal."""
    most_levels: int
    """Largest difference of a channel of a pixel, grey levels."""
    needed_db: float
    """Below this the pictures are wrong, and the row is no result."""


@dataclass(frozen=True)
class CaseQuality:
    """Means over the pictures of one case; PSNR over RGB, no border cropped."""

    input_psnr_db: float
    psnr_db: float
    gain_db: float
    worst_gain_db: float
    ssim: float
    ssim_gain: float


@dataclass(frozen=True)
class Moment:
    """What the machine was like at one time."""

    at_s: float
    """Seconds since the benchmark began."""
    clock_mhz: float | None
    """Of the first processor."""
    temperature_c: float | None
    throttled: tuple[str, ...] | None
    """What holds a Raspberry Pi back now: under-voltage, frequency capped, throttled, soft temperature limit."""
    load_1min: float
    available_mib: float | None


@dataclass(frozen=True)
class Machine:
    """The machine: what does not change while it is measured."""

    board: str | None
    cpu: str
    machine: str
    """`x86_64`, `aarch64`."""
    cores: int
    """That this process may use."""
    features: tuple[str, ...]
    governor: str | None
    most_mhz: float | None
    memory_mib: int | None
    system: str
    """The distribution's name."""
    kernel: str
    kind: str
    """`real`, `virtual` (a hypervisor) or `emulated`: times of the last are worth nothing."""
    hardware_hash: str
    """Of board, processor, features, cores and memory; `deblurkit run` knows this board by it."""


@dataclass(frozen=True)
class Row:
    """One file on one runtime with so many threads; or a classical method; or a reason why there is no figure."""

    name: str
    """The bundle's or the method's."""
    kind: str
    """`network`, `classical`, or `oracle`: a classical method that is told the kernel, which no camera knows."""
    status: str
    """`ok`, `missing` (not installed), `failed`, or `wrong`: a fast wrong answer is never a result."""
    variant: str | None = None
    file: str | None = None
    runtime: str | None = None
    threads: int = 1
    message: str = ""
    """What is wrong, and how it is mended."""
    bundle_hash: str | None = None
    """SHA-256 of the bundle's manifest.json."""
    sha256: str | None = None
    """Of the file."""
    bytes: int | None = None
    latency: Latency | None = None
    load_ms: float | None = None
    """From the start of loading to ready; the middle of the rounds."""
    first_ms: float | None = None
    """The first frame after it."""
    stages_ms: dict[str, float] = field(default_factory=dict)
    """Medians: to_tensor, infer, to_pixels."""
    infer_share: float | None = None
    """Share of a frame's time that the runtime's bare call takes."""
    peak_rss_mib: float | None = None
    agreement: PictureParity | None = None
    quality: dict[str, CaseQuality] = field(default_factory=dict)
    """By case (benchmarks/cases.py)."""
    gain_db: float | None = None
    """Mean gain over the ten blurred cases; of an oracle over the eight in which one kernel blurred all."""
    python: str | None = None
    """Version of the interpreter that measured it."""
    versions: dict[str, str] = field(default_factory=dict)
    """Packages of that interpreter."""
    before: Moment | None = None
    after: Moment | None = None
    rounds: int = 0
    """How many rounds were measured; fewer than asked for in a partial result."""
    front: bool = False
    """Whether nothing measured is both faster and better (oracles aside)."""

    @property
    def label(self) -> str:
        """ "small int8.tflite, litert, 1 thread"; a classical method's name."""
        if self.kind != "network":
            return self.name
        threads = f"{self.threads} thread{'' if self.threads == 1 else 's'}"
        suffix = (self.file or "").rpartition(".")[2]
        return f"{self.name} {self.variant}{'.' if suffix else ''}{suffix}, {self.runtime}, {threads}"


@dataclass(frozen=True)
class Loop:
    """The whole loop of `deblurkit run` with one combination: a generated camera of the timed size, the page with one viewer."""

    label: str
    fps: float
    stages_ms: dict[str, float]
    """Medians: capture, to_tensor, infer, to_pixels, encode."""
    infer_share: float
    """fps x infer: the share of the loop's time that the runtime's bare call takes."""
    frame_age_p50_ms: float
    frame_age_p95_ms: float
    first_frame_s: float
    peak_rss_mib: float


@dataclass(frozen=True)
class LoadSample:
    """One stretch of the sustained run."""

    at_s: float
    fps: float
    p95_ms: float
    clock_mhz: float | None
    temperature_c: float | None
    throttled: tuple[str, ...] | None


@dataclass(frozen=True)
class Sustained:
    """Full load for minutes: the rate at first, and the rate that stays."""

    label: str
    seconds: float
    burst_fps: float
    """Median of the first 30 s."""
    steady_fps: float
    """Median of the last third."""
    kept: float
    """steady / burst."""
    throttled_at_s: float | None
    """When the board was first held back, or its rate fell below 95 % for good."""
    curve: tuple[LoadSample, ...]


@dataclass(frozen=True)
class Example:
    """One picture as it came and as it was restored, for the report: PNG files, base64."""

    label: str
    case: str
    psnr_db: float
    png: str


@dataclass(frozen=True)
class Pick:
    """What to run here, and why."""

    label: str
    name: str
    variant: str
    runtime: str
    threads: int
    why: str
    """In words."""


@dataclass(frozen=True)
class Result:
    """bench.json."""

    schema: int
    suite: str
    command: str
    started: str
    """Date and time, ISO 8601 with the zone."""
    seconds: float
    complete: bool
    """False when it was interrupted; what was measured until then is there."""
    size_wh: tuple[int, int]
    """Of the frame that is timed."""
    rounds: int
    pictures: str
    """What quality was measured on, in words."""
    machine: Machine
    doubts: tuple[str, ...]
    """Reasons to distrust the figures, in words."""
    rows: tuple[Row, ...]
    loops: tuple[Loop, ...] = ()
    sustained: tuple[Sustained, ...] = ()
    examples: tuple[Example, ...] = ()
    pick: Pick | None = None


def as_json(result: Result) -> dict[str, Any]:
    """Plain data."""
    return asdict(result)


def from_json(content: Any, where: str) -> Result:
    """Read plain data back. Raises DataError, naming `where`, for another schema and for anything that does not fit."""
    if not isinstance(content, dict) or "schema" not in content:
        raise DataError(f"{where}: not a result of deblurkit bench (no schema); give the bench.json of a --report folder")
    if content["schema"] != SCHEMA:
        raise DataError(f"{where}: schema {content['schema']!r}, this version reads {SCHEMA}; measure again with this version")
    result = build(Result, content, where, DataError)
    for row in result.rows:
        if row.status not in STATUSES:
            raise DataError(f"{where}: {row.label}: status {row.status!r}; expected {', '.join(STATUSES)}")
    return replace(result, rows=tuple(replace(row, name=_EARLIER_NAMES.get(row.name, row.name)) for row in result.rows))
