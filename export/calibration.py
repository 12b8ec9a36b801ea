"""Ranges of 8-bit tensors, from the values that they hold for calibration pictures."""

import re
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
import onnx

from device.errors import ExportError
from device.system.console import quiet_stdio
from train.quantise import Ranges

METHODS = {"minmax": "MinMax", "percentile": "Percentile", "entropy": "Entropy"}
"""Our names -> ONNX Runtime's."""
PERCENTILE = 99.99  # of a tensor's values, from both ends (ONNX Runtime's histogram)


def layer_ranges(graph: onnx.ModelProto, layers: Iterable[str], tensors: Sequence[np.ndarray], method: str) -> Ranges:
    """The ranges of the outputs of `layers` by `percentile` or `entropy`, as ONNX Runtime chooses them. Raises ExportError."""
    from onnxruntime.quantization.calibrate import CalibrationMethod, create_calibrator

    options = {"percentile": PERCENTILE} if method == "percentile" else {}
    with tempfile.TemporaryDirectory() as folder:
        original, augmented = (str(Path(folder, name)) for name in ("original.onnx", "augmented.onnx"))
        onnx.save(graph, original)
        try:
            with quiet_stdio():
                calibrator = create_calibrator(
                    original, None, augmented, calibrate_method=CalibrationMethod[METHODS[method]], extra_options=options
                )
                for first in range(0, len(tensors), 8):  # the calibrator keeps every tensor of a picture until it counts
                    calibrator.collect_data(Reader(graph.graph.input[0].name, tensors[first : first + 8]))
                computed = calibrator.compute_data()
        except Exception as error:  # ONNX Runtime raises plain exceptions of many kinds
            raise ExportError(f"calibration by {method} failed: {error}") from error
    ranges = {layer: computed[output_of(graph, layer)].range_value for layer in layers}
    return {layer: (min(float(low), 0.0), max(float(high), 0.0)) for layer, (low, high) in ranges.items()}


def output_of(graph: onnx.ModelProto, layer: str) -> str:
    """The output tensor of a layer. Raises ExportError where the converter left no operator of it."""
    nodes = [node for node in graph.graph.node if re.search(rf"(^|/){re.escape(layer)}(_\d+)?/", node.name)]
    if not nodes:
        raise ExportError(f"ONNX int8: tf2onnx left no operator of the layer {layer!r}, so its range has nowhere to go")
    return str(nodes[-1].output[0])


class Reader:
    """Gives ONNX Runtime's calibrators one tensor at a time."""

    def __init__(self, name: str, tensors: Iterable[np.ndarray]) -> None:
        self._name, self._tensors = name, iter(tensors)

    def get_next(self) -> dict[str, np.ndarray] | None:
        """The next tensor by the name of the graph's input; None at the end."""
        tensor = next(self._tensors, None)
        return None if tensor is None else {self._name: tensor}

    def __iter__(self) -> Iterator[dict[str, np.ndarray]]:
        return iter(self.get_next, None)  # type: ignore[arg-type]
