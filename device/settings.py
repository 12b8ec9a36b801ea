"""The settings of `run`, read from flags, the environment and a TOML file."""

import os
import re
import tomllib
from argparse import Namespace
from dataclasses import dataclass, field, fields
from typing import Any, get_type_hints

from device.bundle.open import DEFAULT
from device.config import build, nearest
from device.errors import UsageError

ENVIRONMENT = "DEBLURKIT_"


def parse_size(text: str, name: str = "--size", least: int = 1, most: int = 99_999) -> tuple[int, int]:
    """(width, height) in pixels of WIDTHxHEIGHT, such as `640x480`. Both sides must be from `least` to `most` pixels.

    Raises UsageError, which calls the value `name`.
    """
    match = re.fullmatch(r"([0-9]{1,9})[xX]([0-9]{1,9})", text)
    if match is None:
        raise UsageError(f"{name} {text}: expected WIDTHxHEIGHT in pixels, for example 640x480")
    width, height = int(match[1]), int(match[2])
    if not (least <= min(width, height) and max(width, height) <= most):
        raise UsageError(f"{name} {text}: expected sides of {least} to {most} pixels, for example 640x480")
    return width, height


@dataclass(frozen=True)
class CameraSettings:
    """`[camera]`: what to request from a camera. If it delivers something else, the log says so."""

    size: str = "640x480"
    """WIDTHxHEIGHT in pixels."""
    fps: float = 30.0
    """Frames a second."""
    format: str = "auto"
    """USB cameras: `mjpeg`, `yuyv`, or `auto`: yuyv if it reaches the frame rate, else mjpeg."""
    rotation: int = 0
    """0, 90, 180 or 270 degrees, clockwise."""
    exposure_ms: float = 0.0
    """0: automatic."""
    gain: float = 0.0
    """Analogue gain; 0: automatic."""
    focus: str = "auto"
    """`auto`: continuous autofocus if the lens has it; or a distance in dioptres (0 is infinity, 10 is 10 cm)."""
    sharpness: float | None = None
    """Sharpening by the camera's image processor: 0 none, 1 its default. Sharpened blur is harder to restore."""
    noise_reduction: str = "auto"
    """By the camera's image processor: `auto`, `off`, `fast`, `high`."""

    @property
    def size_wh(self) -> tuple[int, int]:
        """(width, height) in pixels."""
        return parse_size(self.size, "size")


@dataclass(frozen=True)
class WebSettings:
    """`[web]`: the web page."""

    port: int = 8080
    lan: bool = False
    """Listen on all interfaces, and require the token in the page's address; else listen on the loopback interface only."""
    viewers: int = 8
    """Streams at a time; a further viewer is refused."""
    hosts: tuple[str, ...] = ()
    """Further host names of the page, for example of a reverse proxy."""


@dataclass(frozen=True)
class RecordSettings:
    """`[record]`: the recorder, sink `record:DIR`."""

    max_gib: float = 8.0
    """Largest total size of the segments, GiB; the oldest are deleted first."""
    min_free_gib: float = 1.0
    """Free space to leave on the disk, GiB."""
    segment_s: float = 60.0
    """Length of a segment in seconds."""
    mbit: float = 4.0
    """Bit rate of the video in Mbit/s."""
    at_start: bool = True
    """Record from the start; else only when the page asks for it."""


@dataclass(frozen=True)
class Settings:
    """Settings of `run`. A flag overrides the environment (DEBLURKIT_SOURCE, …), which overrides the file of --config."""

    bundle: tuple[str, ...] = ()
    """Best first. Empty: the model that `bench --pick` measured, else the default; to keep a rate, also the smaller one."""
    source: str = "auto"
    """A camera, a file or a folder, as `device.sources.open_source` reads it."""
    sink: tuple[str, ...] = ()
    """Outputs, as `device.sinks.open_sink` reads them. Empty: the page for a live source; for a file, an output must be named."""
    variant: str | None = None
    runtime: str | None = None
    """For both, None: the tuned model's, else the default, see `Restorer`."""
    threads: int | None = None
    """CPU threads for the model. None: as `bench --pick` measured, else all cores but one."""
    fps: float = 0.0
    """Frames a second to keep, by restoring fewer or with a smaller model; 0: no target."""
    max_age: float = 0.0
    """Largest age of a frame when it is shown, milliseconds, kept in the same way; 0: no limit."""
    blur: str = ""
    """The blur to undo, as `device.blur.choice.parse_blur` reads it. Empty: `auto`; live, what was kept on the page."""
    blur_domain: str = "linear"
    """For kernels that do not say what they blur: `linear` light, as a lens does, or the values `as-is`, as they are stored."""
    roi: str = ""
    """X,Y,WIDTH,HEIGHT in pixels: the region to restore. Empty: the whole picture."""
    frames: int = 0
    seconds: float = 0.0
    """Stop after so many frames or seconds; 0: never."""
    replace: bool = False
    """Overwrite existing output."""
    wait_camera: bool = False
    """If there is no camera, show NO VIDEO and wait for one, instead of ending with exit code 7."""
    camera: CameraSettings = field(default_factory=CameraSettings)
    web: WebSettings = field(default_factory=WebSettings)
    record: RecordSettings = field(default_factory=RecordSettings)

    @property
    def bundles(self) -> tuple[str, ...]:
        """Names or paths of the bundles, best first, if the tuned model is not used."""
        return self.bundle or ((DEFAULT, SMALLER) if self.fps or self.max_age else (DEFAULT,))

    @property
    def roi_xywh(self) -> tuple[int, int, int, int] | None:
        """(x, y, width, height) in pixels; None for the whole picture."""
        return tuple(int(n) for n in self.roi.split(",")) if self.roi else None  # type: ignore[return-value]


SMALLER = "nano"
_NESTED = {"size": "camera", "port": "web", "lan": "web"}  # settings of tables whose flags and variables have short names
_VALUES: dict[str, tuple[str, str]] = {
    "format": ("auto|mjpeg|yuyv", "auto, mjpeg or yuyv"),
    "rotation": ("0|90|180|270", "0, 90, 180 or 270"),
    "focus": (r"auto|\d+(\.\d+)?", "auto, or dioptres"),
    "noise_reduction": ("auto|off|fast|high", "auto, off, fast or high"),
    "blur_domain": ("linear|as-is", "linear or as-is"),
    "roi": (r"(\d+,\d+,[1-9]\d*,[1-9]\d*)?", "X,Y,WIDTH,HEIGHT in pixels, for example 0,0,320,240"),
    "port": (r"\d+", "0 to 65535"),
}


def read_settings(options: Namespace) -> Settings:
    """Read the settings from --config, the environment and the flags; the later overrides the earlier.

    Raises UsageError for unknown keys and invalid values, naming where they come from.
    """
    values: dict[str, Any] = {}
    if options.config is not None:
        try:
            values = tomllib.loads(options.config.read_text())
        except OSError as error:
            raise UsageError(f"{options.config}: {error.strerror}; --config takes a TOML file") from error
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise UsageError(f"{options.config}: not valid TOML ({error})") from error
        build(Settings, values, str(options.config))
    known = [f.name for f in fields(Settings) if f.name not in ("camera", "web", "record")] + list(_NESTED)
    for key, text in os.environ.items():
        if key.startswith(ENVIRONMENT):
            name = key.removeprefix(ENVIRONMENT).lower()
            if name not in known:
                raise UsageError(f"{key}: no such setting; {nearest(name, known)}")
            _put(values, name, _from_text(name, text, key))
    for name in known:
        if (value := getattr(options, name, None)) is not None:
            _put(values, name, value)
    settings = build(Settings, values, "settings")
    _check(settings)
    return settings


def _put(values: dict[str, Any], name: str, value: Any) -> None:
    """Set one value, in its table if it belongs to one."""
    if name in _NESTED:
        values[_NESTED[name]] = {**values.get(_NESTED[name], {}), name: value}
    else:
        values[name] = value


def _check(settings: Settings) -> None:
    for record in (settings, settings.camera, settings.web, settings.record):
        for f in fields(record):
            value = getattr(record, f.name)
            if f.name in _VALUES and not re.fullmatch(_VALUES[f.name][0], str(value)):
                raise UsageError(f"{f.name} {value}: expected {_VALUES[f.name][1]}")
            if isinstance(value, int | float) and not 0 <= value < 1e9:  # NaN too
                raise UsageError(f"{f.name} {value}: expected 0 or more")
    parse_size(settings.camera.size, "size")
    if settings.web.port > 65535:
        raise UsageError(f"port {settings.web.port}: expected {_VALUES['port'][1]}")
    for name, value in (("threads", settings.threads), ("viewers", settings.web.viewers)):
        if value is not None and value < 1:
            raise UsageError(f"{name} {value}: expected at least 1")


def _from_text(name: str, text: str, where: str) -> Any:
    hints = {**get_type_hints(Settings), **get_type_hints(CameraSettings), **get_type_hints(WebSettings)}
    hint = hints[name]
    try:
        if hint == tuple[str, ...]:
            return tuple(text.split(","))
        if hint is bool:
            return {"1": True, "true": True, "0": False, "false": False}[text.lower()]
        if hint in (int, int | None):
            return int(text)
        return float(text) if hint is float else text
    except (ValueError, KeyError) as error:
        raise UsageError(f"{where}={text!r}: not a valid value of {name}") from error
