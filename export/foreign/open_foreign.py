"""Open somebody else's network, whatever kind of file it is in."""

from collections.abc import Callable, Sequence
from pathlib import Path

from device.errors import BundleError
from device.images.degrade import BLURS
from export.export_source import ExportSource, Pictures
from export.foreign.declared import FORMS, LIMIT, Declared
from export.pictures import CALIBRATION_PICTURES, JUDGED_PICTURES, calibration_folder, make_pictures, spread
from train.photographs import Photograph, load_photographs, package_photographs
from train.split import scene_groups, split

_HELD_OUT = 0.2  # of the photographs, as in training
_PYTORCH = "; such files can carry code and hold no graph: load it in its own environment and export it to ONNX"
_WAYS = {
    ".h5": "; load it in its own environment with its own Keras and save it as .keras",
    ".hdf5": "; load it in its own environment with its own Keras and save it as .keras",
    ".pt": _PYTORCH, ".pth": _PYTORCH, ".ckpt": _PYTORCH, ".pkl": _PYTORCH,
    ".safetensors": "; it holds weights only: load them into their network and export that to ONNX",
    ".pb": "; give the folder that holds it",
}  # fmt: skip


def open_foreign(
    path: Path, declared: Declared, pictures: Callable[[int, int], Pictures], size: tuple[int, int] | None = None
) -> ExportSource:
    """The network in `path` (.keras, a SavedModel's folder, .onnx or .tflite), ready to be exported.

    `pictures` is called once, with a height and width: those of `size`, of the only pictures that the network takes, or the
    default. Raises BundleError, before anything of the network is run, for a file that may carry code or is damaged; and for a
    network that does not turn one picture into one picture of the same size. Raises UsageError for a `size` that the network
    cannot have, or where it needs one.
    """
    if path.is_dir():
        from export.foreign.keras_source import KerasSource
        from export.foreign.saved_model import open_saved_model

        return KerasSource(path, declared, pictures, size, open_saved_model(path))
    if not path.is_file():
        raise BundleError(f"{path}: no such file; give {FORMS}")
    kind = path.suffix.lower()
    if kind not in (".keras", ".onnx", ".tflite"):
        raise BundleError(f"{path}: {kind or 'a file without a suffix'} is not accepted, expected {FORMS}{_WAYS.get(kind, '')}")
    if path.stat().st_size > LIMIT:
        raise BundleError(f"{path}: {path.stat().st_size} bytes, expected at most {LIMIT}; give a smaller network")
    match kind:
        case ".keras":
            from export.foreign.keras_file import open_keras
            from export.foreign.keras_source import KerasSource

            return KerasSource(path, declared, pictures, size, open_keras(path))
        case ".onnx":
            from export.foreign.onnx_source import OnnxSource

            return OnnxSource(path, declared, pictures, size)
    from export.foreign.tflite_source import TfliteSource

    return TfliteSource(path, declared, pictures, size)


def open_with_photographs(
    path: Path,
    declared: Declared,
    data: Path | None,
    calibration: Path | None,
    blur: str,
    size: tuple[int, int] | None,
) -> ExportSource:
    """The network in `path`, with pictures from the photographs in `data`, or else from scikit-image's.

    A fifth of the photographs, at least two, is held out to judge the files by. `calibration` is a folder of other photographs
    to calibrate on, instead of the rest. `blur` is one of BLURS. Raises as `open_foreign` does, and DataError.
    """

    def pictures(height: int, width: int) -> Pictures:
        photographs: Sequence[Photograph] = load_photographs(data, 32) if data else package_photographs()
        share = max(_HELD_OUT, 2 / len(photographs))
        rest, held_out = split(photographs, share, 0, scene_groups(photographs))
        judged = spread(held_out, JUDGED_PICTURES)
        return make_pictures(
            calibration_folder(calibration, judged) if calibration else spread(rest, CALIBRATION_PICTURES),
            judged,
            BLURS[blur],
            declared.colour,
            (height, width),
            whole=False,
            multiple=declared.pad_multiple,
            seed=0,
            described="photographs held out",
        )

    return open_foreign(path, declared, pictures, size)
