"""The instruction budget: the instructions of a frame now, compared with benchmarks/instructions.json.

It needs no times, so it gives the same result on every machine. It catches a network that grew, a kernel that lost its fast
path, and an additional copy in our own part of a frame.
"""

from collections.abc import Iterator, Sequence

from counting import HOME, Measurement, Row

from device.bundle.open import Bundle, open_bundle

TOLERANCE = 0.03
"""For a count, and for our own part of a frame. Both repeat to 0.1 %."""
MAX_OWN_PER_PIXEL = 40
"""For our own part of a frame that comes as a camera's planes."""
MAX_FILTER_PER_PIXEL = 300
"""Beside that, for undoing a known motion of 17 pixels; round blurs take less (scripts/instructions/filters.py)."""
MAX_WHOLE_PER_PIXEL = {"cortex-a76": 1110, "cortex-a72": 2920}
"""For a whole frame of `small` int8 from planes without a known blur: now 1,088 and 2,877, at 640x480 1,082 and 2,870
(docs/networks.md)."""
SMALL, CAMERA = (192, 128), (640, 480)
RUNTIMES = {"tflite": "litert", "onnx": "onnxruntime"}
VARIANTS = ("fp32", "dynamic", "int8")
COUNT_AGAIN = "python scripts/instructions/count.py --again"

Key = tuple[object, ...]


def shipped() -> list[Bundle]:
    """The shipped bundles."""
    return [open_bundle(manifest.parent) for manifest in sorted((HOME / "device/bundles").glob("*/manifest.json"))]


def selection() -> list[Measurement]:
    """Select what can be counted in a minute: the bare call of each file in its usual runtime, and camera frames as in `run`."""
    selected = []
    for bundle in shipped():
        for artifact in bundle.manifest.artifacts:
            if artifact.format in RUNTIMES and artifact.variant in VARIANTS:
                selected.append(Measurement("invoke", RUNTIMES[artifact.format], bundle.path(artifact), SMALL))
        default = bundle.path(bundle.artifact(None, ("tflite",)))
        selected.append(Measurement("planes", "litert", default, SMALL))
    nano = open_bundle("nano")
    for what in ("invoke", "told"):  # a filter has a border of its own size, so small pictures take more of it
        selected.append(Measurement(what, "litert", nano.path(nano.artifact(None, ("tflite",))), CAMERA))
    return selected


def violations(kept: Sequence[Row], now: Sequence[Row]) -> list[str]:
    """List each count that is off by more than the tolerance, and each limit that is exceeded, a sentence for each."""
    return [*_off(kept, now), *_own(kept, now), *_over_limit(now)]


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
    """Instructions per pixel of a whole frame beside the runtime's bare call, if both were counted at the same size."""
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
                f"{_name(row)}: our own part took {before[key]:.2f} instructions per pixel in the file, {after[key]:.2f} now: "
                f"{100 * off:+.1f} %, and {100 * TOLERANCE:.0f} are allowed"
            )


def _over_limit(now: Sequence[Row]) -> Iterator[str]:
    ours = own(now)
    for row in now:
        if row["what"] not in ("planes", "told"):
            continue
        most = MAX_OWN_PER_PIXEL + (MAX_FILTER_PER_PIXEL if row["what"] == "told" else 0)
        if ours.get(_key(row), 0) > most:
            yield f"{_name(row)}: our own part is {ours[_key(row)]:.0f} instructions per pixel; the limit is {most}"
        if row["what"] == "told":
            continue
        limit = MAX_WHOLE_PER_PIXEL[row["core"]]
        if (row["bundle"], row["variant"]) == ("small", "int8") and row["per_pixel"] > limit:
            yield f"{_name(row)}: {row['per_pixel']:.0f} instructions per pixel; the limit is {limit}"
