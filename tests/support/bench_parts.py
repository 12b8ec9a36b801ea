"""A benchmark result as from a board, with every kind of row, for tests of reports."""

import base64
import csv
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.cases import CASES, degrade
from benchmarks.intervals import latency
from benchmarks.records import (
    FAILED,
    MISSING,
    OK,
    SCHEMA,
    WRONG,
    CaseQuality,
    Example,
    LoadSample,
    Loop,
    Machine,
    Moment,
    Pick,
    PictureParity,
    Result,
    Row,
    Sustained,
)
from device.images.degrade import sharpen, to_float, to_pixels
from device.images.picture import encode_picture
from device.images.quality import psnr
from device.images.scenes import dead_leaves

MACHINE = Machine(
    "Raspberry Pi 5 Model B Rev 1.0", "Cortex-A76", "aarch64", 4, ("asimd", "asimddp", "aes", "crc32"), "ondemand", 2400.0, 8062,
    "Debian GNU/Linux 12 (bookworm)", "6.6.51+rpt-rpi-2712", "real", "3f1c0a9be2d47716",
)  # fmt: skip
_MS = {("small", "litert"): 62.0, ("nano", "litert"): 13.5}
_OF_VARIANT = {"fp32": 1.6, "fp16": 1.62, "dynamic": 1.05, "int8": 1.0}
_OF_RUNTIME = {"litert": 1.0, "onnxruntime": 1.13, "openvino": 1.21, "ncnn": 0.93, "opencv_dnn": 1.9}
_GAIN_DB = {"small": 2.31, "nano": 1.52}


def a_result(small: str = "small", *, rows: int | None = None, **changes: Any) -> Result:
    """Two bundles on five runtimes with 1 and 3 threads beside classical methods; one row missing, one failed, one wrong.

    `small` renames the first bundle, `rows` keeps only so many rows, `changes` go to the result.
    """
    made = list(_rows(small))[:rows]
    best = _front(made)
    made = [replace(row, front=i in best) for i, row in enumerate(made)]
    result = Result(
        SCHEMA, "full", "deblurkit bench --suite full --report out/bench", "2026-11-25T10:15:00+00:00", 1084.2, True,
        (640, 480), 3, "24 pictures of kodak24, 12 cases", MACHINE,
        ("the machine was busy before the run began (load 0.8): times may be too long",), tuple(made), _loops(small),
        (_sustained(small),), _examples(small),
    )  # fmt: skip
    why = "the best gain of what restores 25 frames a second with 15 % to spare for capture and page: p95 27.9 ms, +2.27 dB"
    chosen = Pick(f"{small} int8.tflite, litert, 3 threads", small, "int8", "litert", 3, why)
    return replace(result, pick=chosen if any(row.label == chosen.label for row in made) else None, **changes)


def write_raw(result: Result, path: Path) -> Path:
    """Write raw.csv with the times behind the figures of the rows."""
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["row", "round", "frame", "at_s", "ms"])
        for i, row in enumerate(result.rows):
            if row.latency is not None:
                for number, ms in enumerate(_times(row.latency.rounds_p50_ms[0], i)):
                    writer.writerows((i, number, n, round(40.0 * number + 0.1 * n, 3), float(t)) for n, t in enumerate(ms))
    return path


def emulated() -> dict[str, Any]:
    """Counts and predictions as from benchmarks/boards/prediction.py."""
    counted = [
        {"core": core, "what": "invoke", "runtime": "litert", "runtime_version": "2.3.0", "file": f"small_{variant}.tflite",
         "sha256": "ab" * 32, "size_wh": [640, 480], "per_frame_million": million, "per_pixel": 1e6 * million / 307200}
        for core, variant, million in (("cortex-a76", "int8", 310.2), ("cortex-a72", "int8", 702.9))
    ]  # fmt: skip
    predicted = [
        {"board": board, "file": "small_int8.tflite", "runtime": "litert", "threads": 1, "low_ms": low, "high_ms": high}
        for board, low, high in (("Raspberry Pi 5", 61.0, 93.0), ("Raspberry Pi 4", 210.0, 330.0))
    ]
    checked = [{"what": "SSD-MobileNet-v2, Pi 5", "predicted": "19-31 ms", "published": "23.5 ms", "source": "a published table"}]
    return {"instructions": counted, "predictions": predicted, "method": "Counted instructions by a rate.", "checked": checked}


def _rows(small: str) -> Iterator[Row]:
    yield _measured(Row("nothing", "classical", OK), 0.0004, 0.0, 0)
    yield _measured(Row("unsharp mask", "classical", OK), 2.4, 0.41, 1)
    yield _measured(Row("Polyblur", "classical", OK), 48.0, 0.63, 2)
    yield _measured(Row("Wiener (non-blind)", "oracle", OK), 31.0, 2.05, 3)
    yield _measured(Row("Richardson-Lucy (non-blind)", "oracle", OK), 840.0, 1.71, 4)
    seed = 5
    for name, key in ((small, "small"), ("nano", "nano")):
        for runtime, slower in _OF_RUNTIME.items():
            suffix = {"litert": "tflite", "ncnn": "ncnn"}.get(runtime, "onnx")
            for variant in ("fp16",) if runtime == "ncnn" else ("fp32", "fp16", "dynamic", "int8"):
                if suffix == "onnx" and variant == "dynamic":
                    continue
                for threads in (1, 3):
                    seed += 1
                    row = Row(
                        name, "network", OK, variant, f"{key}_{variant}.{suffix}", runtime, threads, "", "cd" * 32,
                        f"{seed:02x}" * 32, 500_000 if variant == "int8" else 1_700_000,
                    )  # fmt: skip
                    p50_ms = _MS[key, "litert"] * _OF_VARIANT[variant] * slower / threads**0.8
                    gain_db = (
                        _GAIN_DB[key]
                        - {"int8": 0.04, "dynamic": 0.01}.get(variant, 0.0)
                        + (0.003 if runtime == "openvino" else 0.0)
                    )
                    yield _measured(row, p50_ms, gain_db, seed)
    for variant in ("fp32", "int8"):
        line = "not installed; pip install tflite-runtime 'numpy<2'   (Python 3.11 and older)"
        yield Row(small, "network", MISSING, variant, f"small_{variant}.tflite", "tflite_runtime", 1, line)
    yield Row(small, "network", FAILED, "fp32", "small_fp32.tflite", "litert_compiled", 1, "killed by the kernel: 300 MiB free")
    wrong = "computes another picture: 18.3 dB from small_fp32.tflite on litert, 39.0 needed; use another runtime"
    agreement = PictureParity("small_fp32.tflite on litert", 18.3, 201, 39.0)
    yield Row("nano", "network", WRONG, "int8", "nano_int8.onnx", "opencv_dnn", 4, wrong, agreement=agreement)


def _measured(row: Row, p50_ms: float, gain_db: float, seed: int) -> Row:
    network = row.kind == "network"
    times = latency(_times(p50_ms, seed), 14 + seed % 9, seed != 11)
    exact = row.variant == "fp32"
    return replace(
        row,
        latency=times,
        load_ms=31.0 + seed if network else 0.1,
        first_ms=1.7 * p50_ms,
        stages_ms={"to_tensor": 0.7, "infer": 0.94 * p50_ms, "to_pixels": 1.1} if network else {},
        infer_share=0.94 if network else None,
        peak_rss_mib=120.0 + 3 * seed,
        agreement=PictureParity("small_fp32.tflite on litert", 99.0 if exact else 47.1 - seed % 5, 0 if exact else 5, 39.0)
        if network
        else None,
        quality={case: _quality(case, gain_db, i) for i, case in enumerate(CASES)},
        gain_db=gain_db,
        python="3.11.2",
        versions={"numpy": "2.2.6", "ai-edge-litert": "2.3.0", "onnxruntime": "1.32.0"},
        before=Moment(12.0 * seed, 2400.0, 51.2, (), 0.4, 6011.0),
        after=Moment(12.0 * seed + 400, 2400.0, 63.8, ("soft temperature limit",) if seed == 40 else (), 1.1, 5877.0),
        rounds=3,
    )


def _quality(case: str, gain_db: float, i: int) -> CaseQuality:
    if case == "sharp-in":
        psnr_db = 99.0 if gain_db == 0 else 45.0 - gain_db
        return CaseQuality(99.0, psnr_db, psnr_db - 99.0, psnr_db - 101.0, 0.998, -0.002)
    gain = gain_db * (0.35 + 0.13 * i) if case != "sharp-jpeg" else -0.08 * gain_db
    before = 28.4 - 0.6 * i
    return CaseQuality(before, before + gain, gain, gain - 0.4, 0.84, 0.01 * gain)


def _times(p50_ms: float, seed: int) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    rounds = []
    for _ in range(3):
        ms = p50_ms * rng.normal(1, 0.004) * (1 + rng.gamma(1.5, 0.008, 60))
        ms[rng.integers(0, 60, 2)] *= rng.uniform(1.2, 2.5)
        rounds.append(ms)
    return rounds


def _front(rows: list[Row]) -> set[int]:
    able = [(row.latency.p50_ms.value, row.gain_db or 0.0, i) for i, row in enumerate(rows) if row.latency and row.gain_db]
    able = [entry for entry in able if rows[entry[2]].kind != "oracle"]
    return {i for ms, gain, i in able if not any(a <= ms and b >= gain and (a, b) != (ms, gain) for a, b, _ in able)}


def _loops(small: str) -> tuple[Loop, ...]:
    stages = {"capture": 0.9, "to_tensor": 0.7, "infer": 25.9, "to_pixels": 1.1, "encode": 4.2}
    light = {**stages, "infer": 5.4}
    return (
        Loop(f"{small} int8.tflite, litert, 3 threads", 34.1, stages, 0.88, 41.0, 55.3, 1.02, 171.0),
        Loop("nano int8.tflite, litert, 3 threads", 121.0, light, 0.65, 12.9, 19.0, 0.94, 158.0),
    )


def _sustained(small: str) -> Sustained:
    curve = []
    for n in range(120):
        at_s = 5.0 * (n + 1)
        hot = at_s > 240
        fps = (29.4 if hot else 36.8) + 0.3 * np.sin(n)
        temperature = min(85.0, 52 + 0.14 * at_s)
        held = ("soft temperature limit",) if hot else ()
        curve.append(LoadSample(at_s, float(fps), float(1100 / fps), 1900.0 if hot else 2400.0, temperature, held))
    return Sustained(f"{small} int8.tflite, litert, 3 threads", 600.0, 36.8, 29.4, 0.799, 245.0, tuple(curve))


def _examples(small: str) -> tuple[Example, ...]:
    made = []
    for case in ("gauss-2.0", "motion-9"):
        sharp = dead_leaves(192, 192, 3)
        blurred = degrade(sharp, case, "leaves")
        restored = to_pixels(sharpen(to_float(blurred), 0.8))
        shown = {"input": blurred, f"{small} int8.tflite, litert, 3 threads": restored, "ground truth": sharp}
        for label, pixels in shown.items():
            png = base64.b64encode(encode_picture(pixels, ".png")).decode()
            made.append(Example(label, case, min(99.0, psnr(pixels, sharp)), png))
    return tuple(made)
