"""The suite `quality`: score every file and the classical methods on the cases, on edges and on still scenes.

Every file is scored with the blur unknown, estimated from the picture (auto), and told (known).
"""

import logging
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks import cases
from benchmarks.baselines import BLIND_METHODS, NON_BLIND_METHODS
from device.blur.estimate import estimate_picture
from device.blur.kernels import covariance
from device.blur.psf import BLIND, Psf
from device.bundle.open import Bundle
from device.errors import UsageError
from device.images.degrade import add_noise, gaussian_blur, to_float, to_pixels
from device.images.frame import Pixels, luma_of
from device.images.quality import edge_sharpness, flicker, psnr, psnr_luma, ssim
from device.images.scenes import chart, slanted_edge
from device.restore.restorer import Restorer
from device.runtimes import formats
from device.system.console import table

log = logging.getLogger(__name__)
EDGE_DEG = 5.0


@dataclass(frozen=True)
class CaseScore:
    """One method on one case: means over the pictures, and the worst picture."""

    pictures: int
    blurred_db: float
    restored_db: float
    gain_db: float
    worst_gain_db: float
    worst_picture: str
    luma_gain_db: float
    ssim: float
    ssim_gain: float


@dataclass(frozen=True)
class Method:
    """A method to score: `restore(pixels, truth)` returns None if it cannot restore the picture."""

    name: str
    restore: Callable[[Pixels, Psf], Pixels | None]


def methods(bundles: list[Bundle], runtime: str, variants: list[str] | None, threads: int, non_blind: bool) -> list[Method]:
    """List the blind methods, the non-blind ones on request, and every file of the bundles that the runtime reads."""
    scored = [Method(name, _blind(f)) for name, f in BLIND_METHODS.items() if name != "nothing"]
    if non_blind:
        scored += [Method(name, _with_true_kernel(f)) for name, f in NON_BLIND_METHODS.items()]
    if len({bundle.name for bundle in bundles}) < len(bundles):
        raise UsageError("two of the bundles have the same name; export one of them under another name")
    for bundle in bundles:
        for artifact in bundle.manifest.artifacts:
            if artifact.format in formats(runtime) and (not variants or artifact.variant in variants):
                scored += _methods_of(Restorer(bundle, artifact.variant, runtime, threads), f"{bundle.name} {artifact.variant}")
    return scored


def _methods_of(restorer: Restorer, name: str) -> list[Method]:
    def with_psf(psf_for: Callable[[Pixels, Psf], Psf | None]) -> Callable[[Pixels, Psf], Pixels | None]:
        def restore(pixels: Pixels, truth: Psf) -> Pixels | None:
            psf = psf_for(pixels, truth)
            if psf is None:
                return None
            restorer.use_psf(psf)
            return restorer.restore(pixels)

        return restore

    return [
        Method(name, with_psf(lambda pixels, truth: BLIND)),
        Method(f"{name}, auto", with_psf(lambda pixels, truth: estimate_picture(luma_of(pixels)))),
        Method(f"{name}, known", with_psf(lambda pixels, truth: None if truth.is_blind else truth)),
    ]


def _blind(restore: Callable[[Pixels], Pixels]) -> Callable[[Pixels, Psf], Pixels | None]:
    return lambda pixels, truth: restore(pixels)


def _with_true_kernel(method: Callable[..., Pixels]) -> Callable[[Pixels, Psf], Pixels | None]:
    return lambda pixels, truth: None if truth.is_blind else method(pixels, truth.kernel())


def run(folder: Path, scored: list[Method], most: int) -> dict[str, Any]:
    """Score every method on every case of `folder`, and on generated edges and still scenes. Returns plain data."""
    scores: dict[str, dict[str, Any]] = {method.name: {} for method in scored}
    estimates = {}
    for case in cases.cases_in(folder, cases.QUALITY_CASES):
        log.info("%s", case)
        estimates[case] = _Estimates()
        rows: dict[str, list[tuple[str, float, float, float, float, float]]] = {method.name: [] for method in scored}
        for pair in cases.pairs(folder, case, most):
            before, before_luma = psnr(pair.blurred, pair.sharp), psnr_luma(pair.blurred, pair.sharp)
            before_ssim = ssim(pair.blurred, pair.sharp)
            truth = cases.true_psf(folder, case, Path(pair.name).stem)
            estimates[case].add(estimate_picture(luma_of(pair.blurred)), truth)
            for method in scored:
                restored = method.restore(pair.blurred, truth)
                if restored is not None:
                    after = psnr(restored, pair.sharp)
                    luma_gain = psnr_luma(restored, pair.sharp) - before_luma
                    rows[method.name].append((pair.name, before, after, luma_gain, ssim(restored, pair.sharp), before_ssim))
        for name, of_case in rows.items():
            if of_case:
                scores[name][case] = asdict(_score(of_case))
    return {
        "schema": 1,
        "pictures": folder.name,
        "scores": scores,
        "estimates": {case: asdict(found) for case, found in estimates.items()},
        "edges": {method.name: _edges(method) for method in scored},
        "flicker": {method.name: _flicker(method) for method in scored},
    }


@dataclass
class _Estimates:
    """What the estimator found in the pictures of a case."""

    pictures: int = 0
    blind: int = 0
    """Pictures without a clear blur."""
    within: int = 0
    """Pictures whose widths are right within 5 % or 0.15 pixels; of motion also the direction, within 5 degrees."""

    def add(self, found: Psf, truth: Psf) -> None:
        self.pictures += 1
        self.blind += found.is_blind
        if not found.is_blind and not truth.is_blind:
            self.within += _close(covariance(found.kernel()), covariance(truth.kernel()))


def _close(found: NDArray[np.float64], true: NDArray[np.float64]) -> bool:
    """Whether two blurs have the same widths, and if one is much longer than wide, the same direction."""
    (narrow, wide), axes = np.linalg.eigh(true)
    (found_narrow, found_wide), found_axes = np.linalg.eigh(found)
    for one, other in ((narrow, found_narrow), (wide, found_wide)):
        size, seen = np.sqrt(max(one, 0.0)), np.sqrt(max(other, 0.0))
        if abs(seen - size) > max(0.05 * size, 0.15):
            return False
    turned = np.degrees(np.arccos(min(1.0, abs(float(axes[:, 1] @ found_axes[:, 1])))))
    return bool(wide < 2 * narrow or turned < 5)


def _score(rows: list[tuple[str, float, float, float, float, float]]) -> CaseScore:
    before, after, luma, similarity, similarity_before = (np.array([row[i] for row in rows]) for i in range(1, 6))
    gains = after - before
    worst = int(np.argmin(gains))
    values = (before.mean(), after.mean(), gains.mean(), gains[worst])
    blurred, restored, gain, worst_gain = (round(float(v), 3) for v in values)
    return CaseScore(
        pictures=len(rows),
        blurred_db=blurred,
        restored_db=restored,
        gain_db=gain,
        worst_gain_db=worst_gain,
        worst_picture=rows[worst][0],
        luma_gain_db=round(float(luma.mean()), 3),
        ssim=round(float(similarity.mean()), 4),
        ssim_gain=round(float((similarity - similarity_before).mean()), 4),
    )


def _edges(method: Method) -> dict[str, dict[str, float]]:
    """Measure MTF50 of a slanted edge before and after, and its overshoot, by blur."""
    found = {}
    rng = np.random.default_rng(1)
    for sigma in (1.0, 2.0, 3.0):
        soft = to_pixels(add_noise(gaussian_blur(to_float(slanted_edge(256, 256, EDGE_DEG)), sigma), 1 / 255, rng))
        sharp = method.restore(soft, Psf("gaussian", sigma, linear=False))
        if sharp is not None:
            before, after = edge_sharpness(soft, EDGE_DEG), edge_sharpness(sharp, EDGE_DEG)
            found[f"gauss-{sigma}"] = {
                "mtf50_before": round(before.mtf50, 4),
                "mtf50_after": round(after.mtf50, 4),
                "ratio": round(after.mtf50 / before.mtf50, 3),
                "overshoot": round(after.overshoot, 4),
                "overshoot_before": round(before.overshoot, 4),
            }
    return found


def _flicker(method: Method, frames: int = 8) -> dict[str, dict[str, float]]:
    """Measure flicker of a still scene with fresh noise: temporal standard deviation, output / input, flat parts and edges."""
    found = {}
    sharp = chart(240, 320, 5)
    soft = gaussian_blur(to_float(sharp), 1.6)
    steepness = np.abs(np.gradient(gaussian_blur(soft, 1.5).mean(2))).max(0)
    flat, edge = steepness < 0.002, steepness > 0.02
    for level in (1, 2, 3):
        rng = np.random.default_rng(level)
        noisy = [to_pixels(add_noise(soft, level / 255, rng)) for _ in range(frames)]
        restored = [method.restore(frame, Psf("gaussian", 1.6, linear=False)) for frame in noisy]
        done = [frame for frame in restored if frame is not None]
        found[f"noise-{level}"] = {"flat": round(flicker(done, noisy, flat), 3), "edges": round(flicker(done, noisy, edge), 3)}
    return found


def as_table(result: dict[str, Any]) -> str:
    """Format gain by case for every method, then the blurred and restored PSNR, worst pictures, edges and flicker."""
    names = list(result["scores"])
    found = [case for case in cases.QUALITY_CASES if any(case in scores for scores in result["scores"].values())]
    header = ["gain dB", *names]

    def cells(case: str, key: str, form: str) -> list[str]:
        return [form.format(result["scores"][n][case][key]) if case in result["scores"][n] else "-" for n in names]

    blurred = {case: next(s[case]["blurred_db"] for s in result["scores"].values() if case in s) for case in found}
    rows = [[f"{case} ({blurred[case]:.2f})", *cells(case, "gain_db", "{:+.2f}")] for case in found]
    parts = [table(header, rows)]
    parts.append(table(["restored dB", *names], [[case, *cells(case, "restored_db", "{:.2f}")] for case in found]))
    parts.append(table(["worst picture dB", *names], [[case, *cells(case, "worst_gain_db", "{:+.2f}")] for case in found]))
    parts.append(table(["SSIM gain", *names], [[case, *cells(case, "ssim_gain", "{:+.4f}")] for case in found]))
    found_by = result["estimates"]
    estimate_rows = [[case, *(str(found_by[case][key]) for key in ("pictures", "within", "blind"))] for case in found]
    parts.append(table(["estimates", "pictures", "close to the truth", "no clear blur"], estimate_rows))
    edges, still = result["edges"], result["flicker"]
    blurs = ("gauss-1.0", "gauss-2.0", "gauss-3.0")
    edge_rows = [[f"{b} MTF50 ratio", *(f"{edges[n][b]['ratio']:.2f}" for n in names)] for b in blurs]
    edge_rows += [[f"{b} overshoot", *(f"{edges[n][b]['overshoot']:.1%}" for n in names)] for b in blurs]
    levels = ("noise-1", "noise-2", "noise-3")
    edge_rows += [[f"flicker {x}, {w}", *(f"{still[n][x][w]:.2f}" for n in names)] for x in levels for w in ("flat", "edges")]
    parts.append(table(["generated scenes", *names], edge_rows))
    return "\n\n".join(parts)


def plot(result: dict[str, Any], path: Path) -> None:
    """Plot gain against severity, a panel for each kind of blur. Raises UsageError without matplotlib."""
    try:
        from matplotlib.figure import Figure
    except ModuleNotFoundError as error:
        raise UsageError("gain_severity.png needs matplotlib; pip install matplotlib") from error

    panels = {
        "Gaussian, sigma px": "gauss-",
        "defocus, radius px": "defocus-",
        "hand shake, length px": "motion-",
        "straight motion, length px": "line-",
    }
    figure = Figure(figsize=(14, 3.8), layout="constrained")
    for axes, (title, prefix) in zip(figure.subplots(1, 4, sharey=True), panels.items(), strict=True):
        for name, scores in result["scores"].items():
            points = [(float(c.removeprefix(prefix)), s["gain_db"]) for c, s in scores.items() if c.startswith(prefix)]
            if points:
                axes.plot(*zip(*points, strict=True), marker="o", label=name)
        axes.axhline(0, color="grey", linewidth=0.8)
        axes.set(xlabel=title, title=title.split(",", maxsplit=1)[0])
        axes.grid(alpha=0.3)
    figure.axes[0].set_ylabel("gain in PSNR, dB")
    figure.axes[0].legend(fontsize=7)
    figure.savefig(path, dpi=110)
