"""Pictures for the quantiser and for the gate, through the run's own degradations; ranges of 8-bit tensors from them."""

import logging
import re
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import cv2
import numpy as np
import onnx

from device.bundle.manifest import TensorSpec
from device.errors import DataError, ExportError
from device.images.degrade import KINDS, CameraBlur, to_pixels
from device.images.frame import Pixels
from device.restore.pixel_codec import PixelCodec
from device.system.console import quiet_stdio
from export.export_source import Pictures
from train.batches import Batch, fixed_pairs
from train.photographs import FilePhotograph, MemoryPhotograph, Photograph, load_photographs, read_named
from train.quantise import Ranges
from train.run_folder import RunRecord

CALIBRATION_PICTURES = 48  # a choice, not measured: how many are enough is still to be found
JUDGED_PICTURES = 24
DRAWS = 2
"""Blurs drawn for each judged picture."""
Item = TypeVar("Item")
METHODS = {"minmax": "MinMax", "percentile": "Percentile", "entropy": "Entropy"}
"""Ours -> ONNX Runtime's name."""
PERCENTILE = 99.99  # of a tensor's values, from both ends (ONNX Runtime's histogram)
log = logging.getLogger(__name__)


def pictures_of(record: RunRecord, folder: Path | None, height: int, width: int) -> Pictures:
    """What a run's files are calibrated and judged on, `height` x `width` pixels.

    Calibration: from `folder` or the run's training pictures, blurred as in training; never the held-out ones. Judged: the
    run's validation pictures, all of them blurred. Raises DataError.
    """
    architecture = record.parse_architecture()
    held_out = _read(record, spread(record.data.validation, JUDGED_PICTURES))
    training = calibration_folder(folder, held_out) if folder else _read(record, spread(record.data.train, CALIBRATION_PICTURES))
    return make_pictures(
        training,
        held_out,
        record.blur,
        architecture.colour,
        (height, width),
        whole=architecture.fixed_hw is not None,
        multiple=architecture.pad_multiple,
        seed=record.seed,
        described=f"validation pictures of {'the scikit-image package' if record.data.kind == 'package' else record.data.kind}",
    )


def make_pictures(
    training: Sequence[Photograph],
    held_out: Sequence[Photograph],
    blur: CameraBlur,
    colour: str,
    size: tuple[int, int],
    *,
    whole: bool,
    multiple: int,
    seed: int,
    described: str,
) -> Pictures:
    """Blur photographs into pictures of `size` (height, width): their middle, or (`whole`) all of each, resized.

    A ramp from black to white comes first among those for calibration, so that input and output span exactly 0..1 and
    their scale is 1/255.
    """
    height, width = size

    def pairs(pictures: Sequence[Photograph], blur: CameraBlur, seed: int) -> Batch:
        side = max(height, width)
        if not whole:
            pictures = [
                MemoryPhotograph(p.name, *(_filled(v, side) for v in (p.sharp, p.blurred) if v is not None)) for p in pictures
            ]
        blurred, sharp = fixed_pairs(pictures, blur, side=side, whole=whole, multiple=multiple, seed=seed)
        return blurred[:, :height, :width], sharp[:, :height, :width]

    blurred, _ = pairs(training, blur, seed + 7)
    ramp = np.linspace(0, 1, width, dtype=np.float32)[None, :, None] * np.ones((height, 1, 3), np.float32)
    inputs = [network_input(picture, colour) for picture in (ramp, *blurred)]
    draws = 1 if any(p.blurred is not None for p in held_out) else DRAWS
    judged, sharp = pairs([p for p in held_out for _ in range(draws)], always_blurred(blur), seed)
    times = f", {draws} blurs each" if draws > 1 else ""
    return Pictures(inputs, judged, sharp, f"{len(held_out)} {described}{times}, {width}x{height}")


def always_blurred(blur: CameraBlur) -> CameraBlur:
    """The same mixture without its sharp pictures: those would hide in a mean what 8 bits cost the blurred ones."""
    odds = [0.0 if kind == "sharp" else share for kind, share in zip(KINDS, blur.odds, strict=True)]
    return replace(blur, odds=tuple(share / sum(odds) for share in odds)) if sum(odds) else blur


def network_input(picture: np.ndarray, colour: str) -> np.ndarray:
    """(h, w, 3) in 0..1 -> (1, h, w, 3 or 1) float32, through the codec that the board uses."""
    plain = TensorSpec("", "float32")
    return PixelCodec(plain, plain, colour).to_tensor(to_pixels(picture))


def layer_ranges(graph: onnx.ModelProto, layers: Iterable[str], tensors: Sequence[np.ndarray], method: str) -> Ranges:
    """The ranges of layers' outputs by `percentile` or `entropy`, as ONNX Runtime chooses them. Raises ExportError."""
    from onnxruntime.quantization.calibrate import CalibrationMethod, create_calibrator

    options = {"percentile": PERCENTILE} if method == "percentile" else {}
    with tempfile.TemporaryDirectory() as folder:
        given, augmented = (str(Path(folder, name)) for name in ("given.onnx", "augmented.onnx"))
        onnx.save(graph, given)
        try:
            with quiet_stdio():
                calibrator = create_calibrator(
                    given, None, augmented, calibrate_method=CalibrationMethod[METHODS[method]], extra_options=options
                )
                for first in range(0, len(tensors), 8):  # what it keeps of a picture until it counts is large
                    calibrator.collect_data(Reader(graph.graph.input[0].name, tensors[first : first + 8]))
                found = calibrator.compute_data()
        except Exception as error:  # ONNX Runtime raises plain exceptions of many kinds
            raise ExportError(f"calibration by {method} failed: {error}") from error
    ranges = {layer: found[output_of(graph, layer)].range_value for layer in layers}
    return {layer: (min(float(low), 0.0), max(float(high), 0.0)) for layer, (low, high) in ranges.items()}


def output_of(graph: onnx.ModelProto, layer: str) -> str:
    """The tensor that a layer puts out. Raises ExportError where the converter left no operator of it."""
    made_by = [node for node in graph.graph.node if re.search(rf"(^|/){re.escape(layer)}(_\d+)?/", node.name)]
    if not made_by:
        raise ExportError(f"ONNX int8: tf2onnx left no operator of the layer {layer!r}, so its range has no place")
    return str(made_by[-1].output[0])


class Reader:
    """Feeds ONNX Runtime's calibrators, one tensor at a time."""

    def __init__(self, name: str, tensors: Iterable[np.ndarray]) -> None:
        self._name, self._tensors = name, iter(tensors)

    def get_next(self) -> dict[str, np.ndarray] | None:
        """The next tensor by the name of the graph's input; None at the end."""
        tensor = next(self._tensors, None)
        return None if tensor is None else {self._name: tensor}

    def __iter__(self) -> Iterator[dict[str, np.ndarray]]:
        return iter(self.get_next, None)  # type: ignore[arg-type]


def calibration_folder(folder: Path, held_out: Sequence[Photograph]) -> list[FilePhotograph]:
    """Photographs to calibrate on. Raises DataError where they are flat, or some are held out to judge the files by."""
    pictures = load_photographs(folder, 32)
    judged = {_content(p.sharp): p.name for p in held_out}
    same = {p.name: judged[content] for p in pictures if (content := _content(p.sharp)) in judged}
    if same:
        name, of_run = next(iter(same.items()))
        raise DataError(
            f"{folder}: {len(same)} of its pictures are held out to judge the files by ({name} is {of_run}); "
            "calibrate on other photographs"
        )
    chosen = spread(pictures, CALIBRATION_PICTURES)
    if all(np.ptp(p.sharp) < _FLAT for p in chosen):
        raise DataError(f"{folder}: {len(chosen)} flat pictures; expected photographs, with dark and bright parts")
    return chosen


_FLAT = 16  # levels of 8 bits between the darkest and the brightest value


def _content(pixels: Pixels) -> bytes:
    return pixels.shape[0].to_bytes(4, "big") + pixels.tobytes()


def _filled(pixels: Pixels, side: int) -> Pixels:
    """A picture smaller than `side` is mirrored at its borders until it fills it: converters want one size."""
    below, beside = (max(0, side - length) for length in pixels.shape[:2])
    return cv2.copyMakeBorder(pixels, 0, below, 0, beside, cv2.BORDER_REFLECT)  # type: ignore[return-value]


def spread(items: Sequence[Item], most: int) -> list[Item]:
    """At most `most` of them, evenly over the list, so that every folder is met."""
    chosen = np.linspace(0, len(items) - 1, min(most, len(items))).round().astype(int)
    return [items[i] for i in chosen]


def _read(record: RunRecord, names: list[str]) -> list[MemoryPhotograph]:
    try:
        return read_named(record.data.kind, record.data.folders, tuple(names))
    except DataError as error:
        raise DataError(f"the run's own pictures are needed to calibrate and to compare: {error}") from error
