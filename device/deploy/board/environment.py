"""The Python environment of a release, checked by the release's own `deblurkit doctor`."""

import json
import os
import shutil
from pathlib import Path
from typing import Any

from device.deploy.board.channel import Channel
from device.deploy.board.paths import Refused, tail

PYTHON = "/usr/bin/python3"  # apt's picamera2 is built for this one


def build(channel: Channel, part: Path, release: dict[str, Any]) -> None:
    """Create the environment and install the kit into it.

    Raises Refused if that fails or the kit cannot run here, and ConnectionLost.
    """
    python, offline = part / "venv/bin/python", (part / "wheels").is_dir()
    channel.send("installing its packages from " + ("the wheels that came with it" if offline else "the network"))
    channel.run(PYTHON, "-m", "venv", *(["--system-site-packages"] if release["site_packages"] else []), part / "venv")
    packages = ["--no-index", "--find-links", part / "wheels"] if offline else []
    pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-input", *packages]
    channel.run(*pip, "--constraint", part / "constraints.txt", f"{part / release['kit']}[live]")
    channel.send("checking it: deblurkit doctor")
    kit = [python, "-I", "-m", "deblurkit"]
    _require_healthy(channel.run(*kit, "doctor", "--json", check=False))
    for bundle in release["bundles"]:
        channel.send(f"checking bundle {Path(bundle).name}: restoring two frames")
        path = part / bundle if "/" in bundle else bundle
        channel.run(*kit, "run", "--bundle", path, "--source", "demo", "--sink", "null", "--frames", "2", "--quiet", code=4)


def _require_healthy(output: str) -> None:
    """Raise Refused if `doctor` reports that the kit cannot run. Anything else, such as a missing camera, may be fixed later."""
    try:
        findings = json.loads(output.splitlines()[-1])["findings"]
    except (ValueError, LookupError) as error:
        raise Refused(f"its `deblurkit doctor` fails, so this kit cannot run there:\n{tail(output)}") from error
    if bad := [f"{f['what']}: {f['found']}" + f"; fix: {f['mend']}" * bool(f["mend"]) for f in findings if f["state"] == "bad"]:
        raise Refused("its `deblurkit doctor` reports that this kit cannot run there:\n  " + "\n  ".join(bad))


def finish(part: Path) -> Path:
    """Give the release its final name, once all of it is on the disk; returns the new path.

    The scripts of an environment start with the path of its Python, so this path is replaced in them first.
    """
    final = part.with_name(part.name.removeprefix(".part-"))
    shutil.rmtree(part / "wheels", ignore_errors=True)  # installed by now
    for file in (part / "venv/pyvenv.cfg", *(part / "venv/bin").iterdir()):
        if not file.is_symlink() and bytes(part) in (text := file.read_bytes()):
            file.write_bytes(text.replace(bytes(part), bytes(final)))
    os.sync()
    return part.rename(final)
