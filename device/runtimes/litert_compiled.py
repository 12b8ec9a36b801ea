"""LiteRT's newer interface, CompiledModel: the same TFLite files on the same XNNPACK, with its own buffers."""

import ctypes
import math
import platform
from pathlib import Path
from typing import Any

import numpy as np

from device.bundle.embedded import read_contract
from device.errors import BundleError, RuntimeMissing
from device.images.frame import Tensor
from device.system.console import quiet_stdio

_AT_HWCAP, _HWCAP_ATOMICS = 16, 1 << 8  # Linux, include/uapi/linux/auxvec.h and arch/arm64/include/uapi/asm/hwcap.h


class LiteRTCompiled:
    """TFLite files through ai-edge-litert's CompiledModel. Each new size needs new buffers.

    The library prints which libraries it tries, and no setting prevents that: models and buffers are created with stderr
    redirected. Two lines that it prints at the end of the process remain.
    """

    def __init__(self, path: Path, threads: int) -> None:
        if _lacks_atomics():
            raise RuntimeMissing(
                "the runtime litert_compiled does not run on this processor: its library ends the process if Arm's atomic "
                "instructions (LSE) are missing, as in the Cortex-A72 of a Raspberry Pi 4; use --runtime litert"
            )
        import ai_edge_litert
        from ai_edge_litert.compiled_model import CompiledModel
        from ai_edge_litert.environment import Environment
        from ai_edge_litert.options import CpuOptions, Options

        read_contract(path)  # raises for a damaged file; CompiledModel would end the process
        folder = str(ai_edge_litert.__path__[0])
        try:
            with quiet_stdio():
                # Without these two it looks for vendor libraries and would compile for an Intel accelerator.
                environment = Environment.create(compiler_plugin_path=folder, dispatch_library_path=folder)
                options = Options(cpu_options=CpuOptions(num_threads=threads))
                self._model: Any = CompiledModel.from_file(str(path), environment=environment, options=options)
                signature = next(iter(self._model.get_signature_list()))
                model_input = next(iter(self._model.get_input_tensor_details(signature).values()))
                model_output = next(iter(self._model.get_output_tensor_details(signature).values()))
        except (ValueError, RuntimeError, StopIteration) as error:
            raise BundleError(f"{path}: not a TFLite model that can be loaded ({error}); export or copy it again") from error
        self._path = path
        self._input_dtype, self._output_dtype = np.dtype(model_input["dtype"]), np.dtype(model_output["dtype"])
        self._channels, self._channels_out = int(model_input["shape"][-1]), int(model_output["shape"][-1])
        self._shape: tuple[int, ...] | None = None
        self._buffers: Any = None

    def run(self, tensor: Tensor) -> Tensor:
        """See Runtime.run."""
        if self._model is None:
            raise BundleError(f"{self._path}: used after it was closed")
        if tensor.dtype != self._input_dtype or tensor.ndim != 4 or tensor.shape[3] != self._channels:
            expected = f"{self._input_dtype} of (1, height, width, {self._channels})"
            raise BundleError(f"{self._path}: does not accept a {tensor.dtype} tensor of {tensor.shape}; expected {expected}")
        try:
            if tensor.shape != self._shape:
                self._shape = None
                self._model.resize_input_tensor(0, list(tensor.shape), strict=False)
                self._buffers = self._model.create_input_buffers(0), self._model.create_output_buffers(0)
                with quiet_stdio():  # the first write in a process initialises what the buffers share
                    self._buffers[0][0].write(tensor)
                self._shape = tensor.shape
            inputs, outputs = self._buffers
            inputs[0].write(tensor)
            self._model.run_by_index(0, inputs, outputs)
            made = *tensor.shape[:3], self._channels_out
            return outputs[0].read(math.prod(made), self._output_dtype.type).reshape(made)
        except (ValueError, RuntimeError) as error:
            raise BundleError(f"{self._path}: does not accept a {tensor.dtype} tensor of {tensor.shape} ({error})") from error

    def close(self) -> None:
        """See Runtime.close."""
        with quiet_stdio():
            self._buffers = self._model = None


def _lacks_atomics() -> bool:
    """Whether this is an Arm processor without LSE atomics (older than Armv8.1)."""
    if platform.machine() != "aarch64":
        return False
    getauxval = ctypes.CDLL(None).getauxval
    getauxval.restype = ctypes.c_ulong
    return not getauxval(ctypes.c_ulong(_AT_HWCAP)) & _HWCAP_ATOMICS
