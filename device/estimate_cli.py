"""deblurkit estimate"""

from pathlib import Path

from device.blur.estimate import estimate_picture
from device.blur.psf_file import write_psf
from device.errors import OK, UsageError
from device.images.frame import luma_of
from device.images.picture import pictures_in, read_picture
from device.system.console import new_parser, print_json, start_logging, table

EXAMPLE = "deblurkit estimate photo.jpg\n  deblurkit estimate photos/ --save psf/"


def main(argv: list[str]) -> int:
    """Print the estimated blur of each picture. Returns the exit code."""
    parser = new_parser("estimate", "Estimate the blur of pictures, as `deblurkit run --blur auto` does.", EXAMPLE)
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE", help="pictures, or folders of them")
    parser.add_argument("--save", type=Path, metavar="DIR", help="write a PSF file for each picture whose blur is clear")
    options = parser.parse_args(argv)
    start_logging(options.quiet)
    paths = [path for given in options.files for path in (pictures_in(given) if given.is_dir() else [given])]
    if not paths:
        raise UsageError(f"{options.files[0]}: no pictures; name pictures or folders of them")
    records = []
    for path in paths:
        luma = luma_of(read_picture(path))
        psf = estimate_picture(luma)
        height, width = luma.shape
        if options.save is not None and not psf.is_blind:
            write_psf(options.save / f"{path.stem}.json", psf, (width, height))
        records.append(
            {
                "file": str(path),
                "kind": psf.kind,
                "size_px": round(psf.size_px, 3),
                "angle_deg": round(psf.angle_deg, 1),
                "linear": psf.linear,
                "noise": psf.noise,
                "confidence": round(psf.confidence, 3),
                "sureness": psf.sureness,
                "description": psf.describe(),
            }
        )
    if options.json:
        print_json({"pictures": records})
    else:
        rows = [[Path(str(r["file"])).name, str(r["description"]), str(r["sureness"]), f"{r['confidence']:.2f}"] for r in records]
        print(table(["picture", "blur", "", "confidence"], rows))
    return OK
