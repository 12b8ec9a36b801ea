"""tflite-runtime, LiteRT's predecessor: for environments that still have it (Python 3.11 and older, numpy 1)."""

from pathlib import Path

import numpy as np

from device.errors import RuntimeMissing
from device.runtimes.litert import TFLiteInterpreter


class TFLiteRuntime(TFLiteInterpreter):
    """TFLite files through tflite-runtime."""

    def __init__(self, path: Path, threads: int) -> None:
        if int(np.__version__.split(".")[0]) >= 2:  # it would import, and then raise SystemError
            raise RuntimeMissing(f"tflite-runtime needs numpy 1, this environment has {np.__version__}; pip install 'numpy<2'")
        from tflite_runtime.interpreter import Interpreter

        super().__init__(Interpreter, path, threads)
