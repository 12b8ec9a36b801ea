"""The models at hand, best first: restores with the one that is asked for, and gets over one that fails.

A frame that a model fails on is passed through with a mark and the runtime is built again; what fails again and again ends
the run, so that whoever supervises it can begin anew. Models are changed between two frames, never within one.
"""

import logging
import threading
import time
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

from device.bundle.open import open_bundle, shipped
from device.controls import ModelOption
from device.errors import BundleError, RunError, UsageError
from device.images.frame import NOT_RESTORED, Frame, Restored
from device.images.overlay import stamp
from device.restore import self_check
from device.restore.region import restore_region
from device.restore.restorer import Restorer
from device.runtimes import RUNTIMES, formats, installed
from device.telemetry import Telemetry

log = logging.getLogger(__name__)
_MOST_FAILURES, _FAILURES_WITHIN_S = 5, 60.0  # more than these end the run


@dataclass(frozen=True)
class ModelSpec:
    """Which file of which bundle on which runtime; None is the usual one."""

    bundle: str
    variant: str | None = None
    runtime: str | None = None


class Models:
    """Owns the restorers. `restore` is called from one thread at a time; everything else from any thread.

    `forgiving` is for live pictures: a failure is passed over. For files it is raised, so that no picture is written unrestored.
    `roi_xywh` is the part of the picture that is restored, in pixels; None is all of it.
    """

    def __init__(
        self,
        specs: Sequence[ModelSpec],
        threads: int | None,
        telemetry: Telemetry,
        *,
        forgiving: bool = False,
        roi_xywh: tuple[int, int, int, int] | None = None,
    ) -> None:
        self.specs = tuple(specs)
        self.message = ""
        """What came of the last change that was asked for."""
        self._threads, self._telemetry, self._forgiving, self._roi_xywh = threads, telemetry, forgiving, roi_xywh
        self._restorers = self._open(self.specs, telemetry)
        self.options = self._options(self.specs)
        """Every file of the bundles at hand and of the shipped ones, on each runtime that is installed and reads it."""
        self._next: tuple[tuple[ModelSpec, ...], list[Restorer]] | None = None
        self._changes = threading.Lock()
        self._changing = False
        self._asked: tuple[ModelSpec, ...] | None = None
        self._failures: deque[float] = deque(maxlen=_MOST_FAILURES)
        self._at_work = self._restorers[0]

    def restorer(self, model: int = 0) -> Restorer:
        """The restorer of that place in the line, or the last one."""
        return self._restorers[min(model, len(self._restorers) - 1)]

    def restore(self, frame: Frame, model: int = 0) -> Restored:
        """Restore a frame with the model of that place. Raises RunError when models fail again and again."""
        self._take_over()
        self._at_work = self.restorer(model)
        try:
            return Restored(frame, restore_region(frame.image, self._roi_xywh, self._at_work))
        except UsageError:  # a region outside the picture: no runtime mends that
            raise
        except Exception as error:
            if not self._forgiving:
                raise
            self.failed(f"{type(error).__name__}: {error}")
            self.rebuild()
            return self.passed_through(frame)

    @property
    def restorers(self) -> tuple[Restorer, ...]:
        """Best first."""
        return tuple(self._restorers)

    @property
    def moved_s(self) -> float:
        """`time.monotonic()` when the restorer at work last began a picture or finished a tile of it."""
        return self._at_work.moved_s

    def passed_through(self, frame: Frame) -> Restored:
        """The frame as it came, with a mark on it that everybody sees."""
        self._telemetry.count("not_restored")
        return Restored(frame, stamp(frame.image, NOT_RESTORED), NOT_RESTORED)

    def failed(self, why: str) -> None:
        """Note a failure. Raises RunError for the last of too many."""
        log.error("a frame was not restored: %s; the runtime is built again", why)
        now = time.monotonic()
        self._failures.append(now)
        if len(self._failures) == _MOST_FAILURES and now - self._failures[0] < _FAILURES_WITHIN_S:
            raise RunError(
                f"the model failed {_MOST_FAILURES} times within {_FAILURES_WITHIN_S:.0f} s, last: {why}; try another --runtime"
            )

    def rebuild(self) -> None:
        """Build all runtimes anew. The old ones are left to whoever still uses them: a runtime that hangs cannot be closed."""
        self._restorers = self._open(self.specs, self._telemetry)

    def switch(self, option: ModelOption) -> None:
        """Restore with this from the next frame on. Raises UsageError for what is not among the choices."""
        if option not in self.options:
            raise UsageError(f"{option.bundle}, {option.variant} on {option.runtime}: not among the choices of this run")
        smaller = [spec for spec in self.specs[1:] if spec.bundle != option.bundle]
        self._change((ModelSpec(option.bundle, option.variant, option.runtime), *smaller))

    def reload(self) -> None:
        """Open the bundles again from the disk; checked on generated scenes before they are used."""
        self._change(self._asked or self.specs)

    def _change(self, specs: tuple[ModelSpec, ...]) -> None:
        """Ask for these. One change is made at a time and one waits, the newest: what was asked before it is not made."""
        with self._changes:
            self._asked = specs
            if not self._changing:
                self._changing = True
                threading.Thread(target=self._make_changes, name="reload", daemon=True).start()

    def _make_changes(self) -> None:
        while True:
            with self._changes:
                specs, self._asked = self._asked, None
                if specs is None:
                    self._changing = False
                    return
            self._make_ready(specs)

    def _make_ready(self, specs: tuple[ModelSpec, ...]) -> None:
        restorers: list[Restorer] = []
        try:
            restorers = self._open(specs)
            for restorer in restorers:
                _verify(restorer)
                restorer.telemetry = self._telemetry
        except Exception as error:  # runtimes raise what they like, and the present models go on
            for restorer in restorers:
                restorer.close()
            self.message = f"not changed: {error}"
            log.error("%s", self.message)
            return
        with self._changes:
            passed_over, self._next = self._next, (specs, restorers)
        for restorer in passed_over[1] if passed_over else ():
            restorer.close()
        self.message = "restoring with " + ", ".join(r.description for r in restorers)
        log.info("%s", self.message)

    def _take_over(self) -> None:
        """Between two frames: what was made ready takes the place of what there was."""
        if self._next is not None:
            with self._changes:
                taken, self._next = self._next, None
            assert taken is not None  # only this thread takes
            self.specs, restorers = taken
            self.options = self._options(self.specs)
            old, self._restorers = self._restorers, restorers
            for restorer in old:
                restorer.close()

    @staticmethod
    def _options(specs: Sequence[ModelSpec]) -> tuple[ModelOption, ...]:
        found: list[ModelOption] = []
        for name in dict.fromkeys([*(spec.bundle for spec in specs), *shipped()]):
            with suppress(BundleError):
                artifacts = open_bundle(name).manifest.artifacts
                found += [
                    ModelOption(name, artifact.variant, runtime)
                    for runtime in RUNTIMES
                    if installed(runtime)
                    for artifact in artifacts
                    if artifact.format in formats(runtime)
                ]
        return tuple(dict.fromkeys(found))  # a runtime that reads two formats has a variant twice

    def _open(self, specs: Sequence[ModelSpec], telemetry: Telemetry | None = None) -> list[Restorer]:
        opened: list[Restorer] = []
        try:
            for spec in specs:
                opened.append(Restorer(open_bundle(spec.bundle), spec.variant, spec.runtime, self._threads, telemetry=telemetry))
        except BaseException:
            for restorer in opened:
                restorer.close()
            raise
        return opened

    def close(self) -> None:
        """Free the models; closing twice is safe."""
        self._take_over()
        for restorer in self._restorers:
            restorer.close()

    def __enter__(self) -> "Models":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _verify(restorer: Restorer) -> None:
    """Raises BundleError where it does not restore generated scenes as well as it did at its export."""
    reached, quality = self_check.scenes_psnr(restorer), restorer.artifact.quality
    if quality is not None and abs(reached - quality.scenes_psnr_db) > self_check.TOLERANCE_DB:
        raise BundleError(
            f"{restorer.description}: scenes {reached:.2f} dB, {quality.scenes_psnr_db:.2f} dB at export; "
            "copy or export the bundle again"
        )
