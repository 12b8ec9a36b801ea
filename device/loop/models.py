"""The models of a run, best first: restores with the one asked for, recovers from failures, and changes models on request.

If a model fails on a frame of a live source, the frame is passed through with a mark and the runtime is rebuilt. If that
happens too often, the run ends, so that its supervisor can start it again. Models change between two frames, never within one.
"""

import logging
import threading
import time
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

from device.bundle.open import open_bundle, shipped
from device.errors import BundleError, RunError, UsageError
from device.images.frame import NOT_RESTORED, Frame, Restored
from device.images.overlay import stamp
from device.loop.blur import Blur
from device.restore import self_check
from device.restore.region import blend, restore_region
from device.restore.restorer import Restorer
from device.runtimes import RUNTIMES, formats, installed
from device.state import ModelOption
from device.telemetry import Telemetry

log = logging.getLogger(__name__)
_MOST_FAILURES, _FAILURES_WITHIN_S = 5, 60.0  # so many failures in that time end the run


@dataclass(frozen=True)
class ModelSpec:
    """One variant of a bundle on one runtime. None: the default, see `Restorer`."""

    bundle: str
    variant: str | None = None
    runtime: str | None = None


class Models:
    """Owns the restorers. `restore` and `recover` are called from one thread at a time, everything else from any thread.

    `recovers` is for live sources: a frame on which a model fails is passed through. For files the failure is raised, so that no
    picture is written unrestored. `blur` tells the blur of each frame and the region to restore; None: blind, the whole picture.
    """

    def __init__(
        self,
        specs: Sequence[ModelSpec],
        threads: int | None,
        telemetry: Telemetry,
        *,
        recovers: bool = False,
        blur: Blur | None = None,
    ) -> None:
        self.specs = tuple(specs)
        self.message = ""
        """The result of the last switch or reload."""
        self._threads, self._telemetry, self._recovers, self._blur = threads, telemetry, recovers, blur
        self._restorers = self._open(self.specs, telemetry)
        self.options = self._options(self.specs)
        """Every file of this run's bundles and of the shipped ones, on each installed runtime that reads it."""
        self._lock = threading.Lock()
        self._next: tuple[tuple[ModelSpec, ...], list[Restorer]] | None = None  # opened and verified, not yet in use
        self._requested: tuple[ModelSpec, ...] | None = None
        self._changing = False
        self._failures: deque[float] = deque(maxlen=_MOST_FAILURES)
        self._current = self._restorers[0]

    @property
    def restorers(self) -> tuple[Restorer, ...]:
        """Best first."""
        return tuple(self._restorers)

    @property
    def last_progress_s(self) -> float:
        """`time.monotonic()` when the current restorer last began a picture or finished a tile of it."""
        return self._current.last_progress_s

    def restorer(self, model: int = 0) -> Restorer:
        """The restorer with this index, or the last one."""
        return self._restorers[min(model, len(self._restorers) - 1)]

    def restore(self, frame: Frame, model: int = 0) -> Restored:
        """Restore a frame with the model of this index. Raises RunError if models fail too often."""
        self._adopt_next()
        self._current = self.restorer(model)
        try:
            if self._blur is None:
                return Restored(frame, self._current.restore(frame.image))
            deconvolver = self._blur.before(frame)
            if deconvolver is None:
                return Restored(frame, frame.image)
            self._current.use(deconvolver)
            restored = restore_region(frame.image, self._blur.roi_xywh, self._current)
            return Restored(frame, blend(frame.image, restored, self._blur.strength))
        except UsageError:  # a region outside the picture: another runtime would not help
            raise
        except Exception as error:
            if not self._recovers:
                raise
            return self.recover(frame, f"{type(error).__name__}: {error}")

    def recover(self, frame: Frame, why: str) -> Restored:
        """Rebuild all runtimes after a failure; returns the frame as it came, stamped. Raises RunError if it fails too often.

        Does not close the old runtimes: a runtime that hangs cannot be closed, and a thread may still be in it.
        """
        log.error("a frame was not restored: %s; the runtime is rebuilt", why)
        now = time.monotonic()
        self._failures.append(now)
        if len(self._failures) == _MOST_FAILURES and now - self._failures[0] < _FAILURES_WITHIN_S:
            raise RunError(
                f"the model failed {_MOST_FAILURES} times within {_FAILURES_WITHIN_S:.0f} s, last: {why}; try another --runtime"
            )
        self._restorers = self._open(self.specs, self._telemetry)
        self._telemetry.count("not_restored")
        return Restored(frame, stamp(frame.image, NOT_RESTORED), NOT_RESTORED)

    def switch(self, option: ModelOption) -> None:
        """Restore with this model from the next frame on. Raises UsageError unless it is one of the options."""
        if option not in self.options:
            raise UsageError(
                f"{option.bundle}, {option.variant} on {option.runtime}: not available in this run; choose one that /state lists"
            )
        smaller = [spec for spec in self.specs[1:] if spec.bundle != option.bundle]
        self._request((ModelSpec(option.bundle, option.variant, option.runtime), *smaller))

    def reload(self) -> None:
        """Open the bundles again from disk; they are verified on generated scenes before they are used."""
        self._request(self._requested or self.specs)

    def _request(self, specs: tuple[ModelSpec, ...]) -> None:
        """Change to these. Changes are made one at a time; of those that wait, only the newest is made."""
        with self._lock:
            self._requested = specs
            if not self._changing:
                self._changing = True
                threading.Thread(target=self._make_changes, name="reload", daemon=True).start()

    def _make_changes(self) -> None:
        while True:
            with self._lock:
                specs, self._requested = self._requested, None
                if specs is None:
                    self._changing = False
                    return
            self._prepare(specs)

    def _prepare(self, specs: tuple[ModelSpec, ...]) -> None:
        """Open and verify the models, so that `restore` can adopt them."""
        restorers: list[Restorer] = []
        try:
            restorers = self._open(specs)
            for restorer in restorers:
                _verify(restorer)
                restorer.telemetry = self._telemetry
        except Exception as error:  # runtimes raise errors of any type; the present models go on
            for restorer in restorers:
                restorer.close()
            self.message = f"not changed: {error}"
            log.error("%s", self.message)
            return
        with self._lock:
            unused, self._next = self._next, (specs, restorers)
        for restorer in unused[1] if unused else ():
            restorer.close()
        self.message = "restoring with " + ", ".join(r.description for r in restorers)
        log.info("%s", self.message)

    def _adopt_next(self) -> None:
        """Between two frames: replace the models by those that were prepared."""
        if self._next is not None:
            with self._lock:
                adopted, self._next = self._next, None
            assert adopted is not None  # only this thread sets it to None
            self.specs, restorers = adopted
            self.options = self._options(self.specs)
            old, self._restorers = self._restorers, restorers
            for restorer in old:
                restorer.close()

    @staticmethod
    def _options(specs: Sequence[ModelSpec]) -> tuple[ModelOption, ...]:
        options: list[ModelOption] = []
        for name in dict.fromkeys([*(spec.bundle for spec in specs), *shipped()]):
            with suppress(BundleError):
                artifacts = open_bundle(name).manifest.artifacts
                options += [
                    ModelOption(name, artifact.variant, runtime)
                    for runtime in RUNTIMES
                    if installed(runtime)
                    for artifact in artifacts
                    if artifact.format in formats(runtime)
                ]
        return tuple(dict.fromkeys(options))  # a runtime that reads two formats lists a variant twice

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
        """Release the models; closing twice is safe."""
        self._adopt_next()
        for restorer in self._restorers:
            restorer.close()

    def __enter__(self) -> "Models":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _verify(restorer: Restorer) -> None:
    """Raise BundleError if it does not restore generated scenes as well as at its export."""
    reached, quality = self_check.scenes_psnr(restorer), restorer.artifact.quality
    if quality is not None and abs(reached - quality.scenes_psnr_db) > self_check.TOLERANCE_DB:
        raise BundleError(
            f"{restorer.description}: {reached:.2f} dB on generated scenes, {quality.scenes_psnr_db:.2f} dB at export; "
            "copy or export the bundle again"
        )
