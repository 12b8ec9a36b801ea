"""Count instructions on an emulated Arm core: real aarch64 wheels, QEMU's user mode, one thread, several files a process."""

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
AARCH64, BUILD = HOME / "scripts/aarch64", HOME / "build"
CORES = ("cortex-a76", "cortex-a72")
"""The cores of a Raspberry Pi 5 and 4. The runtimes choose their kernels by /proc/cpuinfo: scripts/aarch64/CORE.cpuinfo."""
SUITE, PYTHON = "bookworm", "python3.11"
COUNTED_ONLY = ("ncnn", "openvino")
"""Runtimes of `deblurkit bench` that are not in a board's usual environment; their packages have the same names."""
MAX_SPREAD = 0.005
CANNOT_COUNT = 77

Row = dict[str, Any]


@dataclass(frozen=True)
class Measurement:
    """One count: of `invoke`, a runtime's bare call, or of a whole frame: `planes`, `rgb`, or `told`, with a known motion."""

    what: str
    runtime: str
    file: Path
    size_wh: tuple[int, int]
    """0, 0: the file's own."""

    @property
    def words(self) -> list[str]:
        """Arguments for infer.py."""
        return [self.what, self.runtime, str(self.file.resolve()), *map(str, self.size_wh)]


@cache
def emulated_root(with_others: bool) -> Path:
    """The root folder of the emulated board, made if necessary; `with_others` adds the runtimes of `COUNTED_ONLY`.

    Raises SystemExit with 77 if it cannot be made; the script has printed the reason.
    """
    extra = ["counted", *COUNTED_ONLY] if with_others else []
    done = subprocess.run([AARCH64 / "root.sh", SUITE, *extra], check=False, stdout=subprocess.PIPE, text=True)
    if done.returncode:
        raise SystemExit(done.returncode)
    return Path(done.stdout.strip())


@cache
def plugin() -> Path:
    """Compile the counting plugin of QEMU. Raises SystemExit with 77 if this QEMU supports no plugins."""
    if "-plugin" not in subprocess.run(["qemu-aarch64", "--help"], capture_output=True, text=True, check=False).stdout:
        print(
            "count: this qemu-aarch64 supports no plugins (Debian 13 builds it without); install qemu-user of Debian 12",
            file=sys.stderr,
        )
        raise SystemExit(CANNOT_COUNT)
    source, library = Path(__file__).with_name("count.c"), BUILD / "count.so"
    BUILD.mkdir(exist_ok=True)
    subprocess.run(["gcc", "-shared", "-fPIC", "-O2", "-o", library, source], check=True)
    return library


def prefix(core: str, root: Path) -> Path:
    """Make a root folder for this core: links into `root` and a /proc/cpuinfo of its own, so that cores count side by side.

    It must not contain any folder above this checkout or the cache: QEMU uses the host's file for every path that it lacks.
    """
    folder = BUILD / core
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "proc").mkdir(parents=True)
    for name in ("usr", "lib", "opt"):
        (folder / name).symlink_to(root / name)
    (folder / "proc/cpuinfo").write_text((AARCH64 / f"{core}.cpuinfo").read_text())
    return folder


def count(core: str, measurements: Sequence[Measurement], times: int) -> list[Row]:
    """Count each measurement `times` times in one process, and return a row for each.

    Raises RuntimeError with the program's last line if it does not run, and if a count does not repeat.
    """
    root = prefix(core, emulated_root(any(m.runtime in COUNTED_ONLY for m in measurements)))
    command = [
        "qemu-aarch64", "-cpu", core, "-plugin", f"file={plugin()}", "-L", str(root), str(root / "usr/bin" / PYTHON),
        str(HOME / "scripts/instructions/infer.py"), str(times), *(word for m in measurements for word in m.words),
    ]  # fmt: skip
    # Python's hashes are random in each process, and so are the instructions that searching its dictionaries takes.
    fixed = {"PYTHONPATH": f"/opt/counted:{HOME}", "PYTHONDONTWRITEBYTECODE": "1", "PYTHONHASHSEED": "0"}
    ran = subprocess.run(command, check=False, capture_output=True, text=True, env={**os.environ, **fixed})
    totals = [int(line.split()[1]) for line in ran.stderr.splitlines() if line.startswith("instructions ")]
    versions = [line.split()[1] for line in ran.stdout.splitlines() if line.startswith("version ")]
    if ran.returncode or len(totals) != len(measurements) * (times + 1):
        output = [line for line in (ran.stdout + ran.stderr).splitlines() if not line.startswith(("instructions ", "version "))]
        failed = measurements[max(0, len(versions) - 1)]
        last = output[-1] if output else ran.returncode
        raise RuntimeError(f"{failed.file.name} did not run on the emulated {core} by {failed.runtime}: {last}")
    rows = []
    for index, (measurement, version) in enumerate(zip(measurements, versions, strict=True)):
        first = index * (times + 1)
        each = [after - before for before, after in pairwise(totals[first : first + times + 1])]
        rows.append(_row(core, measurement, version, each))
    return rows


def _row(core: str, measurement: Measurement, version: str, each: list[int]) -> Row:
    file, (width, height) = measurement.file, measurement.size_wh
    spread = (max(each) - min(each)) / min(each)
    if spread > MAX_SPREAD:
        raise RuntimeError(f"{file.name} on {core} by {measurement.runtime}: {each} differ by {100 * spread:.1f} %; count again")
    mean = round(sum(each) / len(each))
    return {
        "core": core, "what": measurement.what, "runtime": measurement.runtime, "runtime_version": version,
        "file": file.name, "sha256": sha256(file.read_bytes()).hexdigest(), "size_wh": [width, height],
        "per_frame": mean, "per_pixel": round(mean / (width * height), 1) if width else None, "spread": round(spread, 5),
    }  # fmt: skip


def with_shares(row: Row, file: Path) -> Row:
    """Add bundle, variant and instructions per MAC if there is a manifest beside the file."""
    manifest = file.parent / "manifest.json"
    if not manifest.is_file():
        return row | {"bundle": None, "variant": None, "per_kmac": None, "macs_per_pixel": None}
    content = json.loads(manifest.read_text())
    variant = next((a["variant"] for a in content["artifacts"] if a["file"] == file.name), None)
    macs = content["macs_per_pixel"]
    per_kmac = round(1000 * row["per_pixel"] / macs, 1) if row["per_pixel"] else None
    return row | {"bundle": content["name"], "variant": variant, "per_kmac": per_kmac, "macs_per_pixel": macs}


def qemu_version() -> str:
    """ "7.2.22"."""
    return subprocess.run(["qemu-aarch64", "--version"], capture_output=True, text=True, check=True).stdout.split()[2]
