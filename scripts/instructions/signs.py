"""Quantise an fp32 ONNX file as U8S8 and as S8S8, with the same calibration, for count.py to compare.

python scripts/instructions/signs.py device/bundles/small/small_fp32.onnx out/signs
"""

import sys
from pathlib import Path

import numpy as np
import onnx
from onnxruntime.quantization import QuantFormat, QuantType, quantize_static

from device.images.degrade import to_float, to_luma
from device.images.scenes import dead_leaves


class CalibrationPictures:
    """Generated pictures, and a ramp from black to white."""

    def __init__(self, channels: int) -> None:
        ramp = np.linspace(0, 1, 256, dtype=np.float32)[None, :, None] * np.ones((256, 1, 3), np.float32)
        pictures = [ramp, *(to_float(dead_leaves(256, 256, seed)) for seed in range(4))]
        self._left = [(to_luma(p) if channels == 1 else p)[None] for p in pictures]

    def get_next(self) -> dict[str, np.ndarray] | None:
        """Return the next picture for ONNX Runtime's calibrator."""
        return {"blurred": self._left.pop()} if self._left else None


def main() -> None:
    """See the module's docstring."""
    source, out = Path(sys.argv[1]), Path(sys.argv[2])
    out.mkdir(parents=True, exist_ok=True)
    channels = onnx.load(source).graph.input[0].type.tensor_type.shape.dim[3].dim_value
    for name, kind in (("u8s8", QuantType.QUInt8), ("s8s8", QuantType.QInt8)):
        quantize_static(
            source, out / f"{name}.onnx", CalibrationPictures(channels), quant_format=QuantFormat.QDQ, per_channel=True,
            activation_type=kind, weight_type=QuantType.QInt8,
        )  # fmt: skip


if __name__ == "__main__":
    main()
