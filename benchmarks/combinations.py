"""Plan the combinations: every file of the bundles on every runtime that reads it, with each number of threads; and methods."""

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
    """A Python interpreter that measures, and the runtimes that are installed for it."""

    path: str
    installed: frozenset[str]


@dataclass(frozen=True)
class Planned:
    """One combination: what to measure in which interpreter, or a row that says why it cannot be measured."""

    job: Job
    row: Row
    """A row without figures; for a missing runtime, its message is the command that installs it."""
    interpreter: str | None
    quality_key: str
    """Combinations that make the same pictures share it; only one of them is scored."""


def interpreter(path: str) -> Interpreter:
    """Ask a Python interpreter which runtimes it has. Raises UsageError if it is not a Python with deblurkit installed."""
    code = "import json; from device import runtimes as r; print(json.dumps([n for n in r.RUNTIMES if r.installed(n)]))"
    try:
        done = subprocess.run([path, "-c", code], capture_output=True, text=True, timeout=60, check=False)
        return Interpreter(path, frozenset(json.loads(done.stdout)))
    except (OSError, ValueError, subprocess.TimeoutExpired) as error:
        raise UsageError(
            f"--python {path}: expected a Python interpreter with deblurkit installed (make setup-legacy creates one)"
        ) from error


def thread_counts(requested: Sequence[int] | None, every: bool) -> tuple[int, ...]:
    """Numbers of threads to measure: as requested; else all cores but one, or with `every` 1, 2, 4 and all, up to all cores."""
    cores = len(os.sched_getaffinity(0))
    if requested:
        return tuple(dict.fromkeys(requested))
    return tuple(sorted({n for n in (1, 2, 4, cores) if n <= cores})) if every else (max(1, cores - 1),)


def plan(
    bundles: Sequence[Bundle], names: Sequence[str], interpreters: Sequence[Interpreter], threads: Sequence[int], *, full: bool
) -> list[Planned]:
    """List all combinations in the order of a round: methods, then bundle by bundle. Raises UsageError for an unknown runtime.

    `names` are the runtimes. `full` adds the non-blind methods, Keras, LiteRT's CompiledModel, and OpenVINO on TFLite files (it
    computes them in the same way as ONNX files).
    """
    python = interpreters[0].path
    planned = [_method(name, CLASSICAL, python) for name in BLIND_METHODS]
    if full:
        planned += [_method(name, NON_BLIND, python) for name in NON_BLIND_METHODS]
    for bundle in bundles:
        for name in names:
            if name == KERAS:
                continue
            formats = runtimes.formats(name)
            if not full and len(formats) > 1:
                formats = ("onnx",)
            files = [a for a in bundle.manifest.artifacts if a.format in formats]
            for count in threads:
                planned += [_file(bundle, artifact, name, interpreters, count) for artifact in files]
        if KERAS in names:
            planned += [_keras(bundle, interpreters[0], count) for count in threads]
    return planned


def default_runtimes(full: bool) -> list[str]:
    """The runtimes to measure if none are requested."""
    names = [name for name in runtimes.RUNTIMES if full or name != "litert_compiled"]
    return [*names, KERAS] if full else names


def _method(name: str, kind: str, python: str) -> Planned:
    install = available(name)
    row = Row(name, kind, MISSING, message=f"not installed; {install}") if install else Row(name, kind, FAILED)
    return Planned(Job(name=name, kind=kind), row, None if install else python, f"{kind} {name}")


def _file(bundle: Bundle, artifact: Artifact, runtime: str, interpreters: Sequence[Interpreter], threads: int) -> Planned:
    able = next((i for i in interpreters if runtime in i.installed), None)
    row = Row(
        name=bundle.name,
        kind=NETWORK,
        status=FAILED if able else MISSING,
        variant=artifact.variant,
        file=artifact.file,
        runtime=runtime,
        threads=threads,
        message="" if able else f"not installed; {runtimes.RUNTIMES[runtime].install}",
        bundle_hash=_manifest_hash(bundle),
        sha256=artifact.sha256,
        bytes=artifact.bytes,
    )
    return Planned(_job(bundle, row), row, able.path if able else None, f"{bundle.folder} {artifact.file} {runtime}")


def _keras(bundle: Bundle, able: Interpreter, threads: int) -> Planned:
    weights = bundle.manifest.weights
    message = "" if weights else f"{bundle.name} has no weights; export it again from its run folder"
    if find_spec("tensorflow") is None or find_spec("keras") is None:
        message = "not installed; make setup"
    row = Row(
        name=bundle.name,
        kind=NETWORK,
        status=MISSING if message else FAILED,
        variant="fp32",
        file=weights.file if weights else None,
        runtime=KERAS,
        threads=threads,
        message=message,
        bundle_hash=_manifest_hash(bundle),
        sha256=weights.sha256 if weights else None,
        bytes=weights.bytes if weights else None,
    )
    return Planned(_job(bundle, row), row, None if message else able.path, f"{bundle.folder} {KERAS}")


def _job(bundle: Bundle, row: Row) -> Job:
    return Job(
        name=row.name,
        kind=row.kind,
        bundle=str(bundle.folder),
        variant=row.variant,
        file=row.file,
        runtime=row.runtime,
        threads=row.threads,
    )


def _manifest_hash(bundle: Bundle) -> str | None:
    manifest = bundle.folder / MANIFEST
    return str(file_facts(manifest)["sha256"]) if manifest.is_file() else None
