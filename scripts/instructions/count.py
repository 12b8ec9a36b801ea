"""Count the instructions that a model file takes on an emulated Arm core: real aarch64 wheels, QEMU's user mode, one thread.

    python scripts/instructions/count.py                    the shipped bundles, into benchmarks/instructions.json
    python scripts/instructions/count.py --core cortex-a76 --size 192x128 FILE …            some files, printed only

Instructions are not time: caches, pipelines and memory do not exist here. Each is counted twice in one process; the two
lie within 0.5 % or it is an error. `root.sh` makes the emulated root in build/. A row is kept as soon as it is counted, and
what is in the file for the same SHA-256, core, runtime and size is not counted again: after a new runtime, --again does.
"""

import argparse
import datetime
import json
import os
import subprocess
import sys
from hashlib import sha256
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

HOME = Path(__file__).resolve().parents[2]
ROOT, COUNTS = HOME / "build/aarch64", HOME / "benchmarks/instructions.json"
# What /proc/cpuinfo says: the runtimes choose their kernels by it. Cortex-A76: Raspberry Pi 5; A72: Raspberry Pi 4.
CORES = {
    "cortex-a76": ("0xd0b", "fp asimd evtstrm aes pmull sha1 sha2 crc32 atomics fphp asimdhp cpuid asimdrdm lrcpc dcpop asimddp"),
    "cortex-a72": ("0xd08", "fp asimd evtstrm crc32 cpuid"),
}
RUNTIMES = {"tflite": ("litert",), "onnx": ("onnxruntime", "opencv_dnn", "openvino"), "ncnn": ("ncnn",)}
SMALL, CAMERA = (192, 128), (640, 480)
TIMES, MOST_SPREAD = 2, 0.005
AT_BOTH_SIZES = {("litert", "int8"), ("litert", "dynamic"), ("litert", "fp32"), ("onnxruntime", "int8"), ("ncnn", "fp16")}
"""The rest at 192x128 only: instructions per pixel differ little between the two (LiteRT 1 %, others up to 10 %)."""
ORDER = ("bundle", "file", "runtime", "core", "what", "size_wh")
WHOLE_FRAMES = {("litert", "int8"), ("litert", "dynamic")}
"""What `deblurkit run` takes by default."""


def prefix(core: str) -> Path:
    """A root folder of this core's own: links into build/aarch64 and a /proc/cpuinfo, so that cores count side by side."""
    made = HOME / "build" / core
    (made / "proc").mkdir(parents=True, exist_ok=True)
    for entry in ROOT.iterdir():
        if entry.name != "proc" and not (made / entry.name).is_symlink():
            (made / entry.name).symlink_to(entry)
    part, features = CORES[core]
    (made / "proc/cpuinfo").write_text(
        f"processor\t: 0\nFeatures\t: {features}\nCPU implementer\t: 0x41\nCPU architecture: 8\nCPU variant\t: 0x1\n"
        f"CPU part\t: {part}\nCPU revision\t: 0\n"
    )
    return made


def count(core: str, what: str, runtime: str, file: Path, size_wh: tuple[int, int], times: int = TIMES) -> dict[str, Any]:
    """One row. Raises RuntimeError with the program's last line when it does not run, or does not repeat."""
    root = prefix(core)
    command = [
        "qemu-aarch64", "-cpu", core, "-plugin", f"file={HOME / 'build/count.so'}", "-L", str(root),
        str(root / "usr/bin/python3.11"), str(HOME / "scripts/instructions/infer.py"),
        what, runtime, str(file.resolve()), str(times), *map(str, size_wh),
    ]  # fmt: skip
    environment = {**os.environ, "PYTHONPATH": f"/site:{HOME}", "PYTHONDONTWRITEBYTECODE": "1"}
    ran = subprocess.run(command, check=False, capture_output=True, text=True, env=environment)
    totals = [int(line.split()[1]) for line in ran.stderr.splitlines() if line.startswith("instructions ")]
    each = [after - before for before, after in pairwise(totals)]
    if ran.returncode or len(each) != times:
        said = [line for line in (ran.stdout + ran.stderr).splitlines() if not line.startswith(("instructions ", "version "))]
        raise RuntimeError(f"{file.name} did not run on the emulated {core} by {runtime}: {said[-1] if said else ran.returncode}")
    spread = (max(each) - min(each)) / min(each)
    if spread > MOST_SPREAD:
        raise RuntimeError(f"{file.name} on {core} by {runtime}: {each} differ by {100 * spread:.1f} %; count again")
    mean = round(sum(each) / times)
    width, height = size_wh
    return {
        "core": core, "what": what, "runtime": runtime, "runtime_version": ran.stdout.split("version ", 1)[1].split()[0],
        "file": file.name, "sha256": sha256(file.read_bytes()).hexdigest(), "size_wh": [width, height],
        "per_frame": mean, "per_pixel": round(mean / (width * height), 1) if width else None, "spread": round(spread, 5),
    }  # fmt: skip


def of_bundle(file: Path) -> dict[str, Any]:
    """What the manifest beside the file says of it: bundle, variant, MAC; nothing for a file that stands alone."""
    manifest = file.parent / "manifest.json"
    if not manifest.is_file():
        return {"bundle": None, "variant": None, "macs_per_pixel": None}
    said = json.loads(manifest.read_text())
    variant = next((a["variant"] for a in said["artifacts"] if a["file"] == file.name), None)
    return {"bundle": said["name"], "variant": variant, "macs_per_pixel": said["macs_per_pixel"]}


def wanted() -> list[tuple[str, str, Path, tuple[int, int]]]:
    """What is counted of the shipped bundles: WHAT, runtime, file, size; the quick ones first."""
    quick, long = [], []
    for manifest in sorted((HOME / "device/bundles").glob("*/manifest.json")):
        for artifact in json.loads(manifest.read_text())["artifacts"]:
            file = manifest.parent / artifact["file"]
            for runtime in RUNTIMES[artifact["format"]]:
                if runtime in ("opencv_dnn", "openvino") and artifact["variant"] != "fp32":
                    continue  # OpenCV is slower with quantised files than with fp32, OpenVINO takes half a minute to start here
                quick.append(("invoke", runtime, file, SMALL))
                if (runtime, artifact["variant"]) in AT_BOTH_SIZES:
                    long.append(("invoke", runtime, file, CAMERA))
                if (runtime, artifact["variant"]) in WHOLE_FRAMES:
                    long += [("planes", runtime, file, CAMERA), ("rgb", runtime, file, CAMERA)]
    return quick + long


def line(row: dict[str, Any]) -> str:
    """A row as it is printed and as docs/networks.md quotes it."""
    width, height = row["size_wh"]
    share = f", {row['per_kmac']:.0f} per kMAC" if row.get("per_kmac") else ""
    what = "" if row["what"] == "invoke" else f", whole frame ({row['what']})"
    return (
        f"{row['core']} (emulated)  {row['file']} by {row['runtime']} {row['runtime_version']}{what}  {width}x{height}: "
        f"{row['per_frame'] / 1e6:.2f} M instructions, {row['per_pixel']:.0f} per pixel{share}"
    )


def counted(core: str, what: str, runtime: str, file: Path, size_wh: tuple[int, int]) -> dict[str, Any]:
    """A row with what the bundle adds to it."""
    return with_shares(count(core, what, runtime, file, size_wh), file)


def with_shares(row: dict[str, Any], file: Path) -> dict[str, Any]:
    """Bundle, variant and instructions per MAC, where a manifest lies beside the file."""
    facts = of_bundle(file)
    macs = facts["macs_per_pixel"]
    return row | facts | {"per_kmac": round(1000 * row["per_pixel"] / macs, 1) if macs and row["per_pixel"] else None}


def activations(file: Path, size_wh: tuple[int, int]) -> dict[str, Any]:
    """The bytes of every operator's output of a TFLite file, largest first: what moves through memory."""
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    plain = OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES  # a delegate would show as one operator
    interpreter = Interpreter(str(file), experimental_op_resolver_type=plain)
    given = interpreter.get_input_details()[0]
    width, height = size_wh
    interpreter.resize_tensor_input(given["index"], [1, height, width, int(given["shape"][3])])
    interpreter.allocate_tensors()
    tensors = {each["index"]: each for each in interpreter.get_tensor_details()}
    made = [tensors[index] for operator in interpreter._get_ops_details() for index in operator["outputs"]]
    sizes = sorted((int(np.prod(each["shape"])) * np.dtype(each["dtype"]).itemsize for each in made), reverse=True)
    facts = of_bundle(file)
    return {"bundle": facts["bundle"], "variant": facts["variant"], "file": file.name, "size_wh": [*size_wh], "bytes": sizes}


def qemu_version() -> str:
    """ "7.2.22"."""
    return subprocess.run(["qemu-aarch64", "--version"], capture_output=True, text=True, check=True).stdout.split()[2]


def load() -> dict[str, Any]:
    """benchmarks/instructions.json; nothing before the first count."""
    return json.loads(COUNTS.read_text()) if COUNTS.is_file() else {}


def keep(rows: list[dict[str, Any]], table: str = "rows") -> None:
    """Write a table of benchmarks/instructions.json, the others as they are; a row a line."""
    content = load() | {"qemu": qemu_version(), "date": datetime.date.today().isoformat(), table: rows}
    parts = []
    for key, value in content.items():
        if isinstance(value, list):
            lines = [json.dumps(row) for row in sorted(value, key=lambda row: [str(row.get(k)) for k in ORDER])]
            parts.append(f" {json.dumps(key)}: [\n  " + ",\n  ".join(lines) + "\n ]")
        else:
            parts.append(f" {json.dumps(key)}: {json.dumps(value)}")
    aside = COUNTS.with_suffix(".new")
    aside.write_text("{\n" + ",\n".join(parts) + "\n}\n")
    aside.replace(COUNTS)


def main() -> None:
    """See the module's docstring."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="*", type=Path, help=".tflite, .onnx or .ncnn; none: the shipped bundles, kept")
    parser.add_argument("--core", choices=CORES, action="append", help="default: both")
    parser.add_argument("--size", default="192x128", help="of given files, WIDTHxHEIGHT; 0x0: the file's own")
    parser.add_argument("--again", action="store_true", help="count what is in the file already")
    args = parser.parse_args()
    subprocess.run([HOME / "scripts/instructions/root.sh"], check=True)
    cores = args.core or list(CORES)
    if args.files:
        width, height = map(int, args.size.split("x"))
        for core in cores:
            for file in args.files:
                print(line(counted(core, "invoke", RUNTIMES[file.suffix[1:]][0], file, (width, height))), flush=True)
        return
    todo = wanted()
    present = {sha256(file.read_bytes()).hexdigest() for _, _, file, _ in todo}
    before = [] if args.again else load().get("rows", [])
    rows = [row for row in before if row["sha256"] in present]
    known = {(r["core"], r["what"], r["runtime"], r["sha256"], *r["size_wh"]) for r in rows}
    for core in cores:
        for what, runtime, file, size in todo:
            if (core, what, runtime, sha256(file.read_bytes()).hexdigest(), *size) in known:
                continue
            try:
                rows.append(counted(core, what, runtime, file, size))
            except RuntimeError as error:
                print(f"left out: {error}", file=sys.stderr, flush=True)
                continue
            print(line(rows[-1]), flush=True)
            keep(rows)
    keep(rows)
    keep(
        [activations(file, CAMERA) for file in sorted({file for _, _, file, _ in todo if file.suffix == ".tflite"})],
        "activations",
    )


if __name__ == "__main__":
    main()
