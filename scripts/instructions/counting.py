"""Instructions counted on an emulated Arm core: real aarch64 wheels, QEMU's user mode, one thread, one process for several."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from itertools import pairwise
from pathlib import Path
from typing import Any

HOME = Path(__file__).resolve().parents[2]
BOARD, BUILD = HOME / "scripts/aarch64", HOME / "build"
CORES = ("cortex-a76", "cortex-a72")
"""Of a Raspberry Pi 5 and of a 4. The runtimes choose their kernels by /proc/cpuinfo: scripts/aarch64/CORE.cpuinfo."""
SUITE, PYTHON = "bookworm", "python3.11"
COUNTED_ONLY = ("ncnn", "openvino")
"""Runtimes that `deblurkit bench` knows and a board's usual environment lacks; their packages have the same names."""
MOST_SPREAD = 0.005
CANNOT = 77

Row = dict[str, Any]


@dataclass(frozen=True)
class Measurement:
    """What is counted: `invoke`, a runtime's bare call, or `planes` or `rgb`, a whole frame."""

    what: str
    runtime: str
    file: Path
    size_wh: tuple[int, int]
    """0, 0: the file's own."""

    @property
    def words(self) -> list[str]:
        """As infer.py takes it."""
        return [self.what, self.runtime, str(self.file.resolve()), *map(str, self.size_wh)]


@cache
def board(with_others: bool) -> Path:
    """The root folder of the board, made if need be, with the runtimes that are counted only, if asked for.

    Raises SystemExit with 77 where it cannot be made; the script has said why.
    """
    extra = ["counted", *COUNTED_ONLY] if with_others else []
    made = subprocess.run([BOARD / "root.sh", SUITE, *extra], check=False, stdout=subprocess.PIPE, text=True)
    if made.returncode:
        raise SystemExit(made.returncode)
    return Path(made.stdout.strip())


@cache
def plugin() -> Path:
    """QEMU's plugin that counts, compiled. Raises SystemExit with 77 for a QEMU that takes none."""
    if "-plugin" not in subprocess.run(["qemu-aarch64", "--help"], capture_output=True, text=True, check=False).stdout:
        print("count: this qemu-aarch64 takes no plugins, as Debian 13's does not; Debian 12's qemu-user counts", file=sys.stderr)
        raise SystemExit(CANNOT)
    source, library = Path(__file__).with_name("count.c"), BUILD / "count.so"
    BUILD.mkdir(exist_ok=True)
    subprocess.run(["gcc", "-shared", "-fPIC", "-O2", "-o", library, source], check=True)
    return library


def prefix(core: str, root: Path) -> Path:
    """A root folder of this core's own: links into `root` and a /proc/cpuinfo, so that cores count side by side.

    Nothing that could lie above this checkout or the cache is in it: what QEMU does not find there is the host's.
    """
    made = BUILD / core
    shutil.rmtree(made, ignore_errors=True)
    (made / "proc").mkdir(parents=True)
    for name in ("usr", "lib", "opt"):
        (made / name).symlink_to(root / name)
    (made / "proc/cpuinfo").write_text((BOARD / f"{core}.cpuinfo").read_text())
    return made


def count(core: str, measurements: Sequence[Measurement], times: int) -> list[Row]:
    """A row for each, counted `times` times in one process.

    Raises RuntimeError with the program's last line when it does not run, or where a count does not repeat.
    """
    root = prefix(core, board(any(m.runtime in COUNTED_ONLY for m in measurements)))
    command = [
        "qemu-aarch64", "-cpu", core, "-plugin", f"file={plugin()}", "-L", str(root), str(root / "usr/bin" / PYTHON),
        str(HOME / "scripts/instructions/infer.py"), str(times), *(word for m in measurements for word in m.words),
    ]  # fmt: skip
    # Python's hashes are drawn anew in each process, and with them how long its dictionaries are searched.
    fixed = {"PYTHONPATH": f"/opt/counted:{HOME}", "PYTHONDONTWRITEBYTECODE": "1", "PYTHONHASHSEED": "0"}
    ran = subprocess.run(command, check=False, capture_output=True, text=True, env={**os.environ, **fixed})
    totals = [int(line.split()[1]) for line in ran.stderr.splitlines() if line.startswith("instructions ")]
    versions = [line.split()[1] for line in ran.stdout.splitlines() if line.startswith("version ")]
    if ran.returncode or len(totals) != len(measurements) * (times + 1):
        said = [line for line in (ran.stdout + ran.stderr).splitlines() if not line.startswith(("instructions ", "version "))]
        failed = measurements[max(0, len(versions) - 1)]
        raise RuntimeError(
            f"{failed.file.name} did not run on the emulated {core} by {failed.runtime}: {said[-1] if said else ran.returncode}"
        )
    rows = []
    for index, (measurement, version) in enumerate(zip(measurements, versions, strict=True)):
        first = index * (times + 1)
        each = [after - before for before, after in pairwise(totals[first : first + times + 1])]
        rows.append(_row(core, measurement, version, each))
    return rows


def _row(core: str, measurement: Measurement, version: str, each: list[int]) -> Row:
    file, (width, height) = measurement.file, measurement.size_wh
    spread = (max(each) - min(each)) / min(each)
    if spread > MOST_SPREAD:
        raise RuntimeError(f"{file.name} on {core} by {measurement.runtime}: {each} differ by {100 * spread:.1f} %; count again")
    mean = round(sum(each) / len(each))
    return {
        "core": core, "what": measurement.what, "runtime": measurement.runtime, "runtime_version": version,
        "file": file.name, "sha256": sha256(file.read_bytes()).hexdigest(), "size_wh": [width, height],
        "per_frame": mean, "per_pixel": round(mean / (width * height), 1) if width else None, "spread": round(spread, 5),
    }  # fmt: skip


def with_shares(row: Row, file: Path) -> Row:
    """Bundle, variant and instructions per MAC as well, where a manifest lies beside the file."""
    manifest = file.parent / "manifest.json"
    if not manifest.is_file():
        return row | {"bundle": None, "variant": None, "per_kmac": None, "macs_per_pixel": None}
    said = json.loads(manifest.read_text())
    variant = next((a["variant"] for a in said["artifacts"] if a["file"] == file.name), None)
    macs = said["macs_per_pixel"]
    per_kmac = round(1000 * row["per_pixel"] / macs, 1) if row["per_pixel"] else None
    return row | {"bundle": said["name"], "variant": variant, "per_kmac": per_kmac, "macs_per_pixel": macs}


def qemu_version() -> str:
    """ "7.2.22"."""
    return subprocess.run(["qemu-aarch64", "--version"], capture_output=True, text=True, check=True).stdout.split()[2]
