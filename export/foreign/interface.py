"""What all foreign networks share: one picture in and one out, the choice of their size, and a manifest of what is known."""

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from device.bundle.manifest import SCHEMA, Manifest, Training
from device.errors import BundleError
from device.system.console import quiet_stdio
from export.export_source import concrete_size, versions
from export.foreign.declared import Declared

Shape = tuple[int | None, ...]
Reference = Callable[[np.ndarray], np.ndarray]
NOT_A_PICTURE = "give a network that turns one picture into one picture of the same size and channels"


def check_interface(path: Path, inputs: int, outputs: int) -> None:
    """Raise BundleError unless there is one input and one output."""
    if (inputs, outputs) != (1, 1):
        raise BundleError(f"{path}: {inputs} inputs and {outputs} outputs, expected one of each; {NOT_A_PICTURE}")


def chosen_size(
    path: Path, declared: Declared, shape: Shape, wanted: tuple[int, int] | None
) -> tuple[tuple[int, int], tuple[int, int] | None]:
    """The (height, width) to export a network with this input `shape` for, and the only one that it takes, or None.

    Raises BundleError where the input is not one picture, UsageError for a `wanted` size that the network cannot have.
    """
    channels = declared.channels
    if len(shape) != 4:
        raise BundleError(f"{path}: takes {shown(shape)}, expected (1, height, width, {channels}); {NOT_A_PICTURE}")
    batch, height, width, depth = shape
    if batch not in (None, 1):
        raise BundleError(f"{path}: takes {batch} pictures at once, expected 1; save it with a batch of 1 or any")
    if depth != channels:
        raise BundleError(
            f"{path}: takes {shown(shape)}, expected {channels} channels, last, for --colour {declared.colour}; "
            "give another --colour, or a network of 3 channels or 1"
        )
    if height is None and width is None:
        return concrete_size(wanted, None, declared.pad_multiple), None
    other = wanted or concrete_size(None, None, declared.pad_multiple)
    own = height or other[0], width or other[1]
    size = concrete_size(wanted, own, declared.pad_multiple)
    if any(length % declared.pad_multiple for length in own):
        raise BundleError(
            f"{path}: takes pictures of {size_text(own)} only, expected multiples of {declared.pad_multiple}; "
            "give a --pad-multiple that divides them, such as 1"
        )
    return size, own


def check_output(path: Path, declared: Declared, fixed: tuple[int, int] | None, reference: Reference) -> None:
    """Raise BundleError unless pictures come out finite and in their own size, for sides as declared."""
    height, width = fixed or sides(declared.pad_multiple)
    fault, near = _fault(reference, height, width, declared.channels)
    if not fault:
        return
    for multiple in (2, 4, 8, 16, 32, 64, 128) if near and not fixed else ():
        if multiple > declared.pad_multiple and not _fault(reference, *sides(multiple), declared.channels)[0]:
            raise BundleError(
                f"{path}: {fault}, expected any multiple of {declared.pad_multiple} to work; multiples of {multiple} work: "
                f"give --pad-multiple {multiple}"
            )
    raise BundleError(f"{path}: {fault}, expected the same size out as in; {NOT_A_PICTURE}")


def sides(multiple: int) -> tuple[int, int]:
    """Two sides of about 32 pixels or more that are multiples of `multiple`, but not of twice as much."""
    count = -(-32 // multiple) | 1
    return count * multiple, (count + 2) * multiple


def _fault(reference: Reference, height: int, width: int, channels: int) -> tuple[str, bool]:
    """What goes wrong with one picture (empty: nothing), and whether another size may work."""
    picture = np.random.default_rng(0).random((1, height, width, channels), np.float32)
    try:
        with quiet_stdio():
            output = reference(picture)
    except Exception as error:  # the runtimes raise exceptions of many kinds
        return f"fails on a picture of {size_text((height, width))} ({first_line(error)})", True
    if output.shape != picture.shape:
        near = output.ndim == 4 and all(abs(a - b) < b / 2 for a, b in zip(output.shape[1:3], (height, width), strict=True))
        return f"makes {output.shape[1:]} of {picture.shape[1:]}", near
    return ("" if np.isfinite(output).all() else "makes NaN or infinite values"), False


def manifest_of(
    path: Path, declared: Declared, fixed: tuple[int, int] | None, parameters: int, macs: float, files: Sequence[Path] = ()
) -> Manifest:
    """Everything but name, halo, weights and artifacts. `files`: the files of the network, if there are more than `path`."""
    if path.is_dir():
        files = [path / "saved_model.pb", *sorted((path / "variables").glob("*"))]
    digest = hashlib.sha256()
    for file in files or [path]:
        digest.update(file.read_bytes())
    return Manifest(
        schema=SCHEMA,
        name="",
        preset="foreign",
        architecture={"kind": "foreign", "source": path.resolve().name, "sha256": digest.hexdigest()},
        colour=declared.colour,
        pad_multiple=declared.pad_multiple,
        halo=0,
        fixed_hw=fixed,
        macs_per_pixel=round(macs, 1),
        parameters=parameters,
        trained=Training("", 0, "unknown", declared.licence, {}, 0, 0.0, 0, ""),
        weights=None,
        artifacts=(),
        made_with=versions(),
    )


def size_text(hw: tuple[int | None, int | None]) -> str:
    """A size as people write it: width first."""
    return "any size" if None in hw else f"{hw[1]}x{hw[0]} pixels"


def shown(shape: Shape) -> str:
    """A shape in words, such as "(1, any, any, 3)"."""
    return "(" + ", ".join("any" if size is None else str(size) for size in shape) + ")"


def first_line(error: Exception) -> str:
    """The first line of a message that can be pages long."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0][:200] if lines else type(error).__name__
