"""Restore one picture, without threads. Read this first: pixels -> tensor -> runtime -> tensor -> pixels, tiled if large."""

import logging
import os
import time
from dataclasses import replace
from types import TracebackType
from typing import overload

import cv2
import numpy as np

from device.blur.deconvolution import Deconvolver
from device.blur.psf import BLIND, Psf
from device.bundle.manifest import Artifact
from device.bundle.open import Bundle
from device.errors import BundleError
from device.images.frame import Image, Pixels, luma_of, pixels_of
from device.images.yuv import Plane, Yuv
from device.restore import tiling
from device.restore.pixel_codec import PixelCodec, with_luma
from device.runtimes import first_installed, formats, open_runtime, preferred_variant
from device.telemetry import Telemetry

log = logging.getLogger(__name__)

# The largest tile, in pixels. Larger pictures are tiled, so that the process stays below 500 MB on a 12-megapixel
# photograph: XNNPACK keeps nine pointers per pixel for each 3x3 convolution, and `small` takes 175 bytes per pixel.
MOST_PIXELS = 1_500_000


class Restorer:
    """Restores pictures of any size with one model file on one runtime. Close it, or use it in `with`.

    Defaults: `variant` is the one that the runtime prefers, else the bundle's best 8-bit file; `runtime` is the best one that
    is installed; `threads` is all cores but one, which capture and output need.
    """

    def __init__(
        self,
        bundle: Bundle,
        variant: str | None = None,
        runtime: str | None = None,
        threads: int | None = None,
        most_pixels: int = MOST_PIXELS,
        telemetry: Telemetry | None = None,
    ) -> None:
        manifest = bundle.manifest
        self.bundle = bundle
        self.runtime_name = runtime or first_installed()
        self.threads = threads or max(1, (os.cpu_count() or 1) - 1)
        variant = variant or _default_variant(self.runtime_name, bundle)
        self.artifact: Artifact = bundle.artifact(variant, formats(self.runtime_name))
        self.runtime = open_runtime(self.runtime_name, bundle.path(self.artifact), self.threads)
        self.codec = PixelCodec(self.artifact.input, self.artifact.output, manifest.colour, manifest.planes)
        self.luma = self.codec.luma
        """Whether it restores luma only."""
        self.telemetry = telemetry or Telemetry()
        self.last_progress_s = time.monotonic()
        """`time.monotonic()` when the last picture began or the last tile finished: shows whether the runtime hangs."""
        self.use_psf(BLIND)
        self._most_pixels = most_pixels
        self._plan: tiling.Plan | None = None

    @property
    def description(self) -> str:
        """For logs and pages: "small, int8.tflite on litert, 3 threads"."""
        threads = f"{self.threads} thread{'' if self.threads == 1 else 's'}"
        return f"{self.bundle.name}, {self.artifact.label} on {self.runtime_name}, {threads}"

    @property
    def psf(self) -> Psf:
        """The blur that it undoes."""
        return self._deconvolver.psf

    def use_psf(self, psf: Psf) -> None:
        """Undo this blur from the next picture on.

        A model of two planes sees the picture and what the filter makes of it. A model of one plane undoes round blurs by itself,
        and behind the filter it would sharpen twice; of motion it sees only what the filter makes. On test pairs the shipped
        `small` gains 0.3 to 0.9 dB on motion alone, and 2 to 6 behind the filter.
        """
        self.use(Deconvolver(psf))

    def use(self, deconvolver: Deconvolver) -> None:
        """The same, with a filter that may be built already."""
        self._deconvolver = deconvolver

    @overload
    def restore(self, image: Pixels) -> Pixels: ...

    @overload
    def restore(self, image: Image) -> Image: ...

    def restore(self, image: Image) -> Image:
        """Restore a picture; the result has the same size. Raises BundleError if the model fails.

        For a 4:2:0 picture, a luma model restores the luma plane in full range; other models return R G B.
        """
        self.last_progress_s = time.monotonic()
        if isinstance(image, Yuv) and self.luma:
            image = image.in_full_range()
            return replace(image, y=self._restore(image.y))
        return self._restore(pixels_of(image))

    def plan_for(self, height: int, width: int) -> tiling.Plan:
        """The tiles for a picture of this size; they depend on nothing else."""
        if self._plan is None or (self._plan.height, self._plan.width) != (height, width):
            manifest = self.bundle.manifest
            halo, multiple, fixed_hw = manifest.halo, manifest.pad_multiple, manifest.fixed_hw
            fixed = fixed_hw is not None
            tile = tuple(fixed_hw) if fixed_hw else tiling.tile_hw(height, width, self._most_pixels, halo, multiple)
            self._plan = tiling.plan(height, width, (tile[0], tile[1]), halo, multiple, fixed)
        return self._plan

    def _restore(self, pixels: Pixels | Plane) -> Pixels | Plane:
        if self.codec.planes == 1:
            if not (self.psf.is_blind or self._deconvolver.is_round):
                seen = luma_of(pixels) if pixels.ndim == 3 else pixels
                deconvolved = self._deconvolve(seen)
                pixels = deconvolved if pixels.ndim == 2 else with_luma(pixels, seen, deconvolved)
            return tiling.run_tiled(pixels, self.plan_for(*pixels.shape[:2]), self._restore_tile)
        seen = luma_of(pixels) if pixels.ndim == 3 else pixels
        restored = tiling.run_tiled(self._with_deconvolved(seen), self.plan_for(*seen.shape), self._restore_tile)
        return restored if pixels.ndim == 2 else with_luma(pixels, seen, restored)

    def _with_deconvolved(self, seen: Plane) -> Pixels:
        """(h, w) -> (h, w, 2): as seen, and deconvolved."""
        return cv2.merge([seen, self._deconvolve(seen)])  # type: ignore[return-value]

    def _deconvolve(self, seen: Plane) -> Plane:
        began = time.perf_counter()
        deconvolved = self._deconvolver(seen)
        if not self.psf.is_blind:
            self.telemetry.add("deconvolve", time.perf_counter() - began)
        return deconvolved

    def _restore_tile(self, tile: Pixels | Plane) -> Pixels | Plane:
        t0 = time.perf_counter()
        tensor = self.codec.to_tensor(tile)
        t1 = time.perf_counter()
        restored = self.runtime.run(tensor)
        t2 = time.perf_counter()
        if restored.shape != (*tensor.shape[:3], tensor.shape[3] // self.codec.planes):
            expected = "expected the same size; export the model again"
            raise BundleError(f"{self.artifact.file}: returned {restored.shape} for {tensor.shape}; {expected}")
        if restored.dtype == np.float32 and not cv2.checkRange(restored.reshape(restored.shape[1], -1))[0]:
            raise BundleError(f"{self.artifact.file}: returned NaN or infinite values; try another file or runtime")
        pixels = self.codec.to_pixels(restored, tile)
        self.telemetry.add("to_tensor", t1 - t0)
        self.telemetry.add("infer", t2 - t1)
        self.telemetry.add("to_pixels", time.perf_counter() - t2)
        self.last_progress_s = time.monotonic()
        return pixels

    def close(self) -> None:
        """Free the model; closing twice is safe."""
        self.runtime.close()

    def __enter__(self) -> "Restorer":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


def _default_variant(runtime: str, bundle: Bundle) -> str | None:
    """The variant that the runtime prefers, if the bundle has it in a format that the runtime reads."""
    preferred, readable = preferred_variant(runtime), formats(runtime)
    has_it = any(a.variant == preferred and a.format in readable for a in bundle.manifest.artifacts)
    return preferred if has_it else None
