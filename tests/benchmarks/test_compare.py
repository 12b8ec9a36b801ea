"""deblurkit bench compare."""

import json
from dataclasses import asdict, replace
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from result_parts import measured_times, result, row, rows, times

from benchmarks.compare import main
from benchmarks.comparison import GONE, NEW, UNTIMED, Change, Comparison, compare
from benchmarks.records import Estimate, Latency, Result, as_json, from_json
from benchmarks.verdict import BEYOND, IMPROVED, NOISE, WORSE, ratio, verdict
from device.errors import DataError, GateError, UsageError


def with_first(**changes: Any) -> Result:
    """The result with a changed first row."""
    return result(rows=(replace(rows()[0], **changes), *rows()[1:]))


def first(found: Comparison) -> Change:
    return next(change for change in found.rows if change.label == rows()[0].label)


def files(folder: Path, a: Result, b: Result) -> list[str]:
    for name, content in (("a.json", a), ("b.json", b)):
        (folder / name).write_text(json.dumps(as_json(content)))
    return [str(folder / "a.json"), str(folder / "b.json")]


@pytest.mark.parametrize(
    ("middle_ms", "expected"), [(20.0, NOISE), (20.2, NOISE), (21.0, WORSE), (23.0, BEYOND), (18.0, IMPROVED)]
)
def test_the_interval_of_the_ratio_decides_between_improved_worse_and_noise(middle_ms: float, expected: str) -> None:
    change = first(compare(result(), with_first(latency=times(middle_ms))))
    assert change.verdict == expected
    assert change.p50_ratio is not None
    assert change.p50_ratio.value == pytest.approx(middle_ms / 20)
    assert change.p50_ratio.low < middle_ms / 20 < change.p50_ratio.high
    assert bool(change.regressions) == (expected == BEYOND)


def test_a_larger_tolerance_accepts_a_larger_slowdown() -> None:
    later = with_first(latency=times(23.0))
    assert first(compare(result(), later, tolerance=0.05)).verdict == BEYOND
    assert first(compare(result(), later, tolerance=0.14)).verdict == WORSE


def test_the_ratio_is_the_inverse_of_the_ratio_the_other_way_round() -> None:
    a, b = times(20.0, 0.01), times(23.0, 0.03)
    one, other = ratio(a, b), ratio(b, a)
    assert one is not None
    assert other is not None
    assert (one.value, one.low, one.high) == pytest.approx((1 / other.value, 1 / other.high, 1 / other.low))


@pytest.fixture(scope="module")
def pairs() -> list[tuple[Latency, Latency]]:
    """Pairs of equal runs: rounds and frames differ by 2 % by chance, as on a quiet board."""
    rng = np.random.default_rng(6)
    return list(combinations([measured_times(rng, 20.0, 0.02, 0.02) for _ in range(60)], 2))


def slower(of: Latency, share: float) -> Latency:
    p50 = of.p50_ms
    return replace(of, p50_ms=Estimate(share * p50.value, share * p50.low, share * p50.high))


def refused(pairs: list[tuple[Latency, Latency]], share: float) -> float:
    """The share of pairs beyond a tolerance of 5 % when the second really takes `share` of the time."""
    judged = [(a, slower(b, share)) for a, b in pairs]
    return float(np.mean([verdict(a, b, ratio(a, b), 0.05) == BEYOND for a, b in judged]))


def test_one_in_twenty_equal_runs_counts_as_a_change(pairs: list[tuple[Latency, Latency]]) -> None:
    changes = np.mean([verdict(a, b, ratio(a, b), 0.05) != NOISE for a, b in pairs])
    assert 0.01 <= changes <= 0.10


def test_with_bare_bootstrap_intervals_three_times_as_many_would_count_as_a_change(pairs: list[tuple[Latency, Latency]]) -> None:
    apart = 0
    for a, b in ((a.p50_ms, b.p50_ms) for a, b in pairs):
        below = np.hypot(np.log(b.value / b.low), np.log(a.high / a.value))
        above = np.hypot(np.log(b.high / b.value), np.log(a.value / a.low))
        apart += not -above <= np.log(b.value / a.value) <= below
    assert apart / len(pairs) > 0.12


def test_equal_runs_are_never_rejected_and_a_slowdown_at_the_tolerance_rarely(pairs: list[tuple[Latency, Latency]]) -> None:
    assert refused(pairs, 1.0) <= 0.002
    assert refused(pairs, 1.05) <= 0.06


def test_a_slowdown_of_three_times_the_tolerance_is_nearly_always_detected(pairs: list[tuple[Latency, Latency]]) -> None:
    assert refused(pairs, 1.15) >= 0.9


def test_times_of_hundredths_of_a_millisecond_are_noise_whatever_their_ratio() -> None:
    change = first(compare(with_first(latency=times(0.01)), with_first(latency=times(0.025))))
    assert (change.verdict, change.regressions) == (NOISE, ())
    assert first(compare(with_first(latency=times(0.0)), with_first(latency=times(5.0)))).verdict == BEYOND


def test_one_round_says_nothing_about_two_runs() -> None:
    once = replace(times(30.0), rounds_p50_ms=(30.0,))
    change = first(compare(result(), with_first(latency=once)))
    assert (change.verdict, change.p50_ratio) == (NOISE, None)
    assert "one round" in change.notes[0]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"gain_db": 1.44}, "gain +1.50 dB, now +1.44"),
        ({"gain_db": None}, "is not measured"),
        ({"agreement": None}, "compared with the reference in A, not in B"),
        ({"peak_rss_mib": 100.0}, "peak memory 90 MiB, now 100"),
        ({"status": "failed", "message": "killed by signal 9", "latency": None}, "failed: killed by signal 9"),
        ({"status": "wrong", "message": "20 dB"}, "wrong: 20 dB"),
        ({"status": "missing", "message": "not installed", "latency": None}, "missing: not installed"),
    ],
)
def test_other_losses_are_regressions_too(changes: dict[str, Any], words: str) -> None:
    (reason,) = first(compare(result(), with_first(**changes))).regressions
    assert words in reason


@pytest.mark.parametrize("changes", [{"gain_db": 1.45}, {"gain_db": 1.6}, {"peak_rss_mib": 98.0}])
def test_changes_within_the_tolerance_are_not_regressions(changes: dict[str, Any]) -> None:
    assert first(compare(result(), with_first(**changes))).regressions == ()


def test_the_memory_of_a_method_is_not_judged() -> None:
    def nothing(peak_rss_mib: float) -> Result:
        return result(rows=(*rows(), row(name="nothing", kind="classical", agreement=None, peak_rss_mib=peak_rss_mib)))

    assert not any(change.regressions for change in compare(nothing(120.0), nothing(142.0)).rows)


def test_a_case_that_lost_gain_is_named_even_if_the_mean_did_not() -> None:
    quality = dict(rows()[0].quality)
    quality["sharp-in"] = replace(quality["sharp-in"], gain_db=-55.0)
    assert "sharp-in: gain -51.00 dB, now -55.00" in first(compare(result(), with_first(quality=quality))).notes


def test_a_missing_row_is_a_regression_and_a_new_one_is_not() -> None:
    found = compare(result(), result(rows=(*rows()[1:], row(9.0, variant="fp16", file="small_fp16.tflite"))))
    by_verdict = {change.verdict: change for change in found.rows}
    assert "is not in B" in by_verdict[GONE].regressions[0]
    assert by_verdict[NEW].regressions == ()
    assert found.rows[0].verdict == GONE


def test_a_row_that_never_ran_may_be_missing() -> None:
    assert not any(change.regressions for change in compare(result(), result(rows=rows()[:-1])).rows)


def test_methods_are_matched_with_those_of_results_that_hold_their_earlier_names() -> None:
    method = row(31.0, name="Wiener (non-blind)", kind="oracle", variant=None, file=None, runtime=None, agreement=None)
    newer = result(rows=(*rows(), method))
    older = from_json(as_json(result(rows=(*rows(), replace(method, name="Wiener, told")))), "older")
    assert {change.verdict for change in compare(older, newer).rows} == {NOISE, UNTIMED}


def test_only_the_measured_rows_of_a_partial_result_are_compared() -> None:
    unfinished = row(status="failed", message="not measured", latency=None)
    found = compare(result(), result(complete=False, rows=(unfinished, *rows()[2:])))
    assert not any(change.regressions for change in found.rows)
    assert any("partial" in warning for warning in found.warnings)
    wrong = compare(result(), result(complete=False, rows=(row(status="wrong", message="20 dB"),)))
    assert first(wrong).regressions


def test_times_of_different_machines_are_compared_only_on_request() -> None:
    other = replace(result().machine, hardware_hash="fedcba", cpu="Cortex-A72")
    later = replace(with_first(latency=times(40.0), gain_db=1.0), machine=other)
    found = compare(result(), later)
    assert not found.times_compared
    assert first(found).verdict == UNTIMED
    assert len(first(found).regressions) == 1  # quality is no matter of the machine
    assert any("different machines" in warning and "NOT compared" in warning for warning in found.warnings)
    assert first(compare(result(), later, across=True)).verdict == BEYOND


def test_another_machine_need_not_have_the_same_runtimes() -> None:
    other = replace(result().machine, hardware_hash="fedcba")
    found = compare(result(), replace(with_first(status="missing", message="not installed", latency=None), machine=other))
    assert first(found).regressions == ()


@pytest.mark.parametrize(
    "changes", [{"size_wh": (1280, 720)}, {"machine": replace(result().machine, kind="emulated")}], ids=["frames", "emulated"]
)
def test_times_of_different_frames_and_of_emulated_machines_are_never_compared(changes: dict[str, Any]) -> None:
    found = compare(result(), replace(with_first(latency=times(99.0)), **changes), across=True)
    assert not found.times_compared
    assert first(found).verdict == UNTIMED
    assert any("NOT compared" in warning for warning in found.warnings)


def test_quality_on_different_pictures_is_not_compared() -> None:
    found = compare(result(), replace(with_first(gain_db=0.2), pictures="24 pictures of kodak, 12 cases"))
    assert not found.quality_compared
    assert first(found).regressions == ()
    assert any("different pictures" in warning for warning in found.warnings)


def test_rows_that_another_suite_lacks_are_not_regressions() -> None:
    found = compare(result(suite="full"), result(rows=rows()[1:]))
    assert not any(change.regressions for change in found.rows)
    assert any("different suites" in warning for warning in found.warnings)


def test_possible_reasons_are_listed() -> None:
    newer = with_first(bundle_hash="c" * 64, versions={"ai-edge-litert": "2.2.0", "numpy": "2.2.0"})
    changes = compare(result(), replace(newer, machine=replace(result().machine, governor="powersave"))).changes
    assert changes == (
        "governor performance -> powersave", "bundle small bbbbbbbbbbbb -> cccccccccccc", "ai-edge-litert 2.1.0 -> 2.2.0",
    )  # fmt: skip


def test_a_slower_machine_is_distinguished_from_a_slower_file() -> None:
    def slowed(share: float) -> Result:
        return result(rows=tuple(replace(r, latency=r.latency and times(share * r.latency.p50_ms.value)) for r in rows()))

    assert any("the median row takes 1.04" in warning for warning in compare(result(), slowed(1.04)).warnings)
    assert compare(result(), with_first(latency=times(30.0))).warnings == ()


def test_results_without_a_common_row_cannot_be_compared() -> None:
    with pytest.raises(DataError, match="no row in common"):
        compare(result(), result(rows=(row(name="other"),)))
    with pytest.raises(DataError, match="two rows of small int8"):
        compare(result(), result(rows=(row(), row())))


def test_the_command_succeeds_if_nothing_is_worse(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*files(tmp_path, result(), with_first(latency=times(20.3))), "--quiet"]) == 0
    out = capsys.readouterr().out
    assert "small int8.tflite, litert, 1 thread" in out
    assert out.splitlines()[-1] == "times: 0 improved, 0 worse, 0 beyond, 5 noise"


def test_the_command_ends_with_6_after_printing_everything(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(GateError, match=r"small int8\.tflite, litert, 1 thread: takes 1\.20 of the time") as raised:
        main([*files(tmp_path, result(), with_first(latency=times(24.0))), "--json", "--quiet"])
    assert raised.value.exit_code == 6
    said = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert said["rows"][0]["verdict"] == BEYOND
    assert len(said["regressions"]) == 1
    assert said["rows"] == json.loads(json.dumps([asdict(c) for c in compare(result(), with_first(latency=times(24.0))).rows]))


@pytest.mark.parametrize("tolerance", ["5", "abc", "-1%", "nan", "100%", ""])
def test_an_ambiguous_tolerance_is_rejected(tmp_path: Path, tolerance: str) -> None:
    with pytest.raises(UsageError, match=r"such as 5% or 0\.05"):
        main([*files(tmp_path, result(), result()), f"--tolerance={tolerance}"])


def test_a_tolerance_is_read_as_a_percentage_or_as_a_share(tmp_path: Path) -> None:
    given = files(tmp_path, result(), with_first(latency=times(24.0)))
    for tolerance in ("30%", "0.3", " 30 %"):
        assert main([*given, "--quiet", "--tolerance", tolerance]) == 0


def test_bad_decibels_and_bad_usage_end_with_2(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="0 or more"):
        main([*files(tmp_path, result(), result()), "--tolerance-db", "nan"])
    with pytest.raises(SystemExit) as ended:
        main(["one.json"])
    assert ended.value.code == 2


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "No such file"),
        (b"{", "not JSON"),
        (b"\xff\xfe", "not JSON"),
        (b'{"schema": NaN}', "NaN is not a JSON number"),
        (b'{"schema": 1e999}', "1e999 is too large"),
        (b"[" * 100_000, "not JSON"),
        (b"[]", "not a benchmark result"),
        (b'{"schema": 1}', "schema 1, this version reads 2"),
        (b'{"schema": 2, "suit": "quick"}', "unknown key 'suit'"),
    ],
    ids=["none", "half", "bytes", "nan", "infinite", "deep", "list", "older", "unknown key"],
)
def test_a_file_that_is_not_a_result_ends_with_3_and_the_reason(tmp_path: Path, content: bytes | None, words: str) -> None:
    given = files(tmp_path, result(), result())
    bad = tmp_path / "bad.json"
    if content is not None:
        bad.write_bytes(content)
    with pytest.raises(DataError, match=words) as raised:
        main([given[0], str(bad)])
    assert raised.value.exit_code == 3
    assert "bad.json" in str(raised.value)


def test_no_time_of_a_noisy_result_counts_as_a_regression_and_a_warning_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    restless = tuple(replace(r, latency=replace(r.latency, steady=False)) if r.latency else r for r in rows())
    slow = (replace(restless[0], latency=replace(times(30.0), steady=False)), *restless[1:])
    found = compare(result(), result(rows=slow))
    assert first(found).verdict == BEYOND
    assert not first(found).regressions
    assert found.times_compared
    assert not found.times_judged
    assert main([*files(tmp_path, result(), result(rows=slow)), "--quiet"]) == 0
    assert "noisy" in capsys.readouterr().err
    with pytest.raises(GateError):  # the same times, from a machine that held still
        main([*files(tmp_path, result(), with_first(latency=times(30.0))), "--quiet"])
