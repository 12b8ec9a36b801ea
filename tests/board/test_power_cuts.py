"""The emulator is killed while the board records: what its disk was not asked to keep is lost, as when the plug is pulled."""

import io
import random
import re
import tarfile
import time
from collections.abc import Callable

import av
import pytest
from virtual_board import STATE, Board, protected

RECORDINGS = f"{STATE}/recordings"
LONGEST_S = 9.0  # so that cuts fall into the first, the second and the third segment
LOST_S = 1.0  # what the recorder promises


@pytest.fixture(scope="session")
def seen() -> set[str]:
    """Segments of earlier starts."""
    return set()


def segments(board: Board) -> dict[str, str]:
    """Hashes by name, the oldest first."""
    lines = board.sudo("sh", "-c", f"cd {RECORDINGS} && sha256sum *.mp4 || true").splitlines()
    found = (re.fullmatch(r"(\w{64})  (\S+\.mp4)", line) for line in lines)
    return dict(sorted((match[2], match[1]) for match in found if match))


def written(board: Board) -> int:
    """Frames that the recorder has taken since the service began."""
    return next(sink["frames"] for sink in board.state()["sinks"] if sink["description"].startswith("recordings"))


def frames_of(board: Board, names: list[str]) -> dict[str, int]:
    """How many frames of each segment are decoded here, by a decoder that may not pass over errors."""
    counts = dict.fromkeys(names, 0)
    packed = board.raw("sudo", "tar", "-C", RECORDINGS, "-cf", "-", *names)
    with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
        for name in names:
            file = archive.extractfile(name)
            assert file is not None
            with av.open(io.BytesIO(file.read()), options={"err_detect": "explode"}) as container:
                counts[name] = sum(1 for _ in container.decode(video=0))
    return counts


def test_a_power_cut_costs_at_most_the_last_second_of_video_and_the_board_comes_back_by_itself(
    board: Board, untouched: str, seen: set[str], say: Callable[[str], None], cut: int
) -> None:
    board.until_more_frames()
    finished = dict(list(segments(board).items())[:-1])
    moment = time.monotonic() + random.Random(f"cut {cut}").uniform(0.5, LONGEST_S)
    samples = [(time.monotonic(), written(board))]
    while time.monotonic() < moment:
        samples.append((time.monotonic(), written(board)))
    board.cut_power()
    cut_s, cut_name = time.monotonic(), time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    board.power_on()
    back_s = board.until_restoring()

    after = segments(board)
    assert {name: after.get(name) for name in finished} == finished, "finished segments are as they were"
    # A start takes far longer than the board's clock and this one differ.
    new = [name for name in after if name not in seen and name.split("-")[-1] <= f"{cut_name}.mp4"]
    seen.update(new)
    counts = frames_of(board, new)
    kept, last = sum(counts.values()), samples[-1][1]
    first_lost_s = next((at for at, count in samples if count > kept), cut_s)
    say(f"cut {cut}: {kept} of {last} frames kept, {cut_s - first_lost_s:.2f} s lost, back after {back_s:.0f} s")
    assert all(counts.values())
    assert cut_s - first_lost_s <= LOST_S
    assert protected(board) == untouched
