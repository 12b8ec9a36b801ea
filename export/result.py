"""The result of an export, printed: every file's figures, as a table or as JSON."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

from device.system.console import print_json, table
from export.convert import Converted
from export.gate import Verdict
from export.graph import Graph
from export.layer_sensitivity import describe

_COLUMNS = [
    "file", "KiB", "s", "parity dB", "max diff", "input dB", "restored dB", "loss dB", "operators", "partitions",
    "outside", "verdict",
]  # fmt: skip


def print_result(done: Converted, out: Path | None, report: Path | None, *, as_json: bool) -> None:
    """Print the figures of every file. `out` is the bundle's folder if one was written, `report` the report's picture."""
    if as_json:
        print_json(
            {
                "bundle": str(out) if out else None,
                "halo": done.bundle.manifest.halo,
                "files": {verdict.artifact.label: _facts(done, verdict) for verdict in done.verdicts},
                "unmade": list(done.unconverted),
                "notes": list(done.notes),
                "report": str(report) if report else None,
            }
        )
        return
    print("\n".join([_table(done), *done.notes, *(f"int8: {sentence}" for sentence in describe(done.sensitivities))]))
    if report:
        print(f"int8, layer by layer: {report}")


def _table(done: Converted) -> str:
    rows = []
    for verdict in done.verdicts:
        artifact, graph = verdict.artifact, verdict.graph
        parity, quality = artifact.parity, artifact.quality
        row = [artifact.file, f"{artifact.bytes / 1024:.0f}", f"{done.seconds[artifact.label]:.1f}"]
        row += [f"{parity.psnr_db:.1f}", f"{parity.max_abs:.5f}"] if parity else ["-"] * 2
        if quality:
            row += [f"{quality.input_psnr_db:.2f}", f"{quality.restored_psnr_db:.2f}", f"{quality.loss_db:+.3f}"]
        else:
            row += ["-"] * 3
        row += [str(graph.operators), str(graph.partitions), ", ".join(graph.outside) or "none"] if graph else ["-"] * 3
        rows.append([*row, "FAILED" if verdict.failures else "passed"])
    lines = [table(_COLUMNS, rows)]
    for verdict in done.verdicts:
        calibrated = verdict.artifact.calibrated
        if calibrated and calibrated.tried:
            tried = ", ".join(f"{method} {db:.3f}" for method, db in calibrated.tried.items())
            lines.append(f"{verdict.artifact.file}: calibrated by {calibrated.method} (dB: {tried})")
    return "\n".join([*lines, *(f"FAILED {failure}" for failure in [*done.unconverted, *done.failures])])


def _facts(done: Converted, verdict: Verdict) -> dict[str, Any]:
    artifact = verdict.artifact
    return {
        **asdict(artifact),
        "seconds": round(done.seconds[artifact.label], 2),
        "graph": _graph_facts(verdict.graph) if verdict.graph else None,
        "failures": list(verdict.failures),
    }


def _graph_facts(graph: Graph) -> dict[str, Any]:
    """The partitions keep their public key, `pieces`."""
    return {"pieces" if name == "partitions" else name: value for name, value in asdict(graph).items()}
