"""Keras `predict`, frame by frame, as in Keras tutorials: the row to compare the converted files with.

`model(x)` and a `tf.function` around it are faster, but they are not what people write. This is the only file of benchmarks that
imports train, where the layers of the networks are; it does so inside a function, so that a board without train can measure the
rest.
"""

import logging
import os
import time
from typing import Any

from device.blur.deconvolution import Deconvolver
from device.blur.psf import BLIND, Psf
from device.bundle.manifest import TensorSpec
from device.bundle.open import Bundle
from device.errors import BundleError, RunError, RuntimeMissing
from device.images.frame import Pixels, luma_of
from device.restore import tiling
from device.restore.pixel_codec import PixelCodec, with_luma
from device.system.console import quiet_stdio
from device.telemetry import Telemetry

_ANY_SIDE = 1 << 30


class KerasPredict:
    """Restore pictures with a bundle's own weights in float32. Close it. One per process, as TensorFlow's threads are global.

    Raises RuntimeMissing without Keras and TensorFlow, BundleError for a bundle without weights or of an unknown architecture.
    """

    def __init__(self, bundle: Bundle, threads: int, telemetry: Telemetry | None = None) -> None:
        manifest = bundle.manifest
        self._weights = bundle.weights_path()
        _set_up_tensorflow(threads)
        self._architecture = _architecture(manifest.architecture, str(bundle.folder))
        self._multiple, self._halo, self._fixed_hw = manifest.pad_multiple, manifest.halo, manifest.fixed_hw
        tensor = TensorSpec("picture", "float32")
        self._codec = PixelCodec(tensor, tensor, manifest.colour, manifest.planes)
        self._telemetry = telemetry or Telemetry()
        self._network: Any = None
        self._network_hw: tuple[int, ...] = ()
        self._closed = False
        self.use_psf(BLIND)

    def use_psf(self, psf: Psf) -> None:
        """Undo this blur from the next picture on, in a network of two planes."""
        self._deconvolver = Deconvolver(psf)

    def restore(self, pixels: Pixels) -> Pixels:
        """Restore (h, w, 3) uint8 pixels. The first call with a new size builds the network for it."""
        if self._closed:
            raise BundleError(f"{self._weights}: used after it was closed")
        fixed = self._fixed_hw is not None
        tile = (self._fixed_hw[0], self._fixed_hw[1]) if self._fixed_hw else (_ANY_SIDE, _ANY_SIDE)
        height, width = pixels.shape[:2]
        plan = tiling.plan(height, width, tile, self._halo, self._multiple, fixed)
        if self._codec.planes == 1:
            return tiling.run_tiled(pixels, plan, self._restore_tile)
        seen = luma_of(pixels)
        with self._telemetry.stage("deconvolve"):
            planes = self._deconvolver.with_seen(seen)
        return with_luma(pixels, seen, tiling.run_tiled(planes, plan, self._restore_tile))  # type: ignore[arg-type]

    def _restore_tile(self, tile: Pixels) -> Pixels:
        if tile.shape[:2] != self._network_hw:
            self._network, self._network_hw = self._network_for(*tile.shape[:2]), tile.shape[:2]
        t0 = time.perf_counter()
        tensor = self._codec.to_tensor(tile)
        t1 = time.perf_counter()
        restored = self._network.predict(tensor, verbose=0)
        t2 = time.perf_counter()
        pixels = self._codec.to_pixels(restored, tile)
        self._telemetry.add("to_tensor", t1 - t0)
        self._telemetry.add("infer", t2 - t1)
        self._telemetry.add("to_pixels", time.perf_counter() - t2)
        return pixels

    def _network_for(self, height: int, width: int) -> Any:
        from train.networks import build_network

        network = build_network(self._architecture, height, width)
        try:
            network.load_weights(self._weights)
        except (ValueError, OSError, KeyError) as error:
            raise BundleError(f"{self._weights}: not the weights of this network ({error}); export the bundle again") from error
        return network

    def close(self) -> None:
        """Free the network. Closing twice is safe."""
        self._network, self._network_hw, self._closed = None, (), True


def _set_up_tensorflow(threads: int) -> None:
    """Load TensorFlow without its messages and with `threads` threads; both can be set only before its first use."""
    os.environ["KERAS_BACKEND"] = "tensorflow"
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    try:
        with quiet_stdio():  # it writes to stderr before that can be switched off
            import keras
            import tensorflow as tf
    except ImportError as error:
        raise RuntimeMissing(f"the Keras row needs {error.name}, which is not installed; make setup") from error
    if keras.backend.backend() != "tensorflow":
        raise RunError(
            f"Keras already runs on {keras.backend.backend()} here; it must be measured on TensorFlow, in a fresh process"
        )
    try:
        tf.config.threading.set_intra_op_parallelism_threads(threads)
        tf.config.threading.set_inter_op_parallelism_threads(1)
    except RuntimeError as error:
        raise RunError(
            f"TensorFlow is already running with another number of threads than {threads}; it needs a fresh process"
        ) from error
    logging.getLogger("tensorflow").setLevel(logging.ERROR)


def _architecture(config: dict[str, Any], where: str) -> Any:
    from train.architectures import architecture_from

    return architecture_from(config, where, BundleError)
