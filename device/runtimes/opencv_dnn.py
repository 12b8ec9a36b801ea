"""OpenCV's own DNN module: ONNX files without any further package."""

from pathlib import Path
from typing import Any

import cv2

from device.errors import BundleError
from device.frame import Tensor


class OpenCVDnn:
    """ONNX files through cv2.dnn. Thread count is OpenCV's own, one for the whole process."""

    def __init__(self, path: Path, threads: int) -> None:
        cv2.setNumThreads(threads)
        try:
            self._net: Any = cv2.dnn.readNetFromONNX(str(path))
        except cv2.error as error:
            raise BundleError(f"{path}: not an ONNX model that OpenCV can load ({_line(error)}); use another runtime") from error
        self._path = path

    def run(self, tensor: Tensor) -> Tensor:
        """See Runtime.run."""
        if self._net is None:
            raise BundleError(f"{self._path}: used after it was closed")
        try:
            self._net.setInput(tensor)
            return self._net.forward()
        except cv2.error as error:
            raise BundleError(
                f"{self._path}: does not take a {tensor.dtype} tensor of {tensor.shape} ({_line(error)})"
            ) from error

    def close(self) -> None:
        """See Runtime.close."""
        self._net = None


def _line(error: cv2.error) -> str:
    return " ".join(error.err.split())
