"""A TFLite file, exported unchanged."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from device.errors import BundleError, ExportError
from device.system.console import quiet_stdio
from export import to_tflite
from export.export_source import Calibration, Pictures
from export.foreign.declared import Declared
from export.foreign.interface import NOT_A_PICTURE, check_output, chosen_size, first_line, manifest_of, shown
from export.foreign.tflite_file import checked_tflite, tflite_macs, tflite_outputs


class TfliteSource:
    """See ExportSource. Offers the file unchanged."""

    weights: Path | None = None
    layers: tuple[str, ...] = ()

    def __init__(
        self, path: Path, declared: Declared, pictures: Callable[[int, int], Pictures], size: tuple[int, int] | None
    ) -> None:
        """Raises as `open_foreign` does."""
        if declared.scaled:
            raise BundleError(
                f"{path}: --range {declared.value_range[0]:g}..{declared.value_range[1]:g}, but a TFLite file is not converted "
                "again and its pictures are 0..1; put the scaling into the model first, or give its .keras or ONNX file"
            )
        self._data = path.read_bytes()
        variant, parameters, shapes = checked_tflite(path, self._data)
        self.size, fixed = chosen_size(path, declared, shapes[0], size)
        if len(shapes[1]) != 4 or shapes[1][3] not in (None, declared.channels):
            raise BundleError(
                f"{path}: makes {shown(shapes[1])}, expected (1, height, width, {declared.channels}); {NOT_A_PICTURE}"
            )
        self.offers = (("tflite", variant),)
        try:
            with quiet_stdio():
                self._specs = to_tflite.tflite_specs(self._data)
        except (ValueError, RuntimeError) as error:
            raise BundleError(f"{path}: LiteRT does not load it ({first_line(error)}); convert or copy it again") from error
        for spec in self._specs:
            if spec.dtype != "float32" and (spec.dtype not in ("int8", "uint8") or spec.scale <= 0):
                raise BundleError(
                    f"{path}: {spec.name} is {spec.dtype}, expected float32, or 8 bits with a scale; convert it that way"
                )
        check_output(path, declared, fixed, self.reference)
        self.manifest = manifest_of(path, declared, fixed, parameters, tflite_macs(self._data, self.size))
        self.pictures = pictures(*self.size)

    def reference(self, tensors: np.ndarray) -> np.ndarray:
        """See ExportSource.reference. Runs the file itself."""
        return tflite_outputs(self._data, self._specs, tensors)

    def calibrations(self, format_: str) -> list[Calibration]:
        """See ExportSource.calibrations. Empty: a file of 8 bits is already calibrated."""
        return []

    def convert(self, format_: str, variant: str, calibration: Calibration | None, in_float: Sequence[str] = ()) -> bytes:
        """See ExportSource.convert."""
        if (format_, variant) not in self.offers:
            raise ExportError(f"this TFLite file cannot become a {variant} {format_} file; it can become {self.offers}")
        return self._data

    def fp32_onnx(self, calibration: Calibration) -> bytes:
        """See ExportSource.fp32_onnx."""
        raise ExportError("a TFLite file is not converted again: there is no fp32 ONNX file that it came from")
