"""What several test files share: the shipped bundle, a generated picture, and the command line in this process."""

import atexit
import logging
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

# `make test` has one worker for each core. The libraries read these as they are loaded.
os.environ.update(dict.fromkeys(["OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "OPENCV_FOR_THREADS_NUM"], "1"))
os.environ.update(dict.fromkeys(["TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"], "1"))

import deblurkit
from device.bundle.open import SHIPPED, Bundle, open_bundle
from device.images.frame import Pixels
from device.images.picture import write_picture
from device.images.scenes import chart, dead_leaves

sys.path.insert(0, str(Path(__file__).resolve().parent / "support"))

# One browser for all tests: two cannot run side by side.
from page_parts import browser, visit  # noqa: F401

NAMES = {"a.png": (60, 80), "b.jpg": (61, 83), "c.webp": (33, 47), "d.bmp": (1, 9), "e.tif": (64, 64)}
# The summary is the last that is said: LiteRT's CompiledModel says two lines more as the process ends.
atexit.register(lambda: os.dup2(os.open(os.devnull, os.O_WRONLY), 2))
LONGEST = (
    "test_camera_faults.py", "test_bench.py", "test_fit.py", "test_gate.py", "test_export.py", "test_accelerator.py",
    "test_nothing_is_lost.py", "test_distil.py", "test_rounds.py", "test_luma.py",
)  # fmt: skip
os.environ["KERAS_BACKEND"] = "tensorflow"  # of the tests marked keras, whatever the shell prefers


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """One worker more than cores: a good part of the tests wait for cameras, servers and time limits."""
    return min(len(os.sched_getaffinity(0)), 4) + 1


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest files first, so that none is left alone at the end; then Keras' files, which compute, among those that wait."""
    computing = {item.path for item in items if item.get_closest_marker("keras")}
    files = list(dict.fromkeys(item.path for item in items))
    place: dict[Path, float] = {}
    for group in (computing, set(files) - computing):
        members = [path for path in files if path in group]
        place |= {path: i / len(members) for i, path in enumerate(members)}
    place |= {path: -1.0 for path in files if path.name in LONGEST}
    items.sort(key=lambda item: place[item.path])


@pytest.fixture(autouse=True)
def _own_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What this machine's user has measured or keeps is no business of a test."""
    monkeypatch.setenv("STATE_DIRECTORY", str(tmp_path / "state"))


@pytest.fixture(autouse=True)
def _own_logging() -> Iterator[None]:
    """What a command in this process logs to ends with its test: pytest closes it."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    root.handlers[:], root.level = handlers, level


@pytest.fixture(scope="session")
def small() -> Bundle:
    """The shipped bundle."""
    return open_bundle("small")


@pytest.fixture
def small_copy(tmp_path: Path) -> Path:
    """A folder with the shipped bundle's manifest and model files, to be spoiled."""
    folder = tmp_path / "copied" / "small"
    shutil.copytree(SHIPPED / "small", folder, ignore=shutil.ignore_patterns("*.h5"))
    return folder


@pytest.fixture
def picture() -> Pixels:
    """(97, 131, 3): a generated scene whose sides are no multiple of anything."""
    return chart(97, 131, seed=3).copy()


@pytest.fixture(scope="session")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of eight generated pictures, 176 pixels wide and 144 high, to train on."""
    folder = tmp_path_factory.mktemp("pictures") / "photographs"
    for i in range(8):
        write_picture(folder / f"{i}.png", dead_leaves(144, 176, i))
    return folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Five pictures of five formats and sizes."""
    for name, (height, width) in NAMES.items():
        write_picture(tmp_path / "blurred" / name, chart(64, 96)[:height, :width])
    return tmp_path / "blurred"


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Callable[[int], Path]]:
    """`disk(kib)`: a file system of that size; needs root."""
    mounted: list[Path] = []

    def mount(kib: int) -> Path:
        place = tmp_path / f"disk{len(mounted)}"
        place.mkdir()
        line = ["mount", "-t", "tmpfs", "-o", f"size={kib}k", "tmpfs", str(place)]
        done = subprocess.run(line, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            pytest.skip(f"a small disk cannot be mounted here ({done.stderr.strip()}); run as root")
        mounted.append(place)
        return place

    yield mount
    for place in mounted:
        subprocess.run(["umount", "--lazy", str(place)], check=True)


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    code: int
    out: str
    err: str


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Ended]]:
    """`command("run", "--source", …)`: the real front door in this process, without settings from the environment."""
    for key in [k for k in os.environ if k.startswith("DEBLURKIT_")]:
        monkeypatch.delenv(key)
    environment = dict(os.environ)

    def call(*arguments: object) -> Ended:
        capsys.readouterr()
        try:
            code = deblurkit.main([str(a) for a in arguments])
        except SystemExit as stop:  # argparse
            code = stop.code if isinstance(stop.code, int) else 1
        captured = capsys.readouterr()
        return Ended(code, captured.out, captured.err)

    yield call
    os.environ.clear()  # train and export choose Keras' backend and devices there
    os.environ.update(environment)
