"""deblurkit run"""

import logging
import os
import signal
import sys
import threading
import tomllib
from argparse import Namespace
from contextlib import ExitStack
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from types import FrameType
from typing import Any

from device.bundle import DEFAULT, VARIANTS, open_bundle
from device.config import build, nearest
from device.console import new_parser, print_json, start_logging
from device.errors import INTERRUPTED, OK, UsageError
from device.pipeline import run_pipeline
from device.restorer import Restorer
from device.runtimes import RUNTIMES
from device.sinks import Sink, open_sink
from device.sources import open_source
from device.telemetry import Telemetry

EXAMPLE = "deblurkit run --source demo --sink web\n  deblurkit run --source blurred/ --sink restored/ --variant int8"
ENVIRONMENT = "DEBLURKIT_"
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Settings:
    """What `run` can be told. A flag beats the environment (DEBLURKIT_SOURCE, …), which beats the file of --config."""

    bundle: str = DEFAULT
    source: str = "auto"
    sink: tuple[str, ...] = ()
    variant: str | None = None
    runtime: str | None = None
    threads: int | None = None
    port: int = 8080
    frames: int = 0
    seconds: float = 0.0
    replace: bool = False


def main(argv: list[str]) -> int:
    """Restore frames from a source into sinks until the source ends or somebody stops it."""
    parser = new_parser("run", "Restore a live camera, a video or pictures.", EXAMPLE)
    parser.add_argument("--bundle", help=f"a bundle's folder, one of its files, or a shipped bundle's name (default: {DEFAULT})")
    parser.add_argument("--source", help="auto (first camera, default), demo, v4l2:/dev/video0, a picture, a video, or a folder")
    parser.add_argument(
        "--sink",
        action="append",
        help="web (default for live sources), null, a folder, a picture or video file; repeatable",
    )
    parser.add_argument("--variant", help=f"{', '.join(VARIANTS)} (default: the runtime's best 8-bit file)")
    parser.add_argument("--runtime", help=f"{', '.join(RUNTIMES)} (default: the first that is installed)")
    parser.add_argument("--threads", type=int, help="CPU threads for the model (default: all cores but one)")
    parser.add_argument("--port", type=int, help="port of the web page (default: 8080)")
    parser.add_argument("--frames", type=int, help="stop after this many frames")
    parser.add_argument("--seconds", type=float, help="stop after this many seconds")
    parser.add_argument("--replace", action="store_true", default=None, help="write over existing output")
    parser.add_argument("--config", type=Path, metavar="F.toml", help="a file with any of the settings above")
    options = parser.parse_args(argv)
    start_logging(options.quiet)
    settings = read_settings(options)
    stop = threading.Event()
    received: list[int] = []

    def on_signal(number: int, _: FrameType | None) -> None:
        received.append(number)
        if len(received) == 1:  # a second signal may interrupt the first one's `set`, which holds a lock
            stop.set()

    telemetry = Telemetry()
    with ExitStack() as opened:
        for number in (signal.SIGINT, signal.SIGTERM):
            opened.callback(signal.signal, number, signal.signal(number, on_signal))
        bundle = open_bundle(settings.bundle)
        restorer = opened.enter_context(
            Restorer(bundle, settings.variant, settings.runtime, settings.threads, telemetry=telemetry)
        )
        source = open_source(settings.source)
        opened.callback(source.close)
        wanted = settings.sink or (("web",) if source.live else ())
        if not wanted:
            raise UsageError(f"--source {settings.source}: say where restored pictures go, for example --sink restored/")
        sinks: list[Sink] = []
        for spec in wanted:
            sinks.append(open_sink(spec, source, telemetry, port=settings.port, replace=settings.replace))
            opened.callback(sinks[-1].close)
        facts: dict[str, Any] = {
            "bundle": bundle.name,
            "artifact": restorer.artifact.label,
            "runtime": restorer.runtime_name,
            "threads": restorer.threads,
        }
        for sink in sinks:
            if hasattr(sink, "facts"):
                sink.facts.update(facts)
        log.info("from %s", source.description)
        log.info("with %s, %s on %s, %d thread%s", *facts.values(), "" if restorer.threads == 1 else "s")
        for sink in sinks:
            log.info("to %s", sink.description)
        watched = "web" in wanted and not source.live  # somebody looks at a file: play it at its own rate
        if settings.seconds:
            timer = threading.Timer(settings.seconds, stop.set)
            timer.daemon = True
            timer.start()
            opened.callback(timer.cancel)
        progress = _Progress(source.total, options.quiet or source.live)
        run_pipeline(source, restorer, sinks, telemetry, stop, settings.frames, source.fps if watched else 0.0, progress)
        progress.end()
    result = {**telemetry.snapshot(), **facts}
    _report(result, options.json)
    return INTERRUPTED if signal.SIGINT in received else OK


def read_settings(options: Namespace) -> Settings:
    """Settings from --config, the environment and the flags, later ones winning. Raises UsageError on unknown keys."""
    values: dict[str, Any] = {}
    if options.config is not None:
        try:
            values = tomllib.loads(options.config.read_text())
        except OSError as error:
            raise UsageError(f"{options.config}: {error.strerror}; --config takes a TOML file") from error
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise UsageError(f"{options.config}: not valid TOML ({error})") from error
        build(Settings, values, str(options.config))
    known = {f.name: f for f in fields(Settings)}
    for key, text in os.environ.items():
        if key.startswith(ENVIRONMENT):
            name = key.removeprefix(ENVIRONMENT).lower()
            if name not in known:
                raise UsageError(f"{key}: no such setting; {nearest(name, known)}")
            values[name] = _from_text(name, text, key)
    values |= {name: value for name in known if (value := getattr(options, name, None)) is not None}
    settings = build(Settings, values, "settings")
    for name in ("frames", "seconds", "port"):
        if not 0 <= getattr(settings, name) < 1e9:  # NaN too
            raise UsageError(f"{name} {getattr(settings, name)}: expected 0 or more")
    if settings.port > 65535:
        raise UsageError(f"port {settings.port}: expected 0 to 65535")
    if settings.threads is not None and settings.threads < 1:
        raise UsageError(f"threads {settings.threads}: expected at least 1")
    return settings


def _from_text(name: str, text: str, where: str) -> Any:
    default = asdict(Settings())[name]
    try:
        if name == "sink":
            return tuple(text.split(","))
        if name == "replace":
            return {"1": True, "true": True, "0": False, "false": False}[text.lower()]
        if name == "threads" or isinstance(default, int):
            return int(text)
        return float(text) if isinstance(default, float) else text
    except (ValueError, KeyError) as error:
        raise UsageError(f"{where}={text!r}: not a value that {name} can have") from error


class _Progress:
    """One line on a terminal, rewritten: files done of files in all."""

    def __init__(self, total: int, quiet: bool) -> None:
        self._total, self._on = total, not quiet and sys.stderr.isatty()

    def __call__(self, frames: int) -> None:
        if self._on:
            of = f" of {self._total}" if self._total else ""
            print(f"\r{frames}{of} restored", end="", file=sys.stderr, flush=True)

    def end(self) -> None:
        if self._on:
            print(file=sys.stderr)


def _report(result: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print_json(result)
        return
    age = result["frame_age_ms"]
    log.info(
        "%d frames in %.1f s, %.1f fps, %d dropped",
        result["frames"],
        result["seconds"],
        result["fps"],
        result["dropped"],
    )
    if age["p50"] is not None:
        stages = ", ".join(f"{name} {ms['p50']:.1f}" for name, ms in result["stages_ms"].items())
        log.info("milliseconds, p50: %s; frame age %.1f (p95 %.1f)", stages, age["p50"], age["p95"])
