"""Count the instructions that a model file takes on an emulated Arm core: real aarch64 wheels, QEMU's user mode, one thread.

    python scripts/instructions/count.py                    the shipped bundles, into benchmarks/instructions.json
    python scripts/instructions/count.py --check            compare a selection with that file: the instruction budget
    python scripts/instructions/count.py --check --all      compare all of them (make budget)
    python scripts/instructions/count.py --core cortex-a76 --size 192x128 FILE …            only print these files

Instructions are not time: the emulator has no caches, pipelines or memory. Each file is counted twice in one process; both counts
must agree to 0.5 %. scripts/aarch64/root.sh makes the emulated root. A row is saved as soon as it is counted, and
rows in the file with the same SHA-256, core, runtime and size are not counted again; use --again after a new runtime.
--check ends with 6 if a count is off by more than 3 % or a limit of budget.py is exceeded.
"""

import argparse
import datetime
import json
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from pathlib import Path
from typing import Any

import budget
import numpy as np
from counting import CORES, COUNTED_ONLY, HOME, Measurement, Row, count, qemu_version, with_shares

from device.settings import parse_size

COUNTS = HOME / "benchmarks/instructions.json"
RUNTIMES = {"tflite": ("litert",), "onnx": ("onnxruntime", "opencv_dnn", "openvino"), "ncnn": ("ncnn",)}
SMALL, CAMERA = budget.SMALL, budget.CAMERA
TIMES = 2
AT_BOTH_SIZES = {("litert", "int8"), ("litert", "dynamic"), ("litert", "fp32"), ("onnxruntime", "int8"), ("ncnn", "fp16")}
"""The others only at 192x128: instructions per pixel differ little between both sizes (LiteRT 1 %, others up to 10 %)."""
ORDER = ("bundle", "file", "runtime", "core", "what", "size_wh")
WHOLE_FRAMES = {("litert", "int8"), ("litert", "dynamic")}
"""The defaults of `deblurkit run`."""
GATE = 6


def measurements_of_shipped() -> list[Measurement]:
    """List what is counted of the shipped bundles, the fast ones first."""
    quick, long = [], []
    for bundle in budget.shipped():
        for artifact in bundle.manifest.artifacts:
            file = bundle.path(artifact)
            for runtime in RUNTIMES[artifact.format]:
                if runtime in ("opencv_dnn", "openvino") and artifact.variant != "fp32":
                    continue  # OpenCV is slower with quantised files than with fp32, OpenVINO needs half a minute to start here
                quick.append(Measurement("invoke", runtime, file, SMALL))
                if (runtime, artifact.variant) in AT_BOTH_SIZES:
                    long.append(Measurement("invoke", runtime, file, CAMERA))
                if (runtime, artifact.variant) in WHOLE_FRAMES:
                    quick.append(Measurement("planes", runtime, file, SMALL))
                    long += [Measurement(what, runtime, file, CAMERA) for what in ("planes", "rgb", "told")]
    return quick + long


def line(row: Row) -> str:
    """Format a row for printing; docs/networks.md quotes such lines."""
    width, height = row["size_wh"]
    share = f", {row['per_kmac']:.0f} per kMAC" if row.get("per_kmac") else ""
    what = "" if row["what"] == "invoke" else f", whole frame ({row['what']})"
    each = f", {row['per_pixel']:.0f} per pixel" if row["per_pixel"] else ""
    return (
        f"{row['core']} (emulated)  {row['file']} by {row['runtime']} {row['runtime_version']}{what}  {width}x{height}: "
        f"{row['per_frame'] / 1e6:.2f} M instructions{each}{share}"
    )


def counted(core: str, measurements: Sequence[Measurement], times: int = TIMES) -> list[Row]:
    """Count, and add to the rows what the bundle says about the files."""
    rows = count(core, measurements, times)
    return [with_shares(row, measurement.file) for row, measurement in zip(rows, measurements, strict=True)]


def activations(file: Path, size_wh: tuple[int, int]) -> dict[str, Any]:
    """The bytes of every operator's output of a TFLite file, largest first: the traffic through memory."""
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    plain = OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES  # a delegate would show as one operator
    interpreter = Interpreter(str(file), experimental_op_resolver_type=plain)
    tensor = interpreter.get_input_details()[0]
    width, height = size_wh
    interpreter.resize_tensor_input(tensor["index"], [1, height, width, int(tensor["shape"][3])])
    interpreter.allocate_tensors()
    tensors = {each["index"]: each for each in interpreter.get_tensor_details()}
    outputs = [tensors[index] for operator in interpreter._get_ops_details() for index in operator["outputs"]]
    sizes = sorted((int(np.prod(each["shape"])) * np.dtype(each["dtype"]).itemsize for each in outputs), reverse=True)
    facts = with_shares({"per_pixel": None}, file)
    return {"bundle": facts["bundle"], "variant": facts["variant"], "file": file.name, "size_wh": [*size_wh], "bytes": sizes}


def load(file: Path = COUNTS) -> dict[str, Any]:
    """Read benchmarks/instructions.json; empty before the first count."""
    return json.loads(file.read_text()) if file.is_file() else {}


def save(rows: list[Row], table: str = "rows") -> None:
    """Replace one table of benchmarks/instructions.json and leave the others; one row per line."""
    content = load() | {"qemu": qemu_version(), "date": datetime.date.today().isoformat(), table: rows}
    parts = []
    for key, value in content.items():
        if isinstance(value, list):
            lines = [json.dumps(row) for row in sorted(value, key=lambda row: [str(row.get(k)) for k in ORDER])]
            parts.append(f" {json.dumps(key)}: [\n  " + ",\n  ".join(lines) + "\n ]")
        else:
            parts.append(f" {json.dumps(key)}: {json.dumps(value)}")
    temporary = COUNTS.with_suffix(".new")
    temporary.write_text("{\n" + ",\n".join(parts) + "\n}\n")
    temporary.replace(COUNTS)


def check(cores: Sequence[str], measurements: Sequence[Measurement], against: Path) -> int:
    """Count, compare, and print the violations. Returns an exit code.

    If there are violations, everything is counted again in new processes: once a call took 1.6 % more on both cores, but not the
    next time. That is little of a call, and much of our own part. A real increase is there the second time, too.
    """
    kept = load(against).get("rows", [])
    rows = counted_side_by_side(cores, measurements)
    violations = budget.violations(kept, rows)
    if violations:
        print("\n".join(["counting again because of these differences:", *violations]), flush=True)
        rows = counted_side_by_side(cores, measurements)
        violations = budget.violations(kept, rows)
    for sentence in violations:
        print(sentence, file=sys.stderr)
    if violations:
        print(
            f"find out what changed. If it is intended: {budget.COUNT_AGAIN}, and commit {COUNTS.relative_to(HOME)}",
            file=sys.stderr,
        )
        return GATE
    print(f"{len(rows)} counts within {100 * budget.TOLERANCE:.0f} % of {against.name} (QEMU {qemu_version()})")
    return 0


def counted_side_by_side(cores: Sequence[str], measurements: Sequence[Measurement]) -> list[Row]:
    """Count each measurement on each core, and print the rows."""
    if any(m.runtime in COUNTED_ONLY for m in measurements):  # their threads would be added to the counts of the others
        rows = [row for core in cores for one in measurements for row in counted(core, [one], 1)]
    else:
        with ThreadPoolExecutor(len(cores)) as side_by_side:
            rows = [row for found in side_by_side.map(lambda core: counted(core, measurements, 1), cores) for row in found]
    for row in rows:
        print(line(row), flush=True)
    return rows


def count_shipped(cores: Sequence[str], again: bool) -> None:
    """Count everything of the shipped bundles that is not in the file yet."""
    todo = measurements_of_shipped()
    hashes = {one.file: sha256(one.file.read_bytes()).hexdigest() for one in todo}
    before = [] if again else load().get("rows", [])
    rows = [row for row in before if row["sha256"] in hashes.values()]
    known = {(r["core"], r["what"], r["runtime"], r["sha256"], *r["size_wh"]) for r in rows}
    for core in cores:
        for one in todo:
            if (core, one.what, one.runtime, hashes[one.file], *one.size_wh) in known:
                continue
            try:
                rows += counted(core, [one])
            except RuntimeError as error:
                print(f"left out: {error}", file=sys.stderr, flush=True)
                continue
            print(line(rows[-1]), flush=True)
            save(rows)
    save(rows)
    save([activations(file, CAMERA) for file in sorted(hashes) if file.suffix == ".tflite"], "activations")


def main() -> int:
    """See the module's docstring."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="*", type=Path, help=".tflite, .onnx or .ncnn; default: the shipped bundles, saved")
    parser.add_argument("--core", choices=CORES, action="append", help="default: both")
    parser.add_argument("--size", default="192x128", help="for the given files, WIDTHxHEIGHT; 0x0: the file's own")
    parser.add_argument("--again", action="store_true", help="also count what is in the file already")
    parser.add_argument(
        "--check", action="store_true", help="compare a selection, or only the given files of it, with the saved counts"
    )
    parser.add_argument("--all", action="store_true", help="with --check: everything that is in the file")
    parser.add_argument("--against", type=Path, default=COUNTS, help="with --check: the file to compare with")
    args = parser.parse_args()
    cores = args.core or list(CORES)
    if args.check:
        named = {file.resolve() for file in args.files}
        measurements = [
            one
            for one in (measurements_of_shipped() if args.all else budget.selection())
            if not named or one.file.resolve() in named
        ]
        if not measurements:
            parser.error("--check: none of the given files is shipped")
        return check(cores, measurements, args.against)
    if not args.files:
        count_shipped(cores, args.again)
        return 0
    size_wh = parse_size(args.size, least=0)
    for core in cores:
        for file in args.files:
            one = Measurement("invoke", RUNTIMES[file.suffix[1:]][0], file, size_wh)
            print(line(counted(core, [one])[0]), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
