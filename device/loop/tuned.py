"""What `deblurkit bench --pick` measured to be best on this board (choice.json), and whether that still holds.

`run` takes it where neither bundle, variant nor runtime is given, and says so; where it does not hold any more, it says why.
"""

import hashlib
import json
import logging
import os
from dataclasses import asdict, dataclass
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from device.bundle.manifest import MANIFEST
from device.bundle.open import open_bundle
from device.config import build
from device.errors import BundleError, DataError, RunError
from device.loop.models import ModelSpec
from device.runtimes import RUNTIMES, formats, installed
from device.settings import SMALLER, Settings
from device.system import hardware
from device.system.files import write_atomically
from device.system.paths import state_folder

SCHEMA = 1
FILE = "choice.json"
GIVEN, MEASURED, STALE, NONE = "given", "measured", "stale", "none"
AGAIN = "deblurkit bench --pick measures again"
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class TunedModel:
    """choice.json: what to run on this board, and what it was measured with."""

    schema: int
    hardware_hash: str
    """Of the board that it was measured on (`device.system.hardware`)."""
    versions: dict[str, str]
    """Of deblurkit and of the runtime's package."""
    bundle: str
    """A shipped bundle's name; of another one its folder, or its file."""
    bundle_hash: str | None
    """SHA-256 of its manifest.json; None of a single file."""
    file: str
    sha256: str
    """Of the file."""
    variant: str
    runtime: str
    threads: int
    size_wh: tuple[int, ...]
    """Of the frame that was timed, pixels."""
    p50_ms: float
    p95_ms: float
    gain_db: float
    """Mean gain over blurred pictures."""
    why: str
    """In words."""
    measured: str
    """The day, YYYY-MM-DD."""

    @property
    def label(self) -> str:
        """ "small int8.tflite on litert, 1 thread (29.6 ms at 640x480, +1.60 dB)"."""
        suffix, threads = self.file.rpartition(".")[2], f"{self.threads} thread{'' if self.threads == 1 else 's'}"
        figures = f"{self.p50_ms:.1f} ms at {'x'.join(map(str, self.size_wh))}, {self.gain_db:+.2f} dB"
        return f"{Path(self.bundle).name} {self.variant}.{suffix} on {self.runtime}, {threads} ({figures})"


@dataclass(frozen=True)
class Decision:
    """What `run` restores with, and how that came about."""

    kind: str
    """`given` by the settings, `measured`, `stale`: measured, but not taken; or `none`: not measured."""
    reason: str
    """In words, with what to do."""
    models: tuple[ModelSpec, ...]
    """Best first."""
    threads: int | None = None
    measured: TunedModel | None = None
    """Where it is taken."""

    def say(self) -> None:
        """Log it: a stale measurement is a warning."""
        if self.kind != GIVEN:
            log.log(logging.WARNING if self.kind == STALE else logging.INFO, "%s", self.reason)


def place() -> Path:
    """The folder of choice.json: the state folder. For root, where the service is installed, it is the service's.

    So `sudo deblurkit bench --pick` measures for the service, whose folder nobody but root can write to.
    """
    from device.service.status import STATE

    if os.geteuid() == 0 and not os.environ.get("STATE_DIRECTORY") and STATE.is_dir():
        return STATE
    return state_folder()


def write(folder: Path, measured: TunedModel) -> Path:
    """Keep it, written aside and renamed; returns the file. Raises RunError where it cannot be written."""
    path = folder / FILE
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)  # it holds the page's token too
        write_atomically(path, json.dumps(asdict(measured), indent=1).encode() + b"\n")
        path.chmod(0o644)  # root writes it, the service's own user reads it
    except RunError:
        raise
    except OSError as error:
        raise RunError(f"{path}: cannot be written: {error.strerror}; give STATE_DIRECTORY a folder") from error
    return path


def read(folder: Path) -> TunedModel | None:
    """What is kept there, None where nothing is. Raises DataError for a damaged file, which stays as it is."""
    path = folder / FILE
    try:
        content = json.loads(path.read_bytes())
        if isinstance(content, dict) and content.get("schema", SCHEMA) != SCHEMA:
            raise DataError(f"{path}: schema {content['schema']!r}, this version reads {SCHEMA}")
        measured = build(TunedModel, content, str(path), DataError)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise error if isinstance(error, DataError) else DataError(f"{path}: not valid JSON ({error})") from error
    if measured.threads < 1 or len(measured.size_wh) != 2:
        raise DataError(f"{path}: {measured.threads} threads, size {measured.size_wh}: cannot be")
    return measured


def versions(runtime: str) -> dict[str, str]:
    """Of deblurkit and of the package that the runtime comes in; what has no version here is left out."""
    found = {name: number for name in ("deblurkit",) if (number := _version(name))}
    module = RUNTIMES[runtime].module.partition(".")[0] if runtime in RUNTIMES else runtime
    if module == "cv2":  # under four names, and none where the system's packages brought it
        import cv2

        return {**found, "opencv": cv2.__version__}
    package = module.replace("_", "-")
    return {**found, package: number} if (number := _version(package)) else found


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def fit(measured: TunedModel) -> str:
    """Why it does not hold here any more; empty where it does."""
    if measured.hardware_hash != hardware.hardware_hash():
        return "it was made on other hardware"
    if measured.runtime not in RUNTIMES:
        return f"this version has no runtime {measured.runtime}"
    if not installed(measured.runtime):
        return f"{measured.runtime} is not installed any more"
    was, now = measured.versions, versions(measured.runtime)
    gone = "not there"
    other = [f"{p} was {was.get(p, gone)}, is {now.get(p, gone)}" for p in sorted({*was, *now}) if was.get(p) != now.get(p)]
    return ", ".join(other) or _changed(measured)


def _changed(measured: TunedModel) -> str:
    """What differs in the bundle; empty where nothing does."""
    try:
        bundle = open_bundle(measured.bundle)
        manifest = bundle.folder / MANIFEST
        if measured.bundle_hash and hashlib.sha256(manifest.read_bytes()).hexdigest() != measured.bundle_hash:
            return f"the bundle {measured.bundle} was changed"
        held = [a for a in bundle.manifest.artifacts if (a.file, a.variant) == (measured.file, measured.variant)]
        if not held or held[0].sha256 != measured.sha256:
            return f"{measured.file} of {measured.bundle} was changed"
        bundle.path(held[0])
    except (BundleError, OSError) as error:
        return str(error).partition("; ")[0]
    return ""


def decide(settings: Settings) -> Decision:
    """What to restore with: what is given, else what was measured on this board, else the usual."""
    given = [name for name in ("bundle", "variant", "runtime") if getattr(settings, name)]
    usual = partial(
        Decision,
        models=tuple(ModelSpec(name, settings.variant, settings.runtime) for name in settings.bundles),
        threads=settings.threads,
    )
    if given:
        return usual(GIVEN, f"{' and '.join(given)} given")
    try:
        measured = read(place())
    except DataError as error:
        return usual(STALE, _stale(str(error)))
    if measured is None:
        return usual(NONE, "no measurement of this board; deblurkit bench --pick makes one")
    if why := fit(measured):
        return usual(STALE, _stale(why))
    smaller = [ModelSpec(SMALLER)] if (settings.fps or settings.max_age) and measured.bundle != SMALLER else []
    beside = f", here with {settings.threads}" if settings.threads and settings.threads != measured.threads else ""
    reason = f"using the measurement of this board of {measured.measured}: {measured.label}{beside}; {AGAIN}"
    return Decision(MEASURED, reason, (_model(measured), *smaller), settings.threads or measured.threads, measured)


def without(settings: Settings, why: str) -> Decision:
    """The usual choice, since what was measured cannot be used."""
    models = tuple(ModelSpec(name) for name in settings.bundles)
    return Decision(STALE, _stale(why), models, settings.threads)


def still(decision: Decision) -> Decision:
    """The decision of a run whose bundles were changed under it: what was measured may not hold any more."""
    if decision.measured is None or not (why := _changed(decision.measured)):
        return decision
    reason = f"the measurement of this board is stale ({why}): it goes on as measured; {AGAIN}"
    return Decision(STALE, reason, decision.models, decision.threads)


def _stale(why: str) -> str:
    return f"the measurement of this board is stale ({why}): usual choice; {AGAIN}"


def _model(measured: TunedModel) -> ModelSpec:
    """The file that was measured, also where its runtime would take another of that variant first."""
    bundle = open_bundle(measured.bundle)
    if bundle.artifact(measured.variant, formats(measured.runtime)).file == measured.file:
        return ModelSpec(measured.bundle, measured.variant, measured.runtime)
    return ModelSpec(str(bundle.folder / measured.file), measured.variant, measured.runtime)
