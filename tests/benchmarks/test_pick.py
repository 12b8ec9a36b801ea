"""The pick: each of its rules, on hand-made rows."""

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from benchmarks import pick as rules
from benchmarks.best_at_rate import pareto_front
from benchmarks.environment import machine
from benchmarks.records import SCHEMA, CaseQuality, Estimate, Latency, Loop, Pick, PictureParity, Result, Row
from benchmarks.tuned_model import tuned_model
from device.bundle.manifest import MANIFEST, file_facts
from device.bundle.open import SHIPPED, open_bundle
from device.errors import GateError, UsageError
from device.loop import tuned
from device.loop.tuned import TunedModel

SUFFIX = {"litert": "tflite", "tflite_runtime": "tflite"}
pick = partial(rules.pick, cores=4, installed=lambda runtime: runtime != "keras")


def latency(p50_ms: float, p95_ms: float | None = None, sure_ms: float = 0.1) -> Latency:
    """p95 is 5 % above p50 if not given; each within `sure_ms`."""
    p50, p95 = (Estimate(ms, ms - sure_ms, ms + sure_ms) for ms in (p50_ms, p95_ms or 1.05 * p50_ms))
    return Latency(90, p50, p95, p95, Estimate(1, 1, 1), (p50_ms,) * 3, 12, True)


def row(
    p50_ms: float, gain_db: float | None, name: str = "small", runtime: str = "litert", threads: int = 3, **others: Any
) -> Row:
    p95_ms, sure_ms, variant = others.pop("p95_ms", None), others.pop("sure_ms", 0.1), others.pop("variant", "int8")
    of_network = {
        "kind": "network", "variant": variant, "file": f"{name}_{variant}.{SUFFIX.get(runtime, 'onnx')}", "runtime": runtime,
        "threads": threads, "peak_rss_mib": 100.0,
    }  # fmt: skip
    timed = latency(p50_ms, p95_ms, sure_ms)
    return Row(**{"name": name, "status": "ok", "latency": timed, "gain_db": gain_db, **of_network, **others})


def case(psnr_db: float, gain_db: float) -> CaseQuality:
    return CaseQuality(psnr_db - gain_db, psnr_db, gain_db, gain_db, 0.99, 0.0)


def method(p50_ms: float, gain_db: float, name: str, kind: str = "classical") -> Row:
    return row(p50_ms, gain_db, name, kind=kind, variant=None, file=None, runtime=None)


def kept(**changes: Any) -> TunedModel:
    """A tuned model from an earlier `--pick`."""
    of = TunedModel(
        tuned.SCHEMA, "h", {}, "small", None, "f", "0" * 64, "int8", "litert", 1, (640, 480), 20.0, 22.0, 1.9, "", "2026-11-25"
    )  # fmt: skip
    return replace(of, **changes)


def picked(*rows: Row, **wishes: Any) -> Row:
    found = pick(rows, **wishes)
    return next(r for r in rows if r.label == found.label)


# The front


def test_a_row_is_pareto_optimal_if_no_row_dominates_it() -> None:
    rows = [row(10, 1.0), row(20, 1.5), row(21, 1.4), row(20, 1.2), row(30, 1.5), row(5, 0.2), row(10, 1.0, threads=2)]
    assert pareto_front(rows) == {0, 1, 5, 6}
    assert pareto_front([row(10, 1.601), row(12, 1.604)]) == {0}  # the same files on two runtimes differ by so much


def test_the_pareto_front_includes_classical_methods_but_not_non_blind_ones_nothing_and_failures() -> None:
    rows = [
        method(0.0, 0.0, "nothing"),
        method(1, 0.5, "unsharp mask"),
        method(1, 9.0, "Wiener (non-blind)", kind="oracle"),
        row(1, 8.0, status="wrong", latency=None),
        row(1, 8.0, status="failed", latency=None),
        row(20, 1.5),
        row(2, 0.4),
    ]
    assert pareto_front(rows) == {1, 5}
    assert pareto_front([]) == set()


# With a deadline


def test_with_a_rate_the_best_picture_that_leaves_time_to_capture_and_output_is_picked() -> None:
    fits, late, worse = row(25, 1.5), row(31, 1.9, variant="fp32"), row(10, 1.2, "nano")
    assert picked(worse, late, fits, fps=30) == fits
    found = pick([worse, late, fits], fps=30)
    assert found == replace(found, label=fits.label, name="small", variant="int8", runtime="litert", threads=3)
    for words in (
        "30 frames a second (p95 of at most 28.3 ms: 85% of the 33.3 ms between two frames)",
        "+1.50 dB, p50 25.0 ms, p95 26.2 ms",
        "small fp32.tflite, litert, 3 threads would gain +1.90 dB, but its p95 is 32.6 ms",
    ):
        assert words in found.why


def test_milliseconds_limit_restoring_alone() -> None:
    just, late = row(19, 1.5, p95_ms=19.8), row(19, 1.7, p95_ms=20.2, variant="fp16")
    assert picked(just, late, max_ms=20) == just
    assert picked(just, late, row(8, 1.1, "nano"), max_ms=20, fps=60).name == "nano"  # both hold


def test_the_upper_end_of_the_interval_must_fit() -> None:
    sure, unsure = row(19, 1.5, p95_ms=19.5), row(19, 1.7, p95_ms=19.5, sure_ms=2.0, variant="fp16")
    assert picked(sure, unsure, max_ms=20) == sure


def test_a_row_whose_whole_loop_misses_the_rate_is_ruled_out() -> None:
    first, second = row(25, 1.9, variant="fp16"), row(24, 1.5)
    loop = Loop(first.label, 26.0, {}, 0.7, 40.0, 50.0, 0.5, 120.0)
    assert picked(first, second, fps=30) == first
    assert picked(first, second, fps=30, loops=[loop]) == second
    assert "its whole loop reached 26.0 frames a second" in pick([first, second], fps=30, loops=[loop]).why
    assert picked(first, second, fps=30, loops=[replace(loop, fps=31.0)]) == first


def test_a_core_is_left_free_unless_nothing_else_is_fast_enough() -> None:
    three, four = row(25, 1.5, threads=3), row(22, 1.7, variant="fp16", threads=4)
    assert picked(three, four, fps=30) == three
    assert "but it uses every core" in pick([three, four], fps=30).why
    slow = row(40, 1.5, threads=3)
    assert picked(slow, four, fps=30) == four
    assert "it uses every core, because nothing that leaves one" in pick([slow, four], fps=30).why
    assert picked(row(22, 1.5, threads=1), fps=30, cores=1).threads == 1
    assert "every core" not in pick([row(22, 1.5, threads=1)], fps=30, cores=1).why


def test_rows_that_harm_sharp_pictures_come_last_and_the_reason_says_so() -> None:
    good = {"sharp-in": case(45.0, -54.0), "sharp-jpeg": case(38.0, -0.1)}
    kind = row(20, 1.2, "nano", quality=good)
    for harm, words in (
        ({**good, "sharp-in": case(36.0, -63.0)}, "sharp pictures come out at 36.0 dB"),
        ({**good, "sharp-jpeg": case(36.0, -0.8)}, "sharp JPEG pictures lose 0.80 dB"),
    ):
        harmful = row(20, 1.9, quality=harm)
        assert picked(harmful, kind, fps=30) == kind
        assert words in pick([harmful, kind], fps=30).why
        assert f"but {words}, and nothing that leaves them unharmed is good enough" in pick([harmful], fps=30).why
    all_cores = replace(kind, threads=4)
    assert picked(row(20, 1.9, quality=harm), all_cores, fps=30) == all_cores


# Ties


def test_of_gains_within_a_twentieth_of_a_decibel_the_faster_is_picked() -> None:
    slow, fast, faster = row(25, 1.54, variant="fp32"), row(15, 1.50), row(8, 1.40, "nano")
    assert picked(slow, fast, faster, fps=30) == fast


def test_at_equal_speed_fewer_threads_then_less_memory_then_the_preferred_runtime_are_picked() -> None:
    three, two = row(20, 1.5, threads=3), row(20.5, 1.5, threads=2)
    assert picked(three, two, fps=30) == two
    assert picked(three, replace(two, latency=latency(23, sure_ms=4)), fps=30).threads == 2  # their intervals overlap
    assert picked(three, replace(two, latency=latency(23)), fps=30) == three
    usual, lean = row(20, 1.5, peak_rss_mib=200.0), row(20.1, 1.5, runtime="opencv_dnn", peak_rss_mib=90.0)
    assert picked(usual, lean, fps=30) == lean
    other = row(19.9, 1.5, runtime="onnxruntime", peak_rss_mib=195.0)
    assert picked(other, usual, fps=30) == usual


def test_of_otherwise_equal_files_the_one_with_fewer_bits_is_picked() -> None:
    rows = [row(20, 1.93, variant="fp32"), row(20.1, 1.94, variant="dynamic"), row(20.2, 1.90, variant="int8")]
    assert picked(*rows, fps=30) is rows[2]
    assert picked(*reversed(rows[:2]), fps=30) is rows[1]


def test_the_earlier_pick_stays_while_no_measurement_distinguishes_a_better_one() -> None:
    usual, other = row(20, 1.5, sha256="a" * 64), row(20.5, 1.48, variant="fp32", sha256="b" * 64)
    held = kept(sha256="b" * 64, threads=3)
    assert picked(usual, other, fps=30) is usual
    assert picked(usual, other, fps=30, earlier=held) is other
    assert (
        f"{usual.label} (+1.50 dB, p50 20.0 ms, p95 21.0 ms) cannot be distinguished from it, so the earlier pick stays"
        in pick([usual, other], fps=30, earlier=held).why
    )
    assert picked(usual, replace(other, latency=latency(23)), fps=30, earlier=held) is usual  # slower by more than chance
    assert picked(usual, replace(other, gain_db=1.4), fps=30, earlier=held) is usual
    assert picked(usual, replace(other, latency=latency(20.5, p95_ms=40)), fps=30, earlier=held) is usual  # too slow now
    assert picked(usual, other, fps=30, earlier=replace(held, threads=1)) is usual


# Without a wish


def test_without_a_request_the_rate_of_most_cameras_is_used() -> None:
    fits, late = row(25, 1.5), row(60, 1.9, variant="fp32")
    assert picked(fits, late) == fits
    assert pick([fits, late]).why.startswith("no rate was requested, so the rate of most cameras was used; the best picture of 1")


def test_if_nothing_reaches_it_the_next_lower_rate_of_cameras_is_used() -> None:
    best, near, far = row(180, 1.9, variant="fp32"), row(60, 1.65), row(40, 1.4, "nano")
    assert picked(best, near, far) == far
    assert (
        "so 15 was used, because nothing reaches 30; the best picture of 1 that restore 15 frames" in pick([best, near, far]).why
    )
    assert picked(best, near) == near
    assert picked(best, near, far, row(20, 1.3, "nano", threads=4)) == far  # for a wish of nobody no core is taken


def test_if_nothing_reaches_any_rate_the_fastest_is_picked() -> None:
    best, fastest = row(700, 1.9, variant="fp32"), row(400, 1.3)
    assert picked(best, fastest) == fastest
    assert pick([best, fastest]).why.startswith("nothing reaches 5 frames a second; the fastest: +1.30 dB")


# What is no candidate


def test_only_what_run_can_run_is_picked() -> None:
    able = row(25, 1.0, "nano")
    others = [
        method(1, 2.0, "polyblur"),
        method(1, 9.0, "Wiener (non-blind)", kind="oracle"),
        row(5, 2.0, runtime="keras"),
        row(5, 2.0, status="wrong", latency=None),
        row(5, 2.0, status="missing", latency=None),
        row(5, None, variant="fp16"),
        row(5, 2.0, variant="fp32", agreement=PictureParity("fp32", 20.0, 90, 45.0)),
    ]
    assert picked(able, *others, fps=30) == able
    with pytest.raises(GateError, match="nothing to pick: no file was measured"):
        pick(others, fps=30)


def test_a_runtime_that_is_not_installed_here_is_not_picked() -> None:
    legacy = row(10, 1.5, runtime="tflite_runtime")
    assert rules.pick([legacy, row(20, 1.5)], fps=30, cores=4).runtime == "litert"
    assert pick([legacy, row(20, 1.5)], fps=30).runtime == "tflite_runtime"


def test_if_nothing_is_good_enough_the_closest_is_named() -> None:
    rows = [row(29.6, 1.6), row(12, 1.1, "nano")]
    with pytest.raises(GateError) as slow:
        pick(rows, max_ms=20, min_gain_db=1.5)
    assert str(slow.value) == (
        "nothing here restores a frame within 20 ms (p95) with a gain of at least 1.50 dB; closest: nano int8.tflite, litert, "
        "3 threads (+1.10 dB, p50 12.0 ms, p95 12.6 ms); relax the limits, measure a smaller --size, or give another --bundle"
    )
    with pytest.raises(GateError, match=r"has a gain of at least 2.00 dB; closest: small int8"):
        pick(rows, min_gain_db=2.0)
    loop = Loop(rows[0].label, 20.0, {}, 0.7, 40.0, 50.0, 0.5, 120.0)
    with pytest.raises(GateError, match=r"closest: small.*its whole loop 20.0 frames a second"):
        pick(rows, fps=25, min_gain_db=1.5, loops=[loop])


def test_a_row_that_does_not_improve_blurred_pictures_is_picked_only_on_request() -> None:
    with pytest.raises(GateError, match="improves blurred pictures"):
        pick([row(20, -0.2)])
    with pytest.raises(GateError, match="and improves blurred pictures; closest"):
        pick([row(20, -0.2)], fps=30)
    assert picked(row(20, -0.2), fps=30, min_gain_db=-1.0).name == "small"


def test_a_minimum_gain_goes_before_the_rate_of_most_cameras() -> None:
    good, fast = row(60, 1.8), row(10, 1.2, "nano")
    assert picked(good, fast, min_gain_db=1.5) == good


# What is kept


def result(*rows: Row) -> Result:
    return Result(
        SCHEMA, "quick", "deblurkit bench --pick", "2026-11-25T13:00:00+01:00", 120.0, True, (640, 480), 3, "none", machine(), (),
        rows,
    )  # fmt: skip


def real(folder: Path, **others: Any) -> tuple[Row, Pick]:
    bundle = open_bundle(folder)
    file = bundle.artifact("int8", ("tflite",)).file
    hashes = {"sha256": file_facts(folder / file)["sha256"], "bundle_hash": file_facts(folder / MANIFEST)["sha256"]}
    found = row(20.123, 1.6047, bundle.name, file=file, **{**hashes, **others})
    return found, pick([found], fps=30)


def test_the_tuned_model_of_a_shipped_bundle_is_valid_here_and_named(tmp_path: Path) -> None:
    found, chosen = real(SHIPPED / "small")
    kept = tuned_model(chosen, result(found))
    assert (kept.bundle, kept.variant, kept.runtime, kept.threads) == ("small", "int8", "litert", 3)
    assert (kept.p50_ms, kept.gain_db, kept.size_wh, kept.measured) == (20.12, 1.605, (640, 480), "2026-11-25")
    assert kept.why == chosen.why
    assert tuned.stale_reason(kept) == ""
    tuned.write(tmp_path, kept)
    assert tuned.read(tmp_path) == kept


def test_the_tuned_model_of_another_bundle_has_its_folder_or_the_path_of_a_single_file(small_copy: Path) -> None:
    (small_copy / MANIFEST).write_text((small_copy / MANIFEST).read_text() + "\n")  # the name of a shipped one, but another
    found, chosen = real(small_copy)
    kept = tuned_model(chosen, result(found), [open_bundle(small_copy)])
    assert kept.bundle == str(small_copy.resolve())
    assert tuned.stale_reason(kept) == ""
    with pytest.raises(UsageError, match="its folder is unknown"):
        tuned_model(chosen, result(found))
    (small_copy / MANIFEST).unlink()
    file = small_copy / str(found.file)
    found = replace(found, bundle_hash=None)
    kept = tuned_model(chosen, result(found), [open_bundle(file)])
    assert kept.bundle == str(file.resolve())
    assert tuned.stale_reason(kept) == ""


def test_of_two_files_that_a_runtime_reads_the_one_that_run_uses_is_picked() -> None:
    onnx = row(12.0, 1.9, runtime="openvino", file="small_int8.onnx")
    tflite = row(11.0, 1.9, runtime="openvino", file="small_int8.tflite")
    assert picked(onnx, tflite) is onnx
    assert picked(tflite) is tflite
    assert picked(replace(onnx, status="failed", latency=None), tflite) is tflite
