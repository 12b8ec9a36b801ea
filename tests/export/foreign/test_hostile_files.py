"""Hostile files of every form, built for real: each is refused, and nothing of what it would do has happened."""

import os
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

keras = pytest.importorskip("keras")
for needed in ("tensorflow", "tf2onnx", "onnxruntime", "ai_edge_litert"):
    pytest.importorskip(needed)
pytestmark = pytest.mark.keras

from device.errors import BundleError  # noqa: E402
from export.foreign import open_foreign, saved_model  # noqa: E402

Call = Callable[..., Any]


@pytest.mark.parametrize("form", ["plain.keras", "plain", "plain.onnx", "plain.tflite"])
def test_the_harmless_network_that_the_others_are_made_of_is_taken(good: Path, form: str, opened: Call) -> None:
    assert opened(good / form).manifest.parameters == 84


def test_a_file_larger_than_the_limit_is_refused_unread(
    monkeypatch: pytest.MonkeyPatch, good: Path, theirs: Path, refused: Call
) -> None:
    for module in (open_foreign, saved_model):
        monkeypatch.setattr(module, "LIMIT", 1000)
    for form in ("plain.keras", "plain.onnx", "plain.tflite", "plain"):
        target = theirs / form
        _ = shutil.copytree(good / form, target) if (good / form).is_dir() else shutil.copy(good / form, target)
        refused(target, "expected at most")


class Touch:
    """Writes the canary when it is unpickled."""

    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self) -> tuple:
        return Path.touch, (self.canary,)


@pytest.mark.parametrize("suffix", [".keras", ".onnx", ".tflite", ".h5", ".pkl", ".pt", ".pth", ".safetensors", ".bin", ""])
def test_a_pickle_under_any_name_is_refused(canary: Path, suffix: str, theirs: Path, refused: Call) -> None:
    path = theirs / f"model{suffix}"
    path.write_bytes(pickle.dumps(Touch(canary)))
    pickle.loads(path.read_bytes())
    assert canary.exists()  # it would
    canary.unlink()
    refused(path, "damaged|is not accepted")


@pytest.mark.parametrize(
    ("suffix", "way"), [(".h5", "save it as .keras"), (".pt", "export it to ONNX"), (".pb", "give the folder")]
)
def test_other_formats_are_refused_with_the_way_to_an_accepted_one(suffix: str, way: str, theirs: Path, refused: Call) -> None:
    path = theirs / f"model{suffix}"
    path.write_bytes(b"anything")
    refused(path, rf"\{suffix} is not accepted, expected a \.keras file, a SavedModel's folder.*{way}")


@pytest.mark.parametrize("form", ["plain.keras", "plain.onnx", "plain.tflite", "plain"])
@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.95])
def test_a_truncated_file_of_each_kind_is_refused(
    good: Path, canary: Path, form: str, share: float, opened: Call, theirs: Path
) -> None:
    path = theirs / form
    if (good / form).is_dir():
        shutil.copytree(good / form, path)
        file = path / "saved_model.pb"
    else:
        file = Path(shutil.copy(good / form, path))
    os.truncate(file, int(share * file.stat().st_size))
    with pytest.raises(BundleError):
        opened(path)
    assert not canary.exists()


def test_a_missing_file_is_named(theirs: Path, refused: Call) -> None:
    refused(theirs / "none.keras", "no such file; give a .keras file, a SavedModel's folder")
