"""Make the U8S8 and the S8S8 twin of an fp32 ONNX file, calibrated alike, for count.py to compare.

python scripts/instructions/signs.py device/bundles/small/small_fp32.onnx out/signs
"""

import sys
from pathlib import Path

import numpy as np
import onnx
from onnxruntime.quantization import QuantFormat, QuantType, quantize_static

from device.images.degrade import to_float, to_luma
from device.images.scenes import dead_leaves


class Pictures:
    """Generated ones, and a ramp from black to white."""

    def __init__(self, channels: int) -> None:
        ramp = np.linspace(0, 1, 256, dtype=np.float32)[None, :, None] * np.ones((256, 1, 3), np.float32)
        pictures = [ramp, *(to_float(dead_leaves(256, 256, seed)) for seed in range(4))]
        self._left = [(to_luma(p) if channels == 1 else p)[None] for p in pictures]

    def get_next(self) -> dict[str, np.ndarray] | None:
        """For ONNX Runtime's calibrator."""
        return {"blurred": self._left.pop()} if self._left else None


def main() -> None:
    """See the module's docstring."""
    given, out = Path(sys.argv[1]), Path(sys.argv[2])
    out.mkdir(parents=True, exist_ok=True)
    channels = onnx.load(given).graph.input[0].type.tensor_type.shape.dim[3].dim_value
    for name, kind in (("u8s8", QuantType.QUInt8), ("s8s8", QuantType.QInt8)):
        quantize_static(
            given, out / f"{name}.onnx", Pictures(channels), quant_format=QuantFormat.QDQ, per_channel=True,
            activation_type=kind, weight_type=QuantType.QInt8,
        )  # fmt: skip


if __name__ == "__main__":
    main()
