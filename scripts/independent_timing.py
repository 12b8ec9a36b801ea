"""Check the figures of a benchmark with ten lines of independent code: a loop around `invoke`, and one around `session.run`.

python scripts/independent_timing.py out/bench/bench.json

Times every TFLite file of the result on LiteRT, and every ONNX file on ONNX Runtime, with one thread, each in a process of
its own, and prints the ratio to the benchmark's `infer` stage. Exits with 1 if one differs by more than 5 %. Stop other programs
before.
"""

import json
import subprocess
import sys
from pathlib import Path

LITERT = """
import sys, time, numpy as np
from ai_edge_litert.interpreter import Interpreter
i = Interpreter(sys.argv[1], num_threads=1)
inputs = i.get_input_details()[0]
i.resize_tensor_input(inputs["index"], [1, int(sys.argv[3]), int(sys.argv[2]), inputs["shape"][3]])
i.allocate_tensors()
x = np.random.default_rng(0).integers(0, 255, i.get_input_details()[0]["shape"])
i.set_tensor(inputs["index"], (x - 128).astype(np.int8) if inputs["dtype"] == np.int8 else (x / 255).astype(np.float32))
call = i.invoke
"""
ONNX = """
import sys, time, numpy as np, onnxruntime as rt
options = rt.SessionOptions()
options.intra_op_num_threads = 1
options.add_session_config_entry("session.x64quantprecision", "1")
s = rt.InferenceSession(sys.argv[1], options, providers=["CPUExecutionProvider"])
inputs = s.get_inputs()[0]
x = np.random.default_rng(0).integers(0, 255, (1, int(sys.argv[3]), int(sys.argv[2]), inputs.shape[3]))
x = x.astype(np.uint8) if "uint8" in inputs.type else (x / 255).astype(np.float32)
call = lambda: s.run(None, {inputs.name: x})
"""
TIMED = """
for _ in range(15): call()
ms = []
for _ in range(60):
    t = time.perf_counter(); call(); ms.append(1000 * (time.perf_counter() - t))
print(np.median(ms))
"""
ROUNDS = 3


def median_ms(code: str, file: Path, size_wh: list[int]) -> float:
    """Return the median of three processes."""
    words = [sys.executable, "-c", code + TIMED, str(file), *map(str, size_wh)]
    runs = [subprocess.run(words, capture_output=True, text=True, check=True).stdout for _ in range(ROUNDS)]
    return sorted(float(run.splitlines()[-1]) for run in runs)[ROUNDS // 2]


def main() -> int:
    """See the module's docstring."""
    result, bundles = json.loads(Path(sys.argv[1]).read_text()), Path(__file__).parents[1] / "device/bundles"
    far = 0
    for row in result["rows"]:
        if row["status"] != "ok" or row["threads"] != 1 or row["runtime"] not in ("litert", "onnxruntime"):
            continue
        code = LITERT if row["runtime"] == "litert" else ONNX
        ms = median_ms(code, bundles / row["name"] / row["file"], result["size_wh"])
        infer_ms = row["stages_ms"]["infer"]
        far += abs(infer_ms / ms - 1) > 0.05
        what = f"{row['file']:22} {row['runtime']:12}"
        print(f"{what} bench {infer_ms:7.2f} ms  alone {ms:7.2f} ms  ratio {infer_ms / ms:.3f}", flush=True)
    return 1 if far else 0


if __name__ == "__main__":
    sys.exit(main())
