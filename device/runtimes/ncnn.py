"""ncnn: networks that `deblurkit export --ncnn` converted.

ncnn uses two files: the layers as text, and their weights. Ours is one file, an uncompressed ZIP archive of both: Python reads
it and checks its checksums, and `unzip small_fp16.ncnn` extracts the two files for other programs.
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
"""The entries of the archive: the layers as text, and their weights."""
_INPUT = re.compile(rb"^Input\s+\S+\s+0 1 \S+ 0=(\d+)$", re.MULTILINE)


class Ncnn:
    """Converted networks through ncnn. Weights are in half precision; ncnn computes in it if the processor can."""

    def __init__(self, path: Path, threads: int) -> None:
        import ncnn

        param, weights = read_parts(path)
        channels = _INPUT.search(param)
        if channels is None:
            raise BundleError(f"{path}: its {PARAM} does not give the number of input channels (Input … 0=1); export it again")
        self._path, self._channels, self._mat = path, int(channels[1]), ncnn.Mat
        self._net: Any = ncnn.Net()
        self._net.opt.num_threads = threads
        # From files, not from memory: only in a file does ncnn notice a premature end.
        with tempfile.TemporaryDirectory() as folder:
            for name, content in ((PARAM, param), (BIN, weights)):
                Path(folder, name).write_bytes(content)
            if self._net.load_param(str(Path(folder, PARAM))) or self._net.load_model(str(Path(folder, BIN))):
                raise BundleError(f"{path}: ncnn cannot load it (the reason is on stderr); export or copy it again")
        self._input_and_output = self._net.input_names()[0], self._net.output_names()[0]

    def run(self, tensor: Tensor) -> Tensor:
        """See Runtime.run."""
        if self._net is None:
            raise BundleError(f"{self._path}: used after it was closed")
        shape = tensor.shape
        # ncnn checks nothing and would read beyond a tensor that is too small.
        if tensor.dtype != np.float32 or tensor.ndim != 4 or shape[0] != 1 or shape[3] != self._channels or not tensor.size:
            expected = f"float32 of (1, height, width, {self._channels})"
            raise BundleError(f"{self._path}: does not accept a {tensor.dtype} tensor of {shape}; expected {expected}")
        extractor = self._net.create_extractor()
        picture = np.ascontiguousarray(tensor[0])  # ncnn reads it in place
        error_code = extractor.input(self._input_and_output[0], self._mat(picture))
        if not error_code:
            error_code, output = extractor.extract(self._input_and_output[1])
        if error_code:
            raise BundleError(f"{self._path}: does not accept a {tensor.dtype} tensor of {shape} (ncnn returned {error_code})")
        return np.array(output)[None]

    def close(self) -> None:
        """See Runtime.close."""
        self._net = None


def read_parts(path: Path) -> tuple[bytes, bytes]:
    """The two entries of the archive: layers and weights. Raises BundleError."""
    try:
        with zipfile.ZipFile(path) as archive:
            infos = archive.getinfo(PARAM), archive.getinfo(BIN)
            if any(info.compress_type != zipfile.ZIP_STORED for info in infos):
                raise zipfile.BadZipFile("compressed")  # so its entries are never larger than the file
            return archive.read(infos[0]), archive.read(infos[1])
    except OSError as error:
        raise BundleError(f"{path}: {error.strerror}; export or copy it again") from error
    except (zipfile.BadZipFile, KeyError, RuntimeError, NotImplementedError) as error:
        raise BundleError(f"{path}: not an archive with {PARAM} and {BIN} ({error}); export or copy it again") from error
