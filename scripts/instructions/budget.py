"""The instruction budget: what a frame takes now, against benchmarks/instructions.json. No times, so it repeats everywhere.

It catches a network that grew, a kernel that fell off its fast path, and a copy that crept into our own part of a frame.
"""

from collections.abc import Iterator, Sequence

from counting import HOME, Measurement, Row

from device.bundle.open import Bundle, open_bundle

TOLERANCE = 0.03
"""Of a count, and of our own part of a frame. Both repeat to 0.1 %."""
OWN_BAR_PER_PIXEL = 40
"""Of our own part of a frame that comes as a camera's planes."""
WHOLE_BAR_PER_PIXEL = {"cortex-a76": 1050, "cortex-a72": 2900}
"""Of a whole frame of `small` int8 from planes: today 1,029 and 2,827, at 640x480 1,023 and 2,821 (docs/networks.md). The aim
on an A76 is 1,000."""
SMALL = (192, 128)
RUNTIMES = {"tflite": "litert", "onnx": "onnxruntime"}
VARIANTS = ("fp32", "dynamic", "int8")
COUNT_AGAIN = "python scripts/instructions/count.py --again"

Key = tuple[object, ...]


def shipped() -> list[Bundle]:
    """The shipped bundles."""
    return [open_bundle(manifest.parent) for manifest in sorted((HOME / "device/bundles").glob("*/manifest.json"))]


def chosen() -> list[Measurement]:
    """What is counted in a minute: the bare call of each file in its usual runtime, and a camera's frame as `run` restores it."""
    found = []
    for bundle in shipped():
        for artifact in bundle.manifest.artifacts:
            if artifact.format in RUNTIMES and artifact.variant in VARIANTS:
                found.append(Measurement("invoke", RUNTIMES[artifact.format], bundle.path(artifact), SMALL))
        default = bundle.path(bundle.artifact(None, ("tflite",)))
        found.append(Measurement("planes", "litert", default, SMALL))
    return found


def broken(kept: Sequence[Row], now: Sequence[Row]) -> list[str]:
    """A sentence for each count that is off by more than the tolerance, and for each bar that is passed; none: all is well."""
    return [*_off(kept, now), *_own(kept, now), *_bars(now)]


def _key(row: Row) -> Key:
    return row["file"], row["runtime"], row["core"], row["what"], *row["size_wh"]


def _name(row: Row) -> str:
    width, height = row["size_wh"]
    what = "the bare call" if row["what"] == "invoke" else f"a whole frame ({row['what']})"
    return f"{row['file']} by {row['runtime']} {row['runtime_version']} on {row['core']}, {what} of {width}x{height}"


def _off(kept: Sequence[Row], now: Sequence[Row]) -> Iterator[str]:
    before = {_key(row): row for row in kept}
    for row in now:
        was = before.get(_key(row))
        if was is None:
            yield f"{_name(row)}: not in the file, {row['per_frame'] / 1e6:.2f} M instructions now"
            continue
        off = row["per_frame"] / was["per_frame"] - 1
        if abs(off) > TOLERANCE:
            version = "" if was["runtime_version"] == row["runtime_version"] else f" by {was['runtime_version']}"
            million = [f"{each['per_frame'] / 1e6:.2f} M" for each in (was, row)]
            yield (
                f"{_name(row)}: {million[0]} instructions{version} in the file, {million[1]} now: "
                f"{100 * off:+.1f} %, and {100 * TOLERANCE:.0f} are allowed"
            )


def own(rows: Sequence[Row]) -> dict[Key, float]:
    """Instructions a pixel of a whole frame beside the runtime's bare call, where both were counted of one size."""
    bare = {_key(row): row["per_frame"] for row in rows if row["what"] == "invoke"}
    beside = {}
    for row in rows:
        like = _key(row | {"what": "invoke"})
        if row["what"] != "invoke" and like in bare:
            width, height = row["size_wh"]
            beside[_key(row)] = (row["per_frame"] - bare[like]) / (width * height)
    return beside


def _own(kept: Sequence[Row], now: Sequence[Row]) -> Iterator[str]:
    before, after = own(kept), own(now)
    for row in now:
        key = _key(row)
        if key in after and key in before and abs(off := after[key] / before[key] - 1) > TOLERANCE:
            yield (
                f"{_name(row)}: our own part took {before[key]:.2f} instructions a pixel in the file, {after[key]:.2f} now: "
                f"{100 * off:+.1f} %, and {100 * TOLERANCE:.0f} are allowed"
            )


def _bars(now: Sequence[Row]) -> Iterator[str]:
    ours = own(now)
    for row in now:
        if row["what"] != "planes":
            continue
        if ours.get(_key(row), 0) > OWN_BAR_PER_PIXEL:
            yield f"{_name(row)}: our own part is {ours[_key(row)]:.0f} instructions a pixel; the bar is {OWN_BAR_PER_PIXEL}"
        bar = WHOLE_BAR_PER_PIXEL[row["core"]]
        if (row["bundle"], row["variant"]) == ("small", "int8") and row["per_pixel"] > bar:
            yield f"{_name(row)}: {row['per_pixel']:.0f} instructions a pixel; the bar is {bar}"
