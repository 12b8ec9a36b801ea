"""OpenCV's DNN module: ONNX files without another package."""

from pathlib import Path
from typing import Any

import cv2
import numpy as np

from device.errors import BundleError
from device.images.frame import Tensor


class OpenCVDnn:
    """ONNX files through cv2.dnn. The number of threads is a setting of OpenCV for the whole process."""

    def __init__(self, path: Path, threads: int) -> None:
        cv2.setNumThreads(threads)
        try:
            # OpenCV 5.0's new engine silently computes `small` wrongly (50 grey levels off); its classic engine is correct.
            engine = [cv2.dnn.ENGINE_CLASSIC] if hasattr(cv2.dnn, "ENGINE_CLASSIC") else []
            self._net: Any = cv2.dnn.readNetFromONNX(str(path), *engine)
        except cv2.error as error:
            raise BundleError(f"{path}: not an ONNX model that OpenCV can load ({_line(error)}); use another runtime") from error
        self._path = path

    def run(self, tensor: Tensor) -> Tensor:
        """See Runtime.run."""
        if self._net is None:
            raise BundleError(f"{self._path}: used after it was closed")
        if tensor.dtype != np.float32:  # the classic engine would accept bytes and compute something else
            raise BundleError(f"{self._path}: does not accept a {tensor.dtype} tensor of {tensor.shape}; expected float32")
        try:
            self._net.setInput(tensor)
            return self._net.forward()
        except cv2.error as error:
            raise BundleError(
                f"{self._path}: does not accept a {tensor.dtype} tensor of {tensor.shape} ({_line(error)})"
            ) from error

    def close(self) -> None:
        """See Runtime.close."""
        self._net = None


def _line(error: cv2.error) -> str:
    return " ".join(error.err.split())
