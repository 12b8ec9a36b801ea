"""ncnn: networks that `deblurkit export --ncnn` converted.

ncnn has two files, a text of layers and their weights. Ours is both in one: a ZIP archive, not compressed, which Python reads,
checks by its own sums, and any unzip takes apart for other programs: `unzip small_fp16.ncnn`.
"""

import re
import tempfile
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from device.errors import BundleError
from device.images.frame import Tensor

PARAM, BIN = "model.ncnn.param", "model.ncnn.bin"
"""What the archive holds: the text of layers, and their weights."""
_INPUT = re.compile(rb"^Input\s+\S+\s+0 1 \S+ 0=(\d+)$", re.MULTILINE)


class Ncnn:
    """Converted networks through ncnn. It keeps weights in half precision, and computes in it where the processor can."""

    def __init__(self, path: Path, threads: int) -> None:
        import ncnn

        param, weights = read_parts(path)
        found = _INPUT.search(param)
        if found is None:
            raise BundleError(f"{path}: its {PARAM} does not say how many channels go in (Input … 0=1); export it again")
        self._path, self._channels, self._mat = path, int(found[1]), ncnn.Mat
        self._net: Any = ncnn.Net()
        self._net.opt.num_threads = threads
        # From files, not from memory: of a file ncnn notices the end.
        with tempfile.TemporaryDirectory() as folder:
            for name, content in ((PARAM, param), (BIN, weights)):
                Path(folder, name).write_bytes(content)
            if self._net.load_param(str(Path(folder, PARAM))) or self._net.load_model(str(Path(folder, BIN))):
                raise BundleError(f"{path}: ncnn does not load it (it has said why on stderr); export or copy it again")
        self._ends = self._net.input_names()[0], self._net.output_names()[0]

    def run(self, tensor: Tensor) -> Tensor:
        """See Runtime.run."""
        if self._net is None:
            raise BundleError(f"{self._path}: used after it was closed")
        shape = tensor.shape
        # ncnn checks nothing, and reads beyond a picture that is too small.
        if tensor.dtype != np.float32 or tensor.ndim != 4 or shape[0] != 1 or shape[3] != self._channels or not tensor.size:
            expected = f"float32 of (1, height, width, {self._channels})"
            raise BundleError(f"{self._path}: does not take a {tensor.dtype} tensor of {shape}; expected {expected}")
        extractor = self._net.create_extractor()
        picture = np.ascontiguousarray(tensor[0])  # ncnn reads it where it lies
        failed = extractor.input(self._ends[0], self._mat(picture))
        if not failed:
            failed, made = extractor.extract(self._ends[1])
        if failed:
            raise BundleError(f"{self._path}: does not take a {tensor.dtype} tensor of {shape} (ncnn ended with {failed})")
        return np.array(made)[None]

    def close(self) -> None:
        """See Runtime.close."""
        self._net = None


def read_parts(path: Path) -> tuple[bytes, bytes]:
    """The archive's two files: layers and weights. Raises BundleError."""
    try:
        with zipfile.ZipFile(path) as archive:
            infos = archive.getinfo(PARAM), archive.getinfo(BIN)
            if any(info.compress_type != zipfile.ZIP_STORED for info in infos):
                raise zipfile.BadZipFile("compressed")  # no larger than the file, whoever made it
            return archive.read(infos[0]), archive.read(infos[1])
    except OSError as error:
        raise BundleError(f"{path}: {error.strerror}; export or copy it again") from error
    except (zipfile.BadZipFile, KeyError, RuntimeError, NotImplementedError) as error:
        raise BundleError(f"{path}: no archive with {PARAM} and {BIN} in it ({error}); export or copy it again") from error
