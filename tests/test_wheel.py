"""The built wheel, in an environment that holds nothing but the device floor."""

import json
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    subprocess.run(command, check=True, capture_output=True)
    (built,) = folder.glob("*.whl")
    return built


def test_the_wheel_holds_the_front_door_the_page_and_the_bundle_and_no_tests(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {
        "deblurkit.py",
        "device/sinks/web/page.html",
        "benchmarks/report/templates/report.html",
        "benchmarks/boards/published.json",
        "device/service/deblurkit.service",
        "device/deblurkit.toml",
        "device/bundles/small/manifest.json",
    } <= names
    assert {f"device/bundles/small/small_{v}" for v in ("fp32.tflite", "dynamic.tflite", "int8.tflite", "int8.onnx")} <= names
    assert not [name for name in names if name.startswith(("tests/", "runs/", "out/"))]


def test_the_shipped_bundle_is_below_ten_megabytes() -> None:
    assert sum(p.stat().st_size for p in (ROOT / "device/bundles/small").iterdir()) < 10e6


@pytest.mark.slow
def test_the_wheel_runs_in_a_clean_environment(wheel: Path, tmp_path: Path) -> None:
    venv.create(tmp_path / "env", with_pip=False)  # pip of this environment installs into that one, sooner than pip itself
    pip = [sys.executable, "-m", "pip", "--python", str(tmp_path / "env" / "bin" / "python")]
    install = [*pip, "install", "--quiet", "--no-compile", "-c", str(ROOT / "constraints/constraints.txt"), str(wheel)]
    done = subprocess.run(install, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    deblurkit = tmp_path / "env" / "bin" / "deblurkit"
    listing = subprocess.run([*pip, "list"], capture_output=True, text=True, check=True).stdout.lower()
    assert "tensorflow" not in listing
    assert "keras" not in listing
    doctor = subprocess.run([str(deblurkit), "doctor", "--json"], capture_output=True, text=True, check=False, cwd=tmp_path)
    assert doctor.returncode == 0, doctor.stdout
    run = [str(deblurkit), "run", "--source", "demo", "--sink", "null", "--frames", "5", "--json"]
    shown = subprocess.run(run, capture_output=True, text=True, check=True, cwd=tmp_path)
    assert json.loads(shown.stdout.splitlines()[-1])["frames"] == 5
    lacking = subprocess.run([str(deblurkit), "train"], capture_output=True, text=True, check=False, cwd=tmp_path)
    assert lacking.returncode == 2
    assert "make setup" in lacking.stderr
