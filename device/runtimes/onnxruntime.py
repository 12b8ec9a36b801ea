"""ONNX Runtime on the CPU."""

from pathlib import Path
from typing import Any

from device.errors import BundleError
from device.images.frame import Tensor


class OnnxRuntime:
    """ONNX files through ONNX Runtime's CPU provider."""

    def __init__(self, path: Path, threads: int) -> None:
        import onnxruntime

        try:
            self._session: Any = onnxruntime.InferenceSession(
                str(path), session_options(threads), providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # its exceptions have no other common base class
            raise BundleError(f"{path}: not an ONNX model that can be loaded ({error}); export or copy it again") from error
        self._path, self._input = path, self._session.get_inputs()[0].name

    def run(self, tensor: Tensor) -> Tensor:
        """See Runtime.run."""
        if self._session is None:
            raise BundleError(f"{self._path}: used after it was closed")
        try:
            return self._session.run(None, {self._input: tensor})[0]
        except Exception as error:
            raise BundleError(f"{self._path}: does not accept a {tensor.dtype} tensor of {tensor.shape} ({error})") from error

    def close(self) -> None:
        """See Runtime.close."""
        self._session = None


def session_options(threads: int) -> Any:
    """The onnxruntime.SessionOptions for every ONNX file that deblurkit runs."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    # Idle threads sleep instead of spinning: capture and output need the cores between frames.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    # x86 without VNNI adds two U8S8 products in 16 bits, which overflow: `small` int8 is then 29 dB from fp32 instead of 42.
    # This setting selects other kernels there (a third slower) and changes nothing elsewhere.
    options.add_session_config_entry("session.x64quantprecision", "1")
    return options
