"""Layer sensitivity: which layers of an int8 file lose the quality."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import onnxruntime

from device.images.quality import mean_psnr, psnr
from device.runtimes.onnxruntime import session_options
from export.quantised_onnx import QuantisedOnnx

_THREADS = 2


@dataclass(frozen=True)
class LayerSensitivity:
    """What 8 bits cost in one layer."""

    layer: str
    operator: str
    """Conv, Add, ...; `Input` for the picture itself."""
    low: float
    high: float
    """The smallest and the largest value that its 8-bit output can hold."""
    alone_db: float
    """PSNR that the restored pictures lose when only this layer's weights and output are 8-bit."""
    back_db: float
    """PSNR that the int8 file gains when only this layer is in float."""
    alone_parity_db: float
    """PSNR between the outputs in fp32 and those with only this layer in 8 bits: any change counts, for better or worse."""


def layer_sensitivities(file: QuantisedOnnx, tensors: np.ndarray, sharp: np.ndarray) -> list[LayerSensitivity]:
    """Every 8-bit layer of `file`, worst first, by `alone_parity_db`.

    `tensors` (n, h, w, c) float32 are the inputs, `sharp`, of the output's shape, the ideal outputs; 0..1. Raises ExportError.
    """

    def restored(model: bytes) -> np.ndarray:
        return np.clip(np.concatenate(list(_run(model, tensors))), 0, 1)

    exact = restored(file.fp32)
    float_db, int8_db = mean_psnr(exact, sharp, 1.0), mean_psnr(restored(file.int8), sharp, 1.0)
    losses = []
    for name, layer in file.layers.items():
        alone = restored(file.in_float(file.layers.keys() - {name}))
        back_db = mean_psnr(restored(file.in_float({name})), sharp, 1.0) - int8_db
        alone_db = float_db - mean_psnr(alone, sharp, 1.0)
        low, high = layer.range or (0.0, 0.0)
        losses.append(LayerSensitivity(name, layer.operator, low, high, alone_db, back_db, psnr(alone, exact, 1.0)))
    return sorted(losses, key=lambda loss: loss.alone_parity_db)


def describe(losses: Sequence[LayerSensitivity], most: int = 5) -> list[str]:
    """A sentence for each of the first `most` layers."""
    return [
        f"{loss.layer} ({loss.operator}): alone loses {decibels(loss.alone_db)}, in float brings back {decibels(loss.back_db)}; "
        f"holds {range_text(loss)}; alone {loss.alone_parity_db:.0f} dB from fp32"
        for loss in losses[:most]
    ]


def decibels(value: float) -> str:
    """Such as "0.12 dB"."""
    return f"{round(value, 2) + 0.0:.2f} dB"  # no -0.00


def range_text(loss: LayerSensitivity) -> str:
    """Such as "-1.5..2"."""
    return f"{loss.low:.4g}..{loss.high:.4g}"


def _run(model: bytes, tensors: np.ndarray) -> Iterator[np.ndarray]:
    """The outputs of a file, picture by picture."""
    session = onnxruntime.InferenceSession(model, session_options(_THREADS), providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    for tensor in tensors:
        yield session.run(None, {name: tensor[None]})[0]
