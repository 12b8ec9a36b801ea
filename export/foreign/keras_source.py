"""A network that Keras can call, wrapped so that its files follow the contract of the kit's own."""

from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path

import keras
import numpy as np
import onnx
from keras import layers

from device.errors import BundleError, ExportError, UsageError
from device.system.console import quiet_stdio
from export import to_onnx, to_tflite
from export.calibration import METHODS
from export.export_source import Calibration, Pictures, keras_outputs
from export.foreign.declared import Declared
from export.foreign.interface import (
    NOT_A_PICTURE,
    check_output,
    chosen_size,
    first_line,
    manifest_of,
    shown,
    sides,
    size_text,
)
from export.foreign.keras_network import Network
from export.foreign.onnx_file import with_plain_resizes
from export.foreign.tflite_file import tflite_macs, tflite_outputs


class KerasSource:
    """See ExportSource. Offers all seven files."""

    offers = tuple(("tflite", v) for v in to_tflite.VARIANTS) + tuple(("onnx", v) for v in to_onnx.VARIANTS)
    weights: Path | None = None
    layers: tuple[str, ...] = ()

    def __init__(
        self,
        path: Path,
        declared: Declared,
        pictures: Callable[[int, int], Pictures],
        size: tuple[int, int] | None,
        network: Network,
    ) -> None:
        """Raises as `open_foreign` does."""
        self.size, fixed = chosen_size(path, declared, network.input_shape, size)
        self._concrete = _wrapped(path, declared, network, self.size)
        self._any = self._concrete if fixed else _wrapped(path, declared, network, (None, None))
        check_output(path, declared, fixed, self.reference)
        try:
            file = to_tflite.to_tflite(self._concrete, "fp32")
        except ExportError:  # raised again when the file itself is converted
            file = b""
        if file and not fixed and size is None and not self._takes_any_size(file, declared):
            raise UsageError(
                f"{path}: its TFLite files would take pictures of {size_text(self.size)} only, since sizes that it resizes to "
                "become constants in them; give the --size WxH of the files, then larger pictures are restored in tiles"
            )
        macs = tflite_macs(file, self.size) if file else 0.0
        self.manifest = manifest_of(path, declared, fixed, network.parameters, macs)
        self.pictures = pictures(*self.size)

    def reference(self, tensors: np.ndarray) -> np.ndarray:
        """See ExportSource.reference."""
        return keras_outputs(self._any, tensors)

    def calibrations(self, format_: str) -> list[Calibration]:
        """See ExportSource.calibrations."""
        return [Calibration(method, self.pictures.calibration) for method in (METHODS if format_ == "onnx" else ("minmax",))]

    def convert(self, format_: str, variant: str, calibration: Calibration | None, in_float: Sequence[str] = ()) -> bytes:
        """See ExportSource.convert."""
        if format_ == "tflite":
            return to_tflite.to_tflite(self._concrete, variant, calibration, in_float)
        return to_onnx.to_onnx(self._onnx_fp32, variant, calibration)

    def fp32_onnx(self, calibration: Calibration) -> bytes:
        """See ExportSource.fp32_onnx."""
        return self._onnx_fp32.SerializeToString()

    def _takes_any_size(self, file: bytes, declared: Declared) -> bool:
        """Whether a TFLite file, converted for one size, computes the same as the network at another size."""
        picture = np.random.default_rng(0).random((1, *sides(declared.pad_multiple), declared.channels), np.float32)
        try:
            with quiet_stdio():
                output = tflite_outputs(file, to_tflite.tflite_specs(file), picture)
        except (ValueError, RuntimeError):  # LiteRT cannot resize its tensors
            return False
        return output.shape == picture.shape and bool(np.abs(output - self.reference(picture)).max() < 0.01)

    @cached_property
    def _onnx_fp32(self) -> onnx.ModelProto:
        return with_plain_resizes(to_onnx.to_onnx_fp32(self._any))


def _wrapped(path: Path, declared: Declared, network: Network, hw: tuple[int | None, int | None]) -> keras.Model:
    """The network with batch 1, input `blurred` and output `restored`, both in 0..1."""
    low, high = declared.value_range
    picture = keras.Input(batch_shape=(1, *hw, declared.channels), name="blurred", dtype="float32")
    try:
        with quiet_stdio():
            output = network.call(layers.Rescaling(high - low, low)(picture) if declared.scaled else picture)
    except Exception as error:  # Keras and TensorFlow raise exceptions of many kinds
        raise BundleError(
            f"{path}: cannot be built for pictures of {size_text(hw)} ({first_line(error)}); expected any multiple of "
            f"{declared.pad_multiple}: give the --pad-multiple it needs, or save it with the one size it takes"
        ) from error
    output = list(output.values()) if isinstance(output, dict) else output
    if isinstance(output, list | tuple):
        output = output[0]  # `check_interface` has seen that there is only one
    if len(output.shape) != 4 or output.shape[3] not in (None, declared.channels):
        raise BundleError(
            f"{path}: makes {shown(output.shape)}, expected (1, height, width, {declared.channels}); {NOT_A_PICTURE}"
        )
    if declared.scaled:
        output = layers.Rescaling(1 / (high - low), -low / (high - low))(output)
    return keras.Model(picture, layers.Activation("linear", dtype="float32", name="restored")(output))
