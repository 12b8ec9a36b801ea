"""Turn the pick into the tuned model that `deblurkit run` uses on this machine."""

from collections.abc import Iterable

from benchmarks.records import Pick, Result, Row
from device.bundle.manifest import MANIFEST, file_facts
from device.bundle.open import SHIPPED, Bundle, shipped
from device.errors import UsageError
from device.loop import tuned
from device.loop.tuned import TunedModel


def tuned_model(pick: Pick, result: Result, bundles: Iterable[Bundle] = ()) -> TunedModel:
    """Describe the pick for `deblurkit run`. `bundles` are those that were measured, needed for one that is not shipped.

    Raises UsageError if it is unknown where the bundle is.
    """
    row = next(r for r in result.rows if r.label == pick.label)
    assert row.latency is not None
    assert row.gain_db is not None
    return TunedModel(
        schema=tuned.SCHEMA,
        hardware_hash=result.machine.hardware_hash,
        versions=tuned.versions(pick.runtime),
        bundle=_bundle_argument(row, bundles),
        bundle_hash=row.bundle_hash,
        file=str(row.file),
        sha256=str(row.sha256),
        variant=pick.variant,
        runtime=pick.runtime,
        threads=pick.threads,
        size_wh=result.size_wh,
        p50_ms=round(row.latency.p50_ms.value, 2),
        p95_ms=round(row.latency.p95_ms.value, 2),
        gain_db=round(row.gain_db, 3),
        why=pick.why,
        measured=result.started[:10],
    )


def _bundle_argument(row: Row, bundles: Iterable[Bundle]) -> str:
    """The value for `--bundle`: the name of a shipped bundle, else its folder, or its file if it has no manifest."""
    if row.name in shipped() and row.bundle_hash == file_facts(SHIPPED / row.name / MANIFEST)["sha256"]:
        return row.name
    for bundle in bundles:
        if bundle.name == row.name:
            single_file = row.bundle_hash is None
            return str((bundle.folder / str(row.file) if single_file else bundle.folder).resolve())
    raise UsageError(f"{row.name}: it is not a shipped bundle, and its folder is unknown; give the folder with --bundle")
