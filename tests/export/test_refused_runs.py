"""Runs that cannot be exported."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

keras = pytest.importorskip("keras")
for needed in ("tensorflow", "tf2onnx", "onnxruntime", "ai_edge_litert"):
    pytest.importorskip(needed)
pytestmark = pytest.mark.keras

from train.run_folder import read_run, write_run  # noqa: E402
from train.weights import load_network, save_weights  # noqa: E402

Command = Callable[..., Any]


def spoil_unfinished(run: Path) -> None:
    (run / "model.weights.h5").unlink()


def spoil_nan(run: Path) -> None:
    network = load_network(run)
    network.get_layer("down1").bias.assign(np.full(32, np.nan))
    save_weights(run, read_run(run), network)


def spoil_truncated(run: Path) -> None:
    weights = run / "model.weights.h5"
    weights.write_bytes(weights.read_bytes()[:5000])


def spoil_other_network(run: Path) -> None:
    record = read_run(run)
    write_run(run, replace(record, architecture=record.architecture | {"widths": [16, 48]}))


def spoil_deeper_network(run: Path) -> None:
    record = read_run(run)
    write_run(run, replace(record, architecture=record.architecture | {"encoder_blocks": [1, 3]}))


def spoil_architecture(run: Path) -> None:
    record = read_run(run)
    write_run(run, replace(record, architecture=record.architecture | {"kind": "gan"}))


def spoil_schema(run: Path) -> None:
    content = json.loads((run / "run.json").read_text())
    (run / "run.json").write_text(json.dumps(content | {"schema": 2}))


def spoil_json(run: Path) -> None:
    (run / "run.json").write_text('{"schema": 1, ')


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (spoil_unfinished, "has not finished; finish it with `deblurkit train --out"),
        (spoil_nan, "has NaN or infinite weights"),
        (spoil_truncated, "not the weights of this small"),
        (spoil_other_network, "not the weights of this small"),
        (spoil_deeper_network, "not the weights of this small"),
        (spoil_architecture, "unknown architecture kind 'gan'"),
        (spoil_schema, "schema 2, this version reads 1; update deblurkit"),
        (spoil_json, "not valid JSON"),
    ],
)
def test_a_run_that_cannot_be_exported_ends_with_4_and_says_why(
    command: Command, copied: Path, tmp_path: Path, spoil: Callable[[Path], None], said: str
) -> None:
    spoil(copied)
    ended = command("export", copied, "--out", tmp_path / "out" / "bundle", "--quiet")
    assert ended.code == 4
    assert said in ended.err
    assert not list((tmp_path / "out").iterdir())


def test_a_folder_that_is_no_run_ends_with_4(command: Command, pictures: Path, tmp_path: Path) -> None:
    for folder in (pictures, tmp_path / "nowhere"):
        ended = command("export", folder, "--out", tmp_path / "bundle")
        assert ended.code == 4
        assert "not a training run" in ended.err
