"""The configurations of the networks in run.json and in the manifest. Needs no Keras."""

import json
from pathlib import Path

import pytest

from device.errors import BundleError, UsageError
from train.architectures import Dense, UNet, architecture_config, architecture_from
from train.presets import PRESETS
from train.run_folder import read_run

COLOUR, DENSE = UNet(), PRESETS["dense"].architecture


@pytest.mark.parametrize(
    "architecture",
    [COLOUR, DENSE, PRESETS["nano"].architecture, UNet(widths=(16, 48)), Dense(side=64, filters=(8, 16), latent=32)],
)
def test_an_architecture_is_the_same_after_a_round_trip_through_json(architecture: UNet | Dense) -> None:
    config = json.loads(json.dumps(architecture_config(architecture)))
    assert architecture_from(config, "run.json") == architecture


def test_an_unknown_key_is_refused_with_the_file_and_the_nearest_key() -> None:
    with pytest.raises(UsageError, match=r"run.json: unknown key 'width'; did you mean 'widths'\?"):
        architecture_from({"kind": "unet", "width": [16, 32, 64]}, "run.json")


@pytest.mark.parametrize("config", [{"kind": "unett"}, {"widths": [16]}])
def test_an_unknown_kind_is_refused(config: dict) -> None:
    with pytest.raises(UsageError, match=r"run.json: unknown architecture kind .*Known: dense, .*unet"):
        architecture_from(config, "run.json")


def test_an_unknown_architecture_in_a_run_is_a_bundle_error(tmp_path: Path) -> None:
    content = {
        "schema": 1, "preset": "small", "architecture": {"kind": "unet", "depth": 3}, "recipe": {}, "blur": {}, "seed": 0,
        "data": {"kind": "package", "folders": [], "train": [], "validation": [], "val_share": 0.2},
        "parameters": 1, "macs_per_pixel": 1.0, "command": "", "versions": {}, "device": "cpu:0",
    }  # fmt: skip
    (tmp_path / "run.json").write_text(json.dumps(content))
    with pytest.raises(BundleError, match="unknown key 'depth'"):
        _ = read_run(tmp_path).parse_architecture()
