"""The schema of bench.json as frozen dataclasses, and how such a file is read. docs/results.md is generated from this file.

Times are milliseconds, memory MiB, quality dB, temperatures °C, clocks MHz. None means that the value could not be measured.
"""

import json
import math
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
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
"""The schema's word for a method that needs the true kernel."""
KINDS = (NETWORK, CLASSICAL, NON_BLIND)
_EXPECTED = "expected a bench.json written by `deblurkit bench --report DIR`"
_MAX_READ_MIB = 64
_EARLIER_NAMES = {"Wiener, told": "Wiener (non-blind)", "Richardson-Lucy, told": "Richardson-Lucy (non-blind)"}
"""Some files of schema 2 use these names. A comparison matches rows by name, so they are renamed when read."""


@dataclass(frozen=True)
class Estimate:
    """A value with its 95 % confidence interval, from a bootstrap over rounds and within them."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Latency:
    """Milliseconds to restore one frame in memory, from pixels to pixels, after the warm-up."""

    frames: int
    """Number of timed frames in all rounds; raw.csv has the time of each."""
    p50_ms: Estimate
    p95_ms: Estimate
    p99_ms: Estimate
    jitter_ms: Estimate
    """p95 minus p5."""
    rounds_p50_ms: tuple[float, ...]
    """The median of each round."""
    warm_up_frames: int
    """Frames before the times were steady; the largest number of all rounds."""
    steady: bool
    """Whether every round became steady and the medians of the rounds lie within 5 % of their own median."""


@dataclass(frozen=True)
class PictureParity:
    """How close the output is to the reference's output for the timed frame, in 8-bit levels."""

    reference: str
    """The file and runtime that it is compared with."""
    psnr_db: float
    """99 if both are equal."""
    most_levels: int
    """Largest difference in any channel of any pixel, in grey levels."""
    needed_db: float
    """Below this the output is wrong, and the row has no times."""


@dataclass(frozen=True)
class CaseQuality:
    """Means over the pictures of one case. PSNR is over RGB, without cropping a border."""

    input_psnr_db: float
    psnr_db: float
    gain_db: float
    worst_gain_db: float
    ssim: float
    ssim_gain: float


@dataclass(frozen=True)
class Moment:
    """The state of the machine at one time."""

    at_s: float
    """Seconds since the benchmark began."""
    clock_mhz: float | None
    """Clock of the first processor."""
    temperature_c: float | None
    throttled: tuple[str, ...] | None
    """What limits a Raspberry Pi now: under-voltage, frequency capped, throttled, soft temperature limit."""
    load_1min: float
    available_mib: float | None


@dataclass(frozen=True)
class Machine:
    """The properties of the machine that do not change during a benchmark."""

    board: str | None
    cpu: str
    machine: str
    """`x86_64`, `aarch64`."""
    cores: int
    """Cores that this process may use."""
    features: tuple[str, ...]
    governor: str | None
    most_mhz: float | None
    memory_mib: int | None
    system: str
    """Name of the distribution."""
    kernel: str
    kind: str
    """`real`, `virtual` (a hypervisor) or `emulated`: times of an emulated machine mean nothing."""
    hardware_hash: str
    """Hash of board, processor, features, cores and memory; `deblurkit run` recognises this board by it."""


@dataclass(frozen=True)
class Row:
    """One file on one runtime with one number of threads; or a classical method; or the reason why there are no figures."""

    name: str
    """Name of the bundle or of the method."""
    kind: str
    """`network`, `classical` or `oracle`: a non-blind method, which needs the true kernel that no camera knows."""
    status: str
    """`ok`, `missing` (not installed), `failed` or `wrong`: a fast wrong output is never a result."""
    variant: str | None = None
    file: str | None = None
    runtime: str | None = None
    threads: int = 1
    message: str = ""
    """What is wrong, and how to fix it."""
    bundle_hash: str | None = None
    """SHA-256 of the bundle's manifest.json."""
    sha256: str | None = None
    """SHA-256 of the file."""
    bytes: int | None = None
    latency: Latency | None = None
    load_ms: float | None = None
    """From the start of loading until ready; median of the rounds."""
    first_ms: float | None = None
    """Time of the first frame after loading."""
    stages_ms: dict[str, float] = field(default_factory=dict)
    """Medians: to_tensor, infer, to_pixels."""
    infer_share: float | None = None
    """Share of a frame's time spent in the bare call of the runtime."""
    peak_rss_mib: float | None = None
    agreement: PictureParity | None = None
    quality: dict[str, CaseQuality] = field(default_factory=dict)
    """By case (benchmarks/cases.py)."""
    gain_db: float | None = None
    """Mean gain over the ten blurred cases; of an `oracle`, over the eight whose pictures have a single blur kernel."""
    python: str | None = None
    """Version of the interpreter that measured it."""
    versions: dict[str, str] = field(default_factory=dict)
    """Package versions in that interpreter."""
    before: Moment | None = None
    after: Moment | None = None
    rounds: int = 0
    """Number of measured rounds; a partial result has fewer than were requested."""
    front: bool = False
    """Whether the row is Pareto optimal: nothing measured is both faster and better. `oracle` rows are left out."""

    @property
    def label(self) -> str:
        """ "small int8.tflite, litert, 1 thread"; the name of a classical method."""
        if self.kind != NETWORK:
            return self.name
        threads = f"{self.threads} thread{'' if self.threads == 1 else 's'}"
        suffix = (self.file or "").rpartition(".")[2]
        return f"{self.name} {self.variant}{'.' if suffix else ''}{suffix}, {self.runtime}, {threads}"


@dataclass(frozen=True)
class Loop:
    """The whole loop of `deblurkit run` with one row: a generated camera of the timed size, and one viewer of the web page."""

    label: str
    fps: float
    stages_ms: dict[str, float]
    """Medians: capture, to_tensor, infer, to_pixels, encode."""
    infer_share: float
    """fps x infer: the share of the loop's time spent in the bare call of the runtime."""
    frame_age_p50_ms: float
    frame_age_p95_ms: float
    first_frame_s: float
    peak_rss_mib: float


@dataclass(frozen=True)
class LoadSample:
    """One interval of the sustained run."""

    at_s: float
    fps: float
    p95_ms: float
    clock_mhz: float | None
    temperature_c: float | None
    throttled: tuple[str, ...] | None


@dataclass(frozen=True)
class Sustained:
    """Minutes of full load: the rate at first, and the rate that the board keeps."""

    label: str
    seconds: float
    burst_fps: float
    """Median of the first 30 s."""
    steady_fps: float
    """Median of the last third."""
    kept: float
    """steady / burst."""
    throttled_at_s: float | None
    """When the board first reported throttling, or when its rate fell below 95 % for good."""
    curve: tuple[LoadSample, ...]


@dataclass(frozen=True)
class Example:
    """One picture before or after restoration, for the report: a PNG file in base64."""

    label: str
    case: str
    psnr_db: float
    png: str


@dataclass(frozen=True)
class Pick:
    """The recommendation for this machine, and its reason."""

    label: str
    name: str
    variant: str
    runtime: str
    threads: int
    why: str
    """The reason, in words."""


@dataclass(frozen=True)
class Result:
    """bench.json."""

    schema: int
    suite: str
    command: str
    started: str
    """Date and time in ISO 8601 with the time zone."""
    seconds: float
    complete: bool
    """False if it was interrupted; then it holds what was measured until that moment."""
    size_wh: tuple[int, int]
    """Size of the timed frame."""
    rounds: int
    pictures: str
    """The pictures that quality was measured on, in words."""
    machine: Machine
    doubts: tuple[str, ...]
    """Reasons to distrust the figures, in words."""
    rows: tuple[Row, ...]
    loops: tuple[Loop, ...] = ()
    sustained: tuple[Sustained, ...] = ()
    examples: tuple[Example, ...] = ()
    pick: Pick | None = None


def as_json(result: Result) -> dict[str, Any]:
    """Convert to plain data."""
    return asdict(result)


def from_json(content: Any, where: str) -> Result:
    """Convert plain data back. Raises DataError, which names `where`, for another schema and for invalid data."""
    if not isinstance(content, dict) or "schema" not in content:
        raise DataError(f"{where}: no `schema` key, so this is not a benchmark result; {_EXPECTED}")
    if content["schema"] != SCHEMA:
        raise DataError(f"{where}: schema {content['schema']!r}, this version reads {SCHEMA}; measure again with this version")
    result = build(Result, content, where, DataError)
    for row in result.rows:
        if row.status not in STATUSES:
            raise DataError(f"{where}: {row.label}: status {row.status!r}; expected {', '.join(STATUSES)}")
    return replace(result, rows=tuple(replace(row, name=_EARLIER_NAMES.get(row.name, row.name)) for row in result.rows))


def read(path: Path, max_mib: int = _MAX_READ_MIB) -> Result:
    """Read a bench.json. Raises DataError if it cannot be read, is not a benchmark result, or is larger than `max_mib`."""
    try:
        with open(path, "rb") as file:
            data = file.read(max_mib * 2**20 + 1)
    except OSError as error:
        raise DataError(f"{path}: {error.strerror}; {_EXPECTED}") from error
    if len(data) > max_mib * 2**20:
        raise DataError(f"{path}: larger than {max_mib} MiB; {_EXPECTED}")
    try:
        content = json.loads(data, parse_constant=_reject_constant, parse_float=_finite)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: not JSON ({error}); {_EXPECTED}") from error
    return from_json(content, str(path))


def _finite(number: str) -> float:
    if not math.isfinite(value := float(number)):
        raise ValueError(f"{number[:20]} is too large")
    return value


def _reject_constant(constant: str) -> float:
    raise ValueError(f"{constant} is not a JSON number")
