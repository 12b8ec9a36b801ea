#!/usr/bin/env python3
"""Score bundles on test pairs with the blur known, known wrongly, and unknown: PSNR gain over R G B in dB, by case.

    python scripts/score_known_blur.py PAIRS BUNDLE… [--variant int8] [--cases gauss-1.6 motion-9] [--scale 1.2] [--most 6]

PAIRS is what `make_pairs.py write` wrote: CASE/NAME.png, sharp/NAME.png and kernels/CASE/NAME.npy. Of `gauss` cases the kernel
holds for sRGB values, of all others for linear light. No border is cropped. A shipped one-plane bundle is scored blind.
"""

import argparse
import json
from pathlib import Path

import cv2
import numpy as np

from device.blur.psf import BLIND, Psf
from device.bundle.open import open_bundle
from device.images.picture import read_picture
from device.images.quality import psnr
from device.restore.restorer import Restorer


def psf_of(pairs: Path, case: str, name: str) -> Psf:
    """The true PSF of a pair; blind if no single one holds for the whole picture."""
    path = pairs / "kernels" / case / f"{name}.npy"
    if not path.is_file():
        return BLIND
    return Psf("measured", measured=np.load(path), linear=not case.startswith("gauss"), origin="file")


def score(restorer: Restorer, pairs: Path, case: str, scale: float, most: int | None) -> dict[str, float]:
    """Mean gains of a case by what the restorer was told, the worst picture with the blur known, and the mean of the input."""
    gains: dict[str, list[float]] = {}
    before = []
    for path in sorted((pairs / case).glob("*.png"))[:most]:
        blurred, sharp = read_picture(path), read_picture(pairs / "sharp" / path.name)
        before.append(psnr(blurred, sharp))
        truth = psf_of(pairs, case, path.stem)
        told = {"blind": BLIND}
        if restorer.codec.planes == 2 and not truth.is_blind:
            told |= {"known": truth, "smaller": truth.changed(1 / scale), "larger": truth.changed(scale)}
        for name, psf in told.items():
            restorer.use_psf(psf)
            gains.setdefault(name, []).append(psnr(restorer.restore(blurred), sharp) - before[-1])
    best = gains.get("known", gains["blind"])
    return {"blurred": float(np.mean(before)), "worst": min(best), **{name: float(np.mean(v)) for name, v in gains.items()}}


def main() -> None:
    """Print a table and, if asked for, write all figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pairs", type=Path)
    parser.add_argument("bundles", nargs="+")
    parser.add_argument("--variant")
    parser.add_argument("--cases", nargs="+")
    parser.add_argument("--scale", type=float, default=1.2, help="by how much too small and too large wrong sizes are")
    parser.add_argument("--most", type=int, help="pictures of each case")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    cv2.setNumThreads(1)
    cases = options.cases or sorted(p.name for p in options.pairs.iterdir() if p.is_dir() and p.name not in ("sharp", "kernels"))
    table = {}
    for name in options.bundles:
        with Restorer(open_bundle(name), options.variant, threads=1) as restorer:
            print(restorer.description, flush=True)
            for case in cases:
                row = table[f"{name}/{case}"] = score(restorer, options.pairs, case, options.scale, options.most)
                told = "  ".join(f"{key} {row[key]:+.2f}" for key in ("blind", "known", "smaller", "larger") if key in row)
                print(f"  {case:10} blurred {row['blurred']:6.2f}  {told}  worst {row['worst']:+.2f}", flush=True)
    if options.json:
        options.json.write_text(json.dumps(table, indent=1) + "\n")


if __name__ == "__main__":
    main()
