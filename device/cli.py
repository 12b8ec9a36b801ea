"""deblurkit run"""

import logging
import signal
import sys
import threading
from contextlib import ExitStack
from pathlib import Path
from types import FrameType

from device.blur.choice import FORMS
from device.bundle.manifest import VARIANTS
from device.bundle.open import DEFAULT
from device.errors import INTERRUPTED, OK
from device.runtimes import RUNTIMES
from device.session import Session
from device.settings import read_settings
from device.sources import CAMERAS
from device.sources.source import Source
from device.state import State
from device.system.console import new_parser, print_json, start_logging

EXAMPLE = "deblurkit run --source demo --sink web\n  deblurkit run --source blurred/ --sink restored/ --variant int8"
log = logging.getLogger(__name__)


def main(argv: list[str]) -> int:
    """Restore frames from a source into sinks until the source ends or the run is stopped. Returns the exit code."""
    parser = new_parser("run", "Restore a live camera, a video or pictures.", EXAMPLE)
    parser.add_argument(
        "--bundle",
        action="append",
        help="folder of a bundle, one of its files, or the name of a shipped bundle; repeatable, best first (default: the best "
        f"model that `bench --pick` measured on this board, if --variant and --runtime are not given either; else {DEFAULT})",
    )
    parser.add_argument(
        "--source", help="auto (the first camera; default), demo, " + ", ".join(CAMERAS[1:]) + ", a picture, a video or a folder"
    )
    parser.add_argument(
        "--sink",
        action="append",
        help="web (default for live sources), record:DIR, rtsp://HOST/PATH, a picture or video file, a folder, null; repeatable",
    )
    parser.add_argument("--variant", help=f"{', '.join(VARIANTS)} (default: the runtime's best 8-bit variant)")
    parser.add_argument("--runtime", help=f"{', '.join(RUNTIMES)} (default: the first one installed)")
    parser.add_argument(
        "--threads", type=int, help="CPU threads for the model (default: as measured by `bench --pick`, else all cores but one)"
    )
    parser.add_argument("--size", metavar="WxH", help="size to request from the camera (default: 640x480)")
    parser.add_argument(
        "--fps", type=float, help="keep this frame rate: if necessary, restore every second frame, then use a smaller bundle"
    )
    parser.add_argument("--max-age", type=float, metavar="MS", help="keep frames younger than this when shown, in the same way")
    parser.add_argument(
        "--blur",
        metavar="PSF",
        help=f"the blur to remove (`train --blur` adds blur): {FORMS}; gaussian: standard deviation, defocus: radius, motion: "
        "full length, in pixels, at degrees counter-clockwise from horizontal; blind: unknown, off: leave the picture as it is "
        "(default: auto, estimated from the pictures)",
    )
    parser.add_argument(
        "--blur-domain",
        metavar="linear|as-is",
        help="for kernels that do not say so: they blur linear light, as a lens does, or the stored values (default: linear)",
    )
    parser.add_argument("--roi", metavar="X,Y,W,H", help="restore only this region of the picture, pixels")
    parser.add_argument("--wait-camera", action="store_true", default=None, help="wait until there is a camera")
    parser.add_argument("--port", type=int, help="port of the web page (default: 8080)")
    parser.add_argument(
        "--lan", action="store_true", default=None, help="serve the page to the local network, with a token in its address"
    )
    parser.add_argument("--frames", type=int, help="stop after this many frames")
    parser.add_argument("--seconds", type=float, help="stop after this many seconds")
    parser.add_argument("--replace", action="store_true", default=None, help="overwrite existing output")
    parser.add_argument(
        "--config", type=Path, metavar="F.toml", help="file with these settings and more; device/deblurkit.toml lists them all"
    )
    options = parser.parse_args(argv)
    start_logging(options.quiet)
    settings = read_settings(options)
    stop = threading.Event()
    received: list[int] = []

    def on_signal(number: int, _: FrameType | None) -> None:
        received.append(number)
        if len(received) == 1:  # a second signal could interrupt the first one's `set`, which holds a lock
            stop.set()

    with ExitStack() as opened:
        for number in (signal.SIGINT, signal.SIGTERM):
            opened.callback(signal.signal, number, signal.signal(number, on_signal))
        progress = _Progress(options.quiet)
        session = opened.enter_context(Session(settings, stop, progress))
        progress.start(session.source)
        if session.invitation and sys.stderr.isatty() and not options.quiet:
            print(session.invitation, file=sys.stderr)
        opened.callback(signal.signal, signal.SIGHUP, signal.signal(signal.SIGHUP, lambda *_: session.reload()))
        if settings.seconds:
            timer = threading.Timer(settings.seconds, stop.set)
            timer.daemon = True
            timer.start()
            opened.callback(timer.cancel)
        session.run()
        progress.end()
        state = session.state()
    _report(state, options.json)
    return INTERRUPTED if signal.SIGINT in received else OK


class _Progress:
    """One line on a terminal, updated in place: how many files are restored, and of how many."""

    def __init__(self, quiet: bool) -> None:
        self._total, self._on = 0, not quiet and sys.stderr.isatty()

    def start(self, source: Source) -> None:
        """Note the number of files. For a live source, which has no end, nothing is shown."""
        self._total, self._on = source.total, self._on and not source.live

    def __call__(self, frames: int) -> None:
        if self._on:
            of = f" of {self._total}" if self._total else ""
            print(f"\r{frames}{of} restored", end="", file=sys.stderr, flush=True)

    def end(self) -> None:
        if self._on:
            print(file=sys.stderr)


def _report(state: State, as_json: bool) -> None:
    if as_json:
        print_json(state.to_dict())
        return
    log.info("%d frames in %.1f s, %.1f fps, %d dropped", state.frames, state.seconds, state.fps, state.dropped)
    age = state.frame_age_ms
    if age.p50 is not None:
        stages = ", ".join(f"{name} {ms.p50:.1f}" for name, ms in state.stages_ms.items())
        log.info("milliseconds, p50: %s; frame age %.1f (p95 %.1f)", stages, age.p50, age.p95)
