"""tflite-runtime, the predecessor of LiteRT, for environments that still have it (Python 3.11 and older, numpy 1)."""

from pathlib import Path

from device.runtimes.litert import TFLiteInterpreter


class TFLiteRuntime(TFLiteInterpreter):
    """TFLite files through tflite-runtime."""

    def __init__(self, path: Path, threads: int) -> None:
        from tflite_runtime.interpreter import Interpreter

        super().__init__(Interpreter, path, threads)
