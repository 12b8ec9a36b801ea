"""Measure one converted file against its network: one opened runtime, each picture through it once."""

from dataclasses import dataclass

import numpy as np

from device.bundle.manifest import Parity, Quality, TensorSpec
from device.bundle.open import Bundle
from device.errors import BundleError
from device.images.degrade import to_pixels
from device.images.quality import mean_psnr, psnr
from device.restore.pixel_codec import PixelCodec
from device.restore.restorer import Restorer
from device.restore.self_check import scenes_psnr
from export.export_source import Pictures

RUNTIME = {"tflite": "litert", "onnx": "onnxruntime", "ncnn": "ncnn"}
THREADS = 2
_FLOAT = TensorSpec("", "float32")
_SWAPPED_DB = 6  # gained by reversing the channels: then red and blue are swapped


@dataclass(frozen=True)
class Measurement:
    """What one file computes. Without `parity` and `quality` where `fault` says why it computes nothing that can be compared."""

    parity: Parity | None = None
    quality: Quality | None = None
    first_output: np.ndarray | None = None
    """For the first judged picture, (1, h, w, c) float32; the finished file must compute the same."""
    swapped_colours: bool = False
    """Whether red and blue seem to be swapped."""
    refused: bool = False
    """Whether the runtime does not load or run the file at all."""
    fault: str = ""


class Comparison:
    """The judged pictures and the network's own output: what every file of one export is compared with."""

    def __init__(self, pictures: Pictures, reference: np.ndarray, colour: str) -> None:
        """`reference`: the network's output for the judged pictures, (n, h, w, c) float32, 1.0 for white."""
        self._reference, self._colour = reference, colour
        self._description = pictures.described
        self._blurred, self._sharp = ([to_pixels(p) for p in side] for side in (pictures.blurred, pictures.sharp))
        codec = PixelCodec(_FLOAT, _FLOAT, colour)
        self._input_db = mean_psnr(self._blurred, self._sharp)
        self._network_db = mean_psnr(
            [codec.to_pixels(r[None], b) for r, b in zip(reference, self._blurred, strict=True)], self._sharp
        )

    def measure(self, bundle: Bundle) -> Measurement:
        """Measure the only file of `bundle`, through the code that the board runs."""
        (artifact,) = bundle.manifest.artifacts
        try:
            with Restorer(bundle, artifact.variant, RUNTIME[artifact.format], THREADS) as restorer:
                codec = restorer.codec
                tensors = [restorer.runtime.run(codec.to_tensor(blurred)) for blurred in self._blurred]
                outputs = np.concatenate([codec.to_values(tensor) for tensor in tensors])
                if outputs.shape != self._reference.shape:
                    fault = f"makes {outputs.shape[1:]} where the network makes {self._reference.shape[1:]}"
                    return Measurement(first_output=outputs[:1], fault=fault)
                if not np.isfinite(outputs).all():
                    return Measurement(first_output=outputs[:1], fault="makes NaN or infinite values")
                restored = [codec.to_pixels(tensor, b) for tensor, b in zip(tensors, self._blurred, strict=True)]
                scenes_db = scenes_psnr(restorer)
        except BundleError as error:
            return Measurement(refused=True, fault=f"is refused by {RUNTIME[artifact.format]}: {error}")
        parity_db = psnr(outputs, self._reference, 1.0)
        reversed_db = psnr(outputs[..., ::-1], self._reference, 1.0) if self._colour == "rgb" else 0.0
        return Measurement(
            parity=Parity(float(np.abs(outputs - self._reference).max()), round(parity_db, 2)),
            quality=self._quality(mean_psnr(restored, self._sharp), scenes_db),
            first_output=outputs[:1],
            swapped_colours=reversed_db > parity_db + _SWAPPED_DB,
        )

    def first_output(self, bundle: Bundle) -> np.ndarray:
        """The output of the only file of `bundle` for the first judged picture, (1, h, w, c) float32."""
        (artifact,) = bundle.manifest.artifacts
        with Restorer(bundle, artifact.variant, RUNTIME[artifact.format], THREADS) as restorer:
            return restorer.codec.to_values(restorer.runtime.run(restorer.codec.to_tensor(self._blurred[0])))

    def _quality(self, restored_db: float, scenes_db: float) -> Quality:
        return Quality(
            pictures=self._description,
            input_psnr_db=round(self._input_db, 3),
            restored_psnr_db=round(restored_db, 3),
            gain_db=round(restored_db - self._input_db, 3),
            loss_db=round(self._network_db - restored_db, 3),
            scenes_psnr_db=round(scenes_db, 3),
        )
