"""Small hand-made results of `deblurkit bench`: a board, some rows, times with a given noise."""

from dataclasses import replace
from typing import Any

import numpy as np

from benchmarks.intervals import latency
from benchmarks.records import (
    OK,
    SCHEMA,
    CaseQuality,
    Estimate,
    Example,
    Latency,
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

MOMENT = Moment(1.0, 2400.0, 48.5, (), 0.1, 3000.0)


def times(middle_ms: float, share: float = 0.01) -> Latency:
    """Times of three rounds with intervals of `share` to both sides."""

    def around(value: float) -> Estimate:
        return Estimate(value, value * (1 - share), value * (1 + share))

    rounds = (middle_ms * (1 - share / 2), middle_ms, middle_ms * (1 + share / 2))
    return Latency(
        300, around(middle_ms), around(1.1 * middle_ms), around(1.2 * middle_ms), around(0.15 * middle_ms), rounds, 12, True
    )


def measured_times(
    rng: np.random.Generator, middle_ms: float, rounds_share: float, frames_share: float, alike: float = 0.5, rounds: int = 3
) -> Latency:
    """Simulate rounds that differ by chance with correlated frames, and compute their intervals."""
    drawn = []
    for _ in range(rounds):
        noise = rng.normal(0, 1, 80)
        for i in range(1, len(noise)):
            noise[i] = alike * noise[i - 1] + (1 - alike**2) ** 0.5 * noise[i]
        drawn.append(middle_ms * np.exp(rng.normal(0, rounds_share) + frames_share * noise))
    return latency([list(r) for r in drawn], 10, True)


def row(middle_ms: float = 20.0, **changes: Any) -> Row:
    """The int8 file of `small` on LiteRT."""
    return replace(
        Row(
            "small", "network", OK, "int8", "small_int8.tflite", "litert", 1, "", "b" * 64, "f" * 64, 60_000, times(middle_ms),
            30.0, 40.0, {"to_tensor": 0.3, "infer": 0.9 * middle_ms, "to_pixels": 0.4}, 0.9, 90.0,
            PictureParity("the fp32 file on litert", 52.0, 4, 42.0),
            {
                "gauss-1.6": CaseQuality(26.0, 28.0, 2.0, 1.1, 0.85, 0.05),
                "sharp-in": CaseQuality(99.0, 48.0, -51.0, -53.0, 0.99, -0.01),
            },
            1.5, "3.11.2", {"ai-edge-litert": "2.1.0", "numpy": "2.2.0"}, MOMENT, MOMENT, 3, True,
        ),
        **changes,
    )  # fmt: skip


def rows() -> tuple[Row, ...]:
    """A few rows as from a board: two files, a second runtime, a method, a missing runtime."""
    return (
        row(20.0),
        row(38.0, variant="fp32", file="small_fp32.tflite", gain_db=1.55),
        row(24.0, file="small_int8.onnx", runtime="onnxruntime", gain_db=1.52),
        row(14.0, name="nano", file="nano_int8.tflite", gain_db=0.9),
        Row("unsharp mask", "classical", OK, latency=times(1.2), gain_db=0.4, python="3.11.2", rounds=3),
        Row(
            "small",
            "network",
            "missing",
            "fp32",
            "small_fp32.onnx",
            "openvino",
            message="not installed; pip install openvino",
        ),
    )


def result(**changes: Any) -> Result:
    """A complete result of a Raspberry Pi 5."""
    machine = Machine(
        "Raspberry Pi 5 Model B Rev 1.0", "Cortex-A76", "aarch64", 4, ("asimddp",), "performance", 2400.0, 8053,
        "Debian GNU/Linux 12 (bookworm)", "6.6.31+rpt-rpi-2712", "real", "0123456789abcdef",
    )  # fmt: skip
    made = Result(
        SCHEMA, "quick", "deblurkit bench --pick --fps 30", "2026-11-20T10:00:00+00:00", 170.2, True, (640, 480), 3,
        "4 generated scenes of 384x256, 12 cases", machine, (), rows(),
        (Loop("small int8.tflite, litert, 1 thread", 30.0, {"infer": 18.0}, 0.54, 41.0, 55.0, 0.9, 190.0),),
        (Sustained("small int8.tflite, litert, 1 thread", 600.0, 48.0, 45.0, 0.94, None,
                   (LoadSample(5.0, 48.0, 23.0, 2400.0, 61.0, ()),)),),
        (Example("blurred", "gauss-1.6", 26.0, "aGVsbG8="),),
        Pick("small int8.tflite, litert, 1 thread", "small", "int8", "litert", 1, "most gain within 33 ms"),
    )  # fmt: skip
    return replace(made, **changes)
