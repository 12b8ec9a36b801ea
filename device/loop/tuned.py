"""The tuned model: what `deblurkit bench --pick` measured to be best on this board (choice.json), and whether that still holds.

`run` uses it if the settings name neither bundle, variant nor runtime. If it is stale, `run` says why and uses the default.
"""

import hashlib
import json
import logging
import os
from dataclasses import asdict, dataclass
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
AGAIN = "run `deblurkit bench --pick` to measure again"
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class TunedModel:
    """choice.json: the best model for this board, and what it was measured with. Names of fields are keys of the file."""

    schema: int
    hardware_hash: str
    """Of the board that it was measured on (`device.system.hardware`)."""
    versions: dict[str, str]
    """Of deblurkit and of the runtime's package."""
    bundle: str
    """The name of a shipped bundle, the folder of another one, or a model file."""
    bundle_hash: str | None
    """SHA-256 of the bundle's manifest.json; None for a single file."""
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
    """Why it is the best, in words."""
    measured: str
    """Date of the measurement, YYYY-MM-DD."""

    @property
    def label(self) -> str:
        """Such as "small int8.tflite on litert, 1 thread (29.6 ms at 640x480, +1.60 dB)"."""
        suffix, threads = self.file.rpartition(".")[2], f"{self.threads} thread{'' if self.threads == 1 else 's'}"
        figures = f"{self.p50_ms:.1f} ms at {'x'.join(map(str, self.size_wh))}, {self.gain_db:+.2f} dB"
        return f"{Path(self.bundle).name} {self.variant}.{suffix} on {self.runtime}, {threads} ({figures})"


@dataclass(frozen=True)
class Decision:
    """Which models a run uses, and why."""

    kind: str
    """`given` by the settings; `measured`: the tuned model is used; `stale`: there is one, but it is not used or has changed;
    `none`: this board was never measured."""
    reason: str
    """In words, with what to do."""
    models: tuple[ModelSpec, ...]
    """Best first."""
    threads: int | None = None
    tuned: TunedModel | None = None
    """Set only if it is used."""

    def log(self) -> None:
        """Log the reason; a stale measurement is a warning."""
        if self.kind != GIVEN:
            log.log(logging.WARNING if self.kind == STALE else logging.INFO, "%s", self.reason)


def folder() -> Path:
    """The folder of choice.json: the state folder; for root, the service's state folder if the service is installed.

    So `sudo deblurkit bench --pick` measures for the service, whose folder only root can write to.
    """
    from device.service.status import STATE

    if os.geteuid() == 0 and not os.environ.get("STATE_DIRECTORY") and STATE.is_dir():
        return STATE
    return state_folder()


def write(folder: Path, tuned: TunedModel) -> Path:
    """Write choice.json atomically; returns its path. Raises RunError if it cannot be written."""
    path = folder / FILE
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)  # the page's token lies here too
        write_atomically(path, json.dumps(asdict(tuned), indent=1).encode() + b"\n")
        path.chmod(0o644)  # root writes it, the service's own user reads it
    except RunError:
        raise
    except OSError as error:
        raise RunError(f"{path}: cannot be written: {error.strerror}; set STATE_DIRECTORY to a folder that can") from error
    return path


def read(folder: Path) -> TunedModel | None:
    """Read choice.json; None if there is none. Raises DataError for a damaged file, which is left as it is."""
    path = folder / FILE
    try:
        content = json.loads(path.read_bytes())
        if isinstance(content, dict) and content.get("schema", SCHEMA) != SCHEMA:
            raise DataError(f"{path}: schema {content['schema']!r}, this version reads {SCHEMA}")
        tuned = build(TunedModel, content, str(path), DataError)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise error if isinstance(error, DataError) else DataError(f"{path}: not valid JSON ({error})") from error
    if tuned.threads < 1 or len(tuned.size_wh) != 2:
        raise DataError(f"{path}: {tuned.threads} threads, size {tuned.size_wh}: expected at least 1 thread and two sides")
    return tuned


def versions(runtime: str) -> dict[str, str]:
    """Versions of deblurkit and of the runtime's package, as far as they are known here."""
    found = {name: number for name in ("deblurkit",) if (number := _version(name))}
    module = RUNTIMES[runtime].module.partition(".")[0] if runtime in RUNTIMES else runtime
    if module == "cv2":  # four packages bring it, and none if it came with the system
        import cv2

        return {**found, "opencv": cv2.__version__}
    package = module.replace("_", "-")
    return {**found, package: number} if (number := _version(package)) else found


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def stale_reason(tuned: TunedModel) -> str:
    """Why the measurement no longer holds here; empty if it does."""
    if tuned.hardware_hash != hardware.hardware_hash():
        return "it was made on other hardware"
    if tuned.runtime not in RUNTIMES:
        return f"this version has no runtime {tuned.runtime}"
    if not installed(tuned.runtime):
        return f"{tuned.runtime} is no longer installed"
    was, now = tuned.versions, versions(tuned.runtime)
    absent = "not installed"
    changed = [
        f"{name} was {was.get(name, absent)}, is {now.get(name, absent)}"
        for name in sorted({*was, *now})
        if was.get(name) != now.get(name)
    ]
    return ", ".join(changed) or _change_in_bundle(tuned)


def _change_in_bundle(tuned: TunedModel) -> str:
    """What has changed in the bundle since the measurement; empty if nothing has."""
    try:
        bundle = open_bundle(tuned.bundle)
        manifest = bundle.folder / MANIFEST
        if tuned.bundle_hash and hashlib.sha256(manifest.read_bytes()).hexdigest() != tuned.bundle_hash:
            return f"the bundle {tuned.bundle} has changed"
        artifacts = [a for a in bundle.manifest.artifacts if (a.file, a.variant) == (tuned.file, tuned.variant)]
        if not artifacts or artifacts[0].sha256 != tuned.sha256:
            return f"{tuned.file} of {tuned.bundle} has changed"
        bundle.path(artifacts[0])
    except (BundleError, OSError) as error:
        return str(error).partition("; ")[0]
    return ""


def decide(settings: Settings) -> Decision:
    """Decide which models to use: those given, else the tuned one, else the default."""
    given = [name for name in ("bundle", "variant", "runtime") if getattr(settings, name)]
    if given:
        return _default(settings, GIVEN, f"{' and '.join(given)} given")
    try:
        tuned = read(folder())
    except DataError as error:
        return fall_back(settings, str(error))
    if tuned is None:
        return _default(settings, NONE, "this board was never measured; run `deblurkit bench --pick` to find its best model")
    if why := stale_reason(tuned):
        return fall_back(settings, why)
    smaller = [ModelSpec(SMALLER)] if (settings.fps or settings.max_age) and tuned.bundle != SMALLER else []
    differs = f", here with {settings.threads}" if settings.threads and settings.threads != tuned.threads else ""
    reason = f"using the best model measured on this board on {tuned.measured}: {tuned.label}{differs}; {AGAIN}"
    return Decision(MEASURED, reason, (_spec(tuned), *smaller), settings.threads or tuned.threads, tuned)


def fall_back(settings: Settings, why: str) -> Decision:
    """The default models, because the tuned one cannot be used."""
    return _default(settings, STALE, f"the measurement of this board is stale ({why}), so the default model is used; {AGAIN}")


def check_again(decision: Decision) -> Decision:
    """The decision after the bundles of a run were reloaded: the tuned model may have changed."""
    if decision.tuned is None or not (why := _change_in_bundle(decision.tuned)):
        return decision
    reason = f"the measurement of this board is stale ({why}), but this run keeps its model; {AGAIN}"
    return Decision(STALE, reason, decision.models, decision.threads)


def _default(settings: Settings, kind: str, reason: str) -> Decision:
    models = tuple(ModelSpec(name, settings.variant, settings.runtime) for name in settings.bundles)
    return Decision(kind, reason, models, settings.threads)


def _spec(tuned: TunedModel) -> ModelSpec:
    """The very file that was measured, even if its runtime prefers another file of that variant."""
    bundle = open_bundle(tuned.bundle)
    if bundle.artifact(tuned.variant, formats(tuned.runtime)).file == tuned.file:
        return ModelSpec(tuned.bundle, tuned.variant, tuned.runtime)
    return ModelSpec(str(bundle.folder / tuned.file), tuned.variant, tuned.runtime)
