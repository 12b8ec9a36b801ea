"""What is measured: every file of the bundles on every runtime that reads it, with each number of threads; classical methods."""

import json
import os
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec

from benchmarks.baselines import BLIND_METHODS, NON_BLIND_METHODS, available
from benchmarks.measure import KERAS, Job
from benchmarks.records import CLASSICAL, FAILED, MISSING, NETWORK, NON_BLIND, Row
from device import runtimes
from device.bundle.manifest import MANIFEST, Artifact, file_facts
from device.bundle.open import Bundle
from device.errors import UsageError


@dataclass(frozen=True)
class Interpreter:
    """A Python that measures, and the runtimes that its environment has."""

    path: str
    installed: frozenset[str]


@dataclass(frozen=True)
class Planned:
    """One combination: what to measure in which interpreter, or the row that says why there is nothing to measure."""

    job: Job
    row: Row
    """Without figures; of a missing runtime with the line that installs it."""
    interpreter: str | None
    judged_as: str
    """Combinations that make the same pictures share this; one of them is judged."""


def interpreter(path: str) -> Interpreter:
    """Ask the environment of a Python what it has. Raises UsageError for what is no Python with deblurkit."""
    code = "import json; from device import runtimes as r; print(json.dumps([n for n in r.RUNTIMES if r.installed(n)]))"
    try:
        done = subprocess.run([path, "-c", code], capture_output=True, text=True, timeout=60, check=False)
        return Interpreter(path, frozenset(json.loads(done.stdout)))
    except (OSError, ValueError, subprocess.TimeoutExpired) as error:
        raise UsageError(
            f"--python {path}: expected a Python interpreter that deblurkit is installed for (make setup-legacy makes one)"
        ) from error


def thread_counts(wanted: Sequence[int] | None, every: bool) -> tuple[int, ...]:
    """Threads to measure with: as wanted; else all but one core, or (`every`) 1, 2, 4 and all, as far as there are cores."""
    cores = len(os.sched_getaffinity(0))
    if wanted:
        return tuple(dict.fromkeys(wanted))
    return tuple(sorted({n for n in (1, 2, 4, cores) if n <= cores})) if every else (max(1, cores - 1),)


def plan(
    bundles: Sequence[Bundle], wanted: Sequence[str], interpreters: Sequence[Interpreter], threads: Sequence[int], *, full: bool
) -> list[Planned]:
    """All combinations in the order of a round: methods, then bundle by bundle. Raises UsageError for an unknown runtime.

    `full` adds the oracles, Keras, LiteRT's CompiledModel, and OpenVINO on TFLite files (it computes them as it does ONNX ones).
    """
    python = interpreters[0].path
    planned = [_method(name, CLASSICAL, python) for name in BLIND_METHODS]
    if full:
        planned += [_method(name, NON_BLIND, python) for name in NON_BLIND_METHODS]
    names = [name for name in wanted if name != KERAS]
    for bundle in bundles:
        for name in names:
            reads = runtimes.formats(name)
            if not full and len(reads) > 1:
                reads = ("onnx",)
            files = [a for a in bundle.manifest.artifacts if a.format in reads]
            for count in threads:
                planned += [_file(bundle, artifact, name, interpreters, count) for artifact in files]
        if KERAS in wanted:
            planned += [_keras(bundle, interpreters[0], count) for count in threads]
    return planned


def runtimes_of(suite_full: bool) -> list[str]:
    """What is measured when nobody says what."""
    names = [name for name in runtimes.RUNTIMES if suite_full or name != "litert_compiled"]
    return [*names, KERAS] if suite_full else names


def _method(name: str, kind: str, python: str) -> Planned:
    job = Job(name, kind, None, None, None, None, 1, 0.0, judge=False)
    line = available(name)
    row = Row(name, kind, MISSING, message=f"not installed; {line}") if line else Row(name, kind, FAILED)
    return Planned(job, row, None if line else python, f"{kind} {name}")


def _file(bundle: Bundle, artifact: Artifact, runtime: str, interpreters: Sequence[Interpreter], threads: int) -> Planned:
    job = Job(bundle.name, NETWORK, str(bundle.folder), artifact.variant, artifact.file, runtime, threads, 0.0, judge=False)
    able = next((i for i in interpreters if runtime in i.installed), None)
    row = Row(
        bundle.name, NETWORK, FAILED if able else MISSING, artifact.variant, artifact.file, runtime, threads,
        "" if able else f"not installed; {runtimes.RUNTIMES[runtime].install}", _hash_of(bundle), artifact.sha256, artifact.bytes,
    )  # fmt: skip
    python = able.path if able else None
    return Planned(job, row, python, f"{bundle.folder} {artifact.file} {runtime}")


def _keras(bundle: Bundle, able: Interpreter, threads: int) -> Planned:
    weights = bundle.manifest.weights
    file = weights.file if weights else None
    job = Job(bundle.name, NETWORK, str(bundle.folder), "fp32", file, KERAS, threads, 0.0, judge=False)
    line = "" if weights else f"{bundle.name} came without weights; export it from its run"
    if find_spec("tensorflow") is None or find_spec("keras") is None:
        line = "not installed; make setup"
    row = Row(
        bundle.name, NETWORK, MISSING if line else FAILED, "fp32", file, KERAS, threads, line, _hash_of(bundle),
        weights.sha256 if weights else None, weights.bytes if weights else None,
    )  # fmt: skip
    return Planned(job, row, None if line else able.path, f"{bundle.folder} {KERAS}")


def _hash_of(bundle: Bundle) -> str | None:
    manifest = bundle.folder / MANIFEST
    return str(file_facts(manifest)["sha256"]) if manifest.is_file() else None
