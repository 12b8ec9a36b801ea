"""Counted instructions fit the shipped bundles, and published measurements confirm the predicted ranges."""

import copy
import json
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import pytest
import result_parts

from benchmarks.boards import calibration, predict, prediction
from device.errors import DataError

HOME = Path(__file__).parents[3]
COUNT_AGAIN = "python scripts/instructions/count.py"
CORES = ("cortex-a72", "cortex-a76")
RUNTIME = {"tflite": "litert", "onnx": "onnxruntime", "ncnn": "ncnn"}


def shipped() -> list[tuple[Path, str]]:
    found = []
    for manifest in sorted((HOME / "device/bundles").glob("*/manifest.json")):
        artifacts = json.loads(manifest.read_text())["artifacts"]
        found += [(manifest.parent / each["file"], each["format"]) for each in artifacts]
    return found


def hashes() -> set[str]:
    return {sha256(file.read_bytes()).hexdigest() for file, _ in shipped()}


def test_every_shipped_file_was_counted_in_its_present_version() -> None:
    known = {(row["core"], row["runtime"], row["sha256"]) for row in calibration.counted()["rows"]}
    missing = [
        f"{file.name} on {core}"
        for file, kind in shipped()
        for core in CORES
        if (core, RUNTIME[kind], sha256(file.read_bytes()).hexdigest()) not in known
    ]
    assert not missing, f"not counted since their export: {', '.join(missing)}; run: {COUNT_AGAIN}"


def test_only_shipped_files_have_counts() -> None:
    stale = {row["file"] for row in calibration.counted()["rows"] if row["sha256"] not in hashes()}
    assert not stale, f"{', '.join(sorted(stale))}: counted, but exported anew since; run: {COUNT_AGAIN}"


def test_counts_repeat_to_half_a_percent_and_their_shares_add_up() -> None:
    for row in calibration.counted()["rows"]:
        width, height = row["size_wh"]
        assert row["spread"] <= 0.005
        assert row["per_pixel"] == pytest.approx(row["per_frame"] / (width * height), abs=0.06)
        assert row["per_kmac"] == pytest.approx(1000 * row["per_pixel"] / row["macs_per_pixel"], rel=1e-3)


def test_instructions_are_proportional_to_pixels_and_litert_s_to_one_percent() -> None:
    counts: dict[tuple[str, ...], list[float]] = {}
    for row in calibration.counted()["rows"]:
        if row["what"] == "invoke":
            counts.setdefault((row["core"], row["runtime"], row["sha256"]), []).append(row["per_pixel"])
    both = {key: found for key, found in counts.items() if len(found) == 2}
    assert len(both) >= 12
    for (_, runtime, _), (one, other) in both.items():
        assert one == pytest.approx(other, rel={"litert": 0.01, "ncnn": 0.12}.get(runtime, 0.1))


def test_our_own_code_takes_at_most_40_instructions_per_pixel_of_a_camera_frame() -> None:
    bare = {(r["core"], r["sha256"], *r["size_wh"]): r for r in calibration.counted()["rows"] if r["what"] == "invoke"}
    whole = [row for row in calibration.counted()["rows"] if row["what"] == "planes"]
    assert len(whole) >= 4
    for row in whole:
        ours = row["per_pixel"] - bare[row["core"], row["sha256"], *row["size_wh"]]["per_pixel"]
        assert 0 < ours <= 40, f"{row['file']} on {row['core']}: {ours:.0f} a pixel beside the runtime's call"


def test_predictions_are_ranges_and_a_raspberry_pi_4_is_slower_than_a_5() -> None:
    found = prediction.for_bundles(hashes())
    assert found is not None
    ranges = {
        (each["board"], each["file"], each["runtime"], each["threads"]): (each["low_ms"], each["high_ms"])
        for each in found["predictions"]
    }
    assert {threads for *_, threads in ranges} == {1, 4}
    assert all(0 < low < high for low, high in ranges.values())
    four, faster_four, five = (board.name for board in calibration.BOARDS)
    for (board, *what, threads), (low, high) in ranges.items():
        if board == five:
            assert ranges[four, *what, threads][0] > low
            assert ranges[four, *what, threads][1] > high
            assert ranges[faster_four, *what, threads][0] > low
        if threads == 4:
            assert low < ranges[board, *what, 1][0]
            assert high < ranges[board, *what, 1][1]


def test_every_shipped_file_has_a_prediction_for_every_board() -> None:
    found = prediction.for_bundles(hashes())
    assert found is not None
    for board in calibration.BOARDS:
        files = {each["file"] for each in found["predictions"] if each["board"] == board.name}
        assert files >= {file.name for file, _ in shipped()}


def test_unknown_files_give_nothing_and_a_known_file_only_its_own_entries() -> None:
    assert prediction.for_bundles({"0" * 64}) is None
    assert prediction.for_bundles(set()) is None
    file = next(file for file, _ in shipped() if file.name == "small_int8.tflite")
    found = prediction.for_bundles({sha256(file.read_bytes()).hexdigest(), "0" * 64})
    assert found is not None
    assert {row["file"] for row in found["instructions"] + found["predictions"]} == {file.name}
    assert json.loads(json.dumps(found)) == found
    assert "not measured" in found["label"]
    assert "not measured" in found["method"]


def test_each_published_time_lies_in_the_range_that_it_calibrates() -> None:
    for row in calibration.published()["measured"]:
        board = next(each for each in calibration.BOARDS if each.name == row["board"])
        speed = calibration.speed(board, row["variant"], row["threads"])
        assert speed.slow <= calibration.rate(row) <= speed.fast


def test_leaving_one_out_uses_only_the_others() -> None:
    left = {(each["board"], each["network"], each["variant"], each["threads"]): each for each in calibration.left_out()}
    key = ("Raspberry Pi 5, 2.4 GHz", "resnet-50", "int8", 4)
    rates = sorted(
        calibration.rate(row)
        for row in calibration.published()["measured"]
        if (row["board"], row["variant"], row["threads"]) == (key[0], "int8", 4) and row["network"] != "resnet-50"
    )
    counts = calibration.counted()["references"]
    instructions = next(r["per_frame"] for r in counts if (r["core"], r["file"]) == ("cortex-a76", "resnet-50_int8.tflite"))
    assert left[key]["low_ms"] == pytest.approx(instructions / 2.4e6 / (rates[-1] * rates[-1] / rates[-2]))
    assert left[key]["high_ms"] == pytest.approx(instructions / 2.4e6 / (rates[0] * rates[0] / rates[1]))
    assert left[key]["verdict"] == "inside"


def test_a_published_time_that_does_not_fit_is_outside() -> None:
    measured = copy.deepcopy(calibration.published()["measured"])
    wrong = next(row for row in measured if (row["network"], row["board"][:14]) == ("resnet-50", "Raspberry Pi 5"))
    for factor, word in ((10, "slower by"), (0.1, "faster by")):
        changed = [row | {"ms": row["ms"] * factor} if row is wrong else row for row in measured]
        verdict = next(r["verdict"] for r in calibration.left_out(changed) if r["network"] == "resnet-50")
        assert verdict.startswith(word)


def test_most_published_times_are_inside_when_left_out_and_none_is_off_by_half() -> None:
    left = calibration.left_out()
    inside = [each for each in left if each["verdict"] == "inside"]
    assert len(inside) >= 0.75 * len(left)
    for each in left:
        assert each["low_ms"] / 1.5 <= each["ms"] <= each["high_ms"] * 1.5, each


def test_the_documents_contain_the_tables_that_the_commands_print() -> None:
    for name, command, table in (
        ("docs/boards-predicted.md", "python -m benchmarks.boards.predict", predict.tables()),
        ("docs/networks.md", "python -m benchmarks.boards.predict counts", predict.counts()),
    ):
        assert table in (HOME / name).read_text(), f"{name}: put in what `{command}` prints"


def test_the_times_of_a_board_are_compared_with_their_predictions() -> None:
    count = next(
        row for row in calibration.counted()["rows"]
        if (row["file"], row["core"], row["what"], row["runtime"]) == ("small_int8.tflite", "cortex-a76", "invoke", "litert")
    )  # fmt: skip
    board = calibration.BOARDS[2]
    low, high = prediction.milliseconds(board, count, 1)
    for measured_ms, said in ((0.5 * (low + high), "1 of 1 inside"), (2 * high, "0 of 1 inside")):
        row = result_parts.row(sha256=count["sha256"], stages_ms={"infer": measured_ms})
        shown = predict.comparison(result_parts.result(rows=(row,)))
        assert f"{measured_ms:.1f}" in shown
        assert said in shown


@pytest.mark.parametrize(
    ("changes", "named"), [({"board": "Some laptop"}, "Some laptop"), ({"most_mhz": 1000.0}, "expected one of Raspberry Pi 4")]
)
def test_a_board_without_predictions_is_rejected(changes: dict[str, object], named: str) -> None:
    result = result_parts.result()
    with pytest.raises(DataError, match=named):
        predict.against(replace(result, machine=replace(result.machine, **changes)))
