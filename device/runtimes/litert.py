"""LiteRT (ai-edge-litert): TFLite files on XNNPACK. The default."""

from pathlib import Path
from typing import Any

from device.errors import BundleError
from device.images.frame import Tensor


class TFLiteInterpreter:
    """The interpreter API that LiteRT and its predecessor share. Each new size costs one resize and allocation."""

    def __init__(self, interpreter_class: Any, path: Path, threads: int) -> None:
        try:
            self._interpreter = interpreter_class(model_path=str(path), num_threads=threads)
            self._input = self._interpreter.get_input_details()[0]["index"]
            self._output = self._interpreter.get_output_details()[0]["index"]
        except (ValueError, RuntimeError) as error:
            raise BundleError(f"{path}: not a TFLite model that can be loaded ({error}); export or copy it again") from error
        self._path = path
        self._shape: tuple[int, ...] | None = None

    def run(self, tensor: Tensor) -> Tensor:
        """See Runtime.run."""
        if self._interpreter is None:
            raise BundleError(f"{self._path}: used after it was closed")
        try:
            if tensor.shape != self._shape:
                self._shape = None  # a size that fails must be allocated again by the next call
                if tuple(self._interpreter.get_input_details()[0]["shape"]) != tensor.shape:
                    self._interpreter.resize_tensor_input(self._input, tensor.shape, strict=False)
                self._interpreter.allocate_tensors()
                self._shape = tensor.shape
            self._interpreter.set_tensor(self._input, tensor)
            self._interpreter.invoke()
            return self._interpreter.get_tensor(self._output)
        except (ValueError, RuntimeError) as error:
            raise BundleError(f"{self._path}: does not accept a {tensor.dtype} tensor of {tensor.shape} ({error})") from error

    def close(self) -> None:
        """See Runtime.close."""
        self._interpreter = None


class LiteRT(TFLiteInterpreter):
    """TFLite files through ai-edge-litert."""

    def __init__(self, path: Path, threads: int) -> None:
        from ai_edge_litert.interpreter import Interpreter

        super().__init__(Interpreter, path, threads)
