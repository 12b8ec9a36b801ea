"""OpenVINO on the CPU: ONNX and TFLite files."""

import importlib
import platform
import sys
from pathlib import Path
from typing import Any

from device.errors import BundleError
from device.images.frame import Tensor
from device.system import hardware

_TELEMETRY = "openvino_telemetry"


class OpenVINO:
    """ONNX and TFLite files through OpenVINO's CPU plugin. Each new size costs one compilation."""

    def __init__(self, path: Path, threads: int) -> None:
        openvino = _without_telemetry()
        try:
            self._core: Any = openvino.Core()
            self._model: Any = self._core.read_model(path)
            self._element = self._model.input(0).element_type.to_dtype()
            channels = self._model.input(0).partial_shape[3]
            self._channels = int(channels.get_length()) if channels.is_static else None
        except Exception as error:  # RuntimeError or its own errors, depending on the version
            raise BundleError(
                f"{path}: not an ONNX or TFLite model that OpenVINO can load ({_line(error)}); export or copy it again"
            ) from error
        if int8_overflows_here() and _computes_in_8_bits(self._model):
            raise BundleError(
                f"{path}: an 8-bit file, but this processor has no VNNI: OpenVINO's sums would overflow and spoil the picture; "
                "use --runtime litert or onnxruntime, or a float variant"
            )
        # By default OpenVINO computes every float file in bfloat16 if the processor has AMX (`small` is then 2 grey levels from
        # fp32, 60 dB), and in half precision on a Cortex-A76 (1 level, 70 dB). We compute in the precision of the file, but in
        # fp32 on x86, where half precision was slower (a Xeon with AVX512-FP16).
        half = platform.machine() == "aarch64" and _has_half_weights(self._model)
        half = half and "FP16" in self._core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
        self._options = {
            "INFERENCE_PRECISION_HINT": "f16" if half else "f32",
            "INFERENCE_NUM_THREADS": threads,
            "PERFORMANCE_HINT": "LATENCY",
            "NUM_STREAMS": 1,
        }
        self._path = path
        self._shape: tuple[int, ...] | None = None
        self._request: Any = None

    def run(self, tensor: Tensor) -> Tensor:
        """See Runtime.run."""
        if self._core is None:
            raise BundleError(f"{self._path}: used after it was closed")
        # OpenVINO would silently convert other types and shapes.
        if tensor.dtype != self._element or tensor.ndim != 4 or self._channels not in (None, tensor.shape[3]):
            expected = f"{self._element} of (1, height, width, {self._channels or 'channels'})"
            raise BundleError(f"{self._path}: does not accept a {tensor.dtype} tensor of {tensor.shape}; expected {expected}")
        try:
            if tensor.shape != self._shape:
                self._shape = self._request = None  # free the old one first: two compiled models need twice the memory
                self._model.reshape(list(tensor.shape))
                self._request = self._core.compile_model(self._model, "CPU", self._options).create_infer_request()
                self._shape = tensor.shape
            self._request.infer({0: tensor}, share_inputs=True)
            return self._request.get_output_tensor(0).data.copy()
        except Exception as error:
            raise BundleError(
                f"{self._path}: does not accept a {tensor.dtype} tensor of {tensor.shape} ({_line(error)})"
            ) from error

    def close(self) -> None:
        """See Runtime.close."""
        self._core = self._model = self._request = None


def _without_telemetry() -> Any:
    """Import openvino without its telemetry, which at import reports to a server and writes into the home folder.

    If the telemetry package cannot be imported, OpenVINO uses its own stub.
    """
    if "openvino" in sys.modules:
        return importlib.import_module("openvino")
    before = sys.modules.get(_TELEMETRY)
    sys.modules[_TELEMETRY] = None  # type: ignore[assignment]
    try:
        return importlib.import_module("openvino")
    finally:
        del sys.modules[_TELEMETRY]
        if before is not None:
            sys.modules[_TELEMETRY] = before


def int8_overflows(machine: str, features: tuple[str, ...]) -> bool:
    """Whether 8-bit products are added in 16 bits: x86 without VNNI (the "saturation issue" in OpenVINO's documentation).

    Measured: `small` int8 is 29 dB from fp32 on an AMD EPYC with AVX2, 44 dB on a Xeon with VNNI.
    """
    return machine == "x86_64" and not {"avx512_vnni", "avx_vnni", "amx_int8"}.intersection(features)


def int8_overflows_here() -> bool:
    """`int8_overflows` for this processor."""
    return int8_overflows(platform.machine(), hardware.features())


def _computes_in_8_bits(model: Any) -> bool:
    """Whether activations are quantised too, not only weights as in a `dynamic` file."""
    return any(op.get_type_name() == "FakeQuantize" for op in model.get_ops())


def _has_half_weights(model: Any) -> bool:
    """Whether the weights are in half precision."""
    constants = (op for op in model.get_ops() if op.get_type_name() == "Constant")
    return any(op.get_element_type().get_type_name() == "f16" and op.get_byte_size() > 2 for op in constants)


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:300]
