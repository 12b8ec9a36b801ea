import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from device.bundle.manifest import MANIFEST, SCHEMA, Artifact, file_facts
from device.bundle.open import INT8_LOSS_DB, Bundle, open_bundle, shipped
from device.bundle.write import atomic_folder, write_manifest
from device.errors import BundleError, RunError, UsageError


def edit(folder: Path, change: dict[str, Any]) -> None:
    content = json.loads((folder / MANIFEST).read_text()) | change
    (folder / MANIFEST).write_text(json.dumps(content))


def artifacts_with(folder: Path, **change: Any) -> dict[str, Any]:
    """The manifest's artifacts with a change to the first."""
    first, *others = json.loads((folder / MANIFEST).read_text())["artifacts"]
    return {"artifacts": [first | change, *others]}


def first_file(folder: Path) -> Path:
    return folder / json.loads((folder / MANIFEST).read_text())["artifacts"][0]["file"]


def test_every_file_of_the_shipped_bundles_is_as_its_manifest_says() -> None:
    assert "small" in shipped()
    for name in shipped():
        bundle = open_bundle(name)
        assert bundle.name == name
        for artifact in bundle.manifest.artifacts:
            assert bundle.path(artifact).name == artifact.file


def test_a_folder_opens_by_its_path(small: Bundle, small_copy: Path) -> None:
    opened = open_bundle(small_copy)
    assert opened.folder == small_copy
    assert opened.manifest == small.manifest
    assert open_bundle(str(small_copy)).manifest == small.manifest


def test_a_single_file_of_a_bundle_opens_as_a_bundle_of_that_file(small: Bundle) -> None:
    artifact = small.artifact("int8", ("tflite",))
    alone = open_bundle(small.path(artifact))
    assert alone.manifest.artifacts == (artifact,)
    assert alone.artifact(None, ("tflite",)) == artifact
    with pytest.raises(BundleError, match=r"has no fp32 for tflite; it has int8\.tflite"):
        alone.artifact("fp32", ("tflite",))


def without_contract(path: Path) -> Path:
    """The same file with a damaged contract key."""
    path.write_bytes(path.read_bytes().replace(b"deblurkit", b"deblurkat"))
    return path


def test_a_shipped_model_file_works_without_its_manifest(small_copy: Path, small: Bundle) -> None:
    path = first_file(small_copy)
    (small_copy / MANIFEST).unlink()
    opened = open_bundle(path)
    assert [a.file for a in opened.manifest.artifacts] == [path.name]
    assert (opened.name, opened.manifest.halo) == ("small", small.manifest.halo)


def test_a_model_file_without_manifest_and_contract_is_refused(small_copy: Path) -> None:
    path = without_contract(first_file(small_copy))
    (small_copy / MANIFEST).unlink()
    with pytest.raises(BundleError, match=r"a model file with no manifest\.json next to it"):
        open_bundle(path)


def test_a_file_that_the_manifest_next_to_it_does_not_name_is_refused(small_copy: Path) -> None:
    moved = without_contract(first_file(small_copy)).rename(small_copy / "small_fp33.tflite")
    with pytest.raises(BundleError, match=r"does not name this file; did you mean 'small_fp32\.tflite'"):
        open_bundle(moved)


@pytest.mark.parametrize(("loss_db", "taken"), [(INT8_LOSS_DB, "int8.tflite"), (INT8_LOSS_DB + 0.01, "dynamic.tflite")])
def test_the_best_8_bit_file_is_the_default(small: Bundle, loss_db: float, taken: str) -> None:
    def losing(artifact: Artifact) -> Artifact:
        assert artifact.quality is not None
        return replace(artifact, quality=replace(artifact.quality, loss_db=loss_db if artifact.variant == "int8" else 0.0))

    manifest = replace(small.manifest, artifacts=tuple(losing(a) for a in small.manifest.artifacts))
    bundle = replace(small, manifest=manifest)
    assert bundle.artifact(None, ("tflite",)).label == taken
    assert bundle.artifact(None, ("onnx",)).label == "int8.onnx"
    assert bundle.artifact("fp16", ("onnx", "tflite")).label == "fp16.onnx"
    unmeasured = replace(manifest, artifacts=tuple(replace(a, quality=None) for a in manifest.artifacts))
    assert replace(small, manifest=unmeasured).artifact(None, ("tflite",)).label == "dynamic.tflite"


def test_an_unknown_variant_is_wrong_usage_and_a_missing_variant_is_a_bundle_error(small: Bundle) -> None:
    with pytest.raises(UsageError, match="unknown variant 'int9'; did you mean 'int8'"):
        small.artifact("int9", ("tflite",))
    with pytest.raises(BundleError, match="has no dynamic for onnx; it has"):
        small.artifact("dynamic", ("onnx",))


def test_a_missing_file_is_named(small_copy: Path) -> None:
    bundle, path = open_bundle(small_copy), first_file(small_copy)
    path.unlink()
    with pytest.raises(BundleError, match=rf"{path.name}: No such file or directory, but the manifest names it"):
        bundle.path(bundle.manifest.artifacts[0])


def test_a_truncated_file_is_detected_by_its_size(small_copy: Path) -> None:
    bundle, path = open_bundle(small_copy), first_file(small_copy)
    size = path.stat().st_size
    os.truncate(path, size - 100)
    with pytest.raises(BundleError, match=rf"{path.name}: {size - 100} bytes, but the manifest says {size}"):
        bundle.path(bundle.manifest.artifacts[0])


def test_a_changed_file_is_detected_by_its_hash(small_copy: Path) -> None:
    bundle, path = open_bundle(small_copy), first_file(small_copy)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(BundleError, match=rf"{path.name}: its SHA-256 differs from the manifest"):
        bundle.path(bundle.manifest.artifacts[0])


@pytest.mark.parametrize("name", ["../outside.tflite", "/etc/hostname", "sub/model.tflite", "..", ""])
def test_a_file_name_outside_the_folder_is_refused(small_copy: Path, name: str) -> None:
    outside = small_copy.parent / "outside.tflite"
    outside.write_bytes(first_file(small_copy).read_bytes())
    edit(small_copy, artifacts_with(small_copy, file=name))
    bundle = open_bundle(small_copy)
    with pytest.raises(BundleError):
        bundle.path(bundle.manifest.artifacts[0])


def test_a_file_name_outside_the_folder_is_named_in_the_error(small_copy: Path) -> None:
    edit(small_copy, artifacts_with(small_copy, file="../x"))
    bundle = open_bundle(small_copy)
    with pytest.raises(BundleError, match=r"names a file outside the folder \('\.\./x'\)"):
        bundle.path(bundle.manifest.artifacts[0])


@pytest.mark.parametrize(
    ("schema", "words"),
    [
        (SCHEMA + 1, f"schema {SCHEMA + 1}, this version reads {SCHEMA}; update deblurkit"),
        (0, "export the bundle again"),
        (None, "schema None"),
        ("1", "schema '1'"),
    ],
)
def test_another_schema_is_refused_with_what_to_do(small_copy: Path, schema: Any, words: str) -> None:
    edit(small_copy, {"schema": schema, "a key of tomorrow": 1})
    with pytest.raises(BundleError, match=words):
        open_bundle(small_copy)


def test_an_unknown_key_names_the_nearest(small_copy: Path) -> None:
    edit(small_copy, {"pad_multipel": 8})
    with pytest.raises(BundleError, match=r"manifest\.json: unknown key 'pad_multipel'; did you mean 'pad_multiple'"):
        open_bundle(small_copy)


def test_an_unknown_key_of_an_artifact_is_located(small_copy: Path) -> None:
    edit(small_copy, artifacts_with(small_copy, shaa256="x"))
    with pytest.raises(BundleError, match=r"artifacts\[0\]: unknown key 'shaa256'; did you mean 'sha256'"):
        open_bundle(small_copy)


@pytest.mark.parametrize("key", ["halo", "artifacts", "name"])
def test_a_missing_key_is_named(small_copy: Path, key: str) -> None:
    content = json.loads((small_copy / MANIFEST).read_text())
    del content[key]
    (small_copy / MANIFEST).write_text(json.dumps(content))
    with pytest.raises(BundleError, match=f"the key '{key}' is missing"):
        open_bundle(small_copy)


@pytest.mark.parametrize(
    "change", [{"halo": "8"}, {"pad_multiple": 0}, {"halo": -1}, {"fixed_hw": [64]}, {"fixed_hw": [0, 64]}, {"artifacts": {}}]
)
def test_an_impossible_value_is_refused(small_copy: Path, change: dict[str, Any]) -> None:
    edit(small_copy, change)
    with pytest.raises(BundleError, match=next(iter(change))):
        open_bundle(small_copy)


@pytest.mark.parametrize(("dtype", "scale"), [("float64", 0.0), ("text", 0.0), ("int8", 0.0), ("uint8", -1.0)])
def test_a_tensor_that_no_codec_knows_is_refused(small_copy: Path, dtype: str, scale: float) -> None:
    tensor = {"name": "x", "dtype": dtype, "scale": scale, "zero_point": 0}
    edit(small_copy, artifacts_with(small_copy, input=tensor))
    with pytest.raises(BundleError, match=f"{dtype}"):
        open_bundle(small_copy)


@pytest.mark.parametrize("garbage", [b"", b"{", b"\xff\xfe\x00", b"not json", b'{"schema": 1'])
def test_a_manifest_that_is_not_json_is_refused(small_copy: Path, garbage: bytes) -> None:
    (small_copy / MANIFEST).write_bytes(garbage)
    with pytest.raises(BundleError, match=r"manifest\.json: not valid JSON"):
        open_bundle(small_copy)


@pytest.mark.parametrize("content", ["[]", "3", "null", '"text"'])
def test_json_that_is_not_a_manifest_is_refused(small_copy: Path, content: str) -> None:
    (small_copy / MANIFEST).write_text(content)
    with pytest.raises(BundleError, match="schema None"):
        open_bundle(small_copy)


def test_a_folder_without_a_manifest_is_not_a_bundle(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"not a bundle \(manifest\.json: No such file"):
        open_bundle(tmp_path)


def test_an_unknown_name_names_the_nearest() -> None:
    with pytest.raises(BundleError, match=r"smalll: neither .* did you mean 'small'\? Known: .*small"):
        open_bundle("smalll")


def test_a_written_bundle_reads_back_the_same(small: Bundle, tmp_path: Path) -> None:
    out = tmp_path / "new" / "mine"
    with atomic_folder(out, replace=False) as folder:
        assert not out.exists()
        write_manifest(folder, small.manifest)
    assert open_bundle(out).manifest == small.manifest
    assert os.listdir(out.parent) == ["mine"]


def test_file_facts_pass_verification(small: Bundle) -> None:
    artifact = small.manifest.artifacts[0]
    facts = file_facts(small.path(artifact))
    assert facts == {"file": artifact.file, "sha256": artifact.sha256, "bytes": artifact.bytes}


@pytest.mark.parametrize("error", [RuntimeError("converter"), KeyboardInterrupt(), OSError(28, "No space left on device")])
def test_an_error_inside_leaves_the_old_bundle_untouched(small_copy: Path, error: BaseException) -> None:
    before = {p.name: p.read_bytes() for p in small_copy.iterdir()}
    with pytest.raises((type(error), RunError)), atomic_folder(small_copy, replace=True) as folder:  # noqa: PT012
        (folder / MANIFEST).write_text("half")
        raise error
    assert {p.name: p.read_bytes() for p in small_copy.iterdir()} == before
    assert os.listdir(small_copy.parent) == [small_copy.name]


def test_a_full_disk_while_writing_is_a_run_error_that_names_the_bundle(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="mine: cannot be written: No space left"), atomic_folder(tmp_path / "mine", replace=False):
        raise OSError(28, "No space left on device")
    assert os.listdir(tmp_path) == []


def test_an_output_that_is_not_empty_is_wrong_usage_without_replace(small_copy: Path) -> None:
    with pytest.raises(UsageError, match="exists and is not empty") as caught, atomic_folder(small_copy, replace=False):
        pytest.fail("entered")
    assert caught.value.exit_code == 2
    assert open_bundle(small_copy).name == "small"


def test_an_empty_folder_may_be_written_to(small: Bundle, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    with atomic_folder(tmp_path / "mine", replace=False) as folder:
        write_manifest(folder, small.manifest)
    assert open_bundle(tmp_path / "mine").name == "small"


def test_replace_replaces_the_old_bundle(small: Bundle, small_copy: Path) -> None:
    with atomic_folder(small_copy, replace=True) as folder:
        write_manifest(folder, small.manifest)
        (folder / "new.txt").write_text("new")
    assert sorted(os.listdir(small_copy)) == [MANIFEST, "new.txt"]
    assert os.listdir(small_copy.parent) == [small_copy.name]


@pytest.mark.parametrize("kind", ["folder", "file"])
def test_replace_does_not_delete_what_is_not_a_bundle(tmp_path: Path, kind: str) -> None:
    out = tmp_path / "thesis"
    if kind == "folder":
        out.mkdir()
    text = out / "chapter1.txt" if kind == "folder" else out
    text.write_text("years of work")
    with pytest.raises(UsageError, match="not a bundle, so --replace will not delete it"), atomic_folder(out, replace=True):
        pytest.fail("entered")
    assert text.read_text() == "years of work"
    assert os.listdir(tmp_path) == ["thesis"]


def test_a_folder_that_cannot_be_created_is_a_run_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(RunError, match="cannot be created"), atomic_folder(tmp_path / "file" / "mine", replace=False):
        pytest.fail("entered")
