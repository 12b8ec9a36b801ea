"""The Python environment of a release, which then looks itself over."""

import json
import os
import shutil
from pathlib import Path
from typing import Any

from device.deploy.board.channel import Line
from device.deploy.board.paths import Refused, tail

PYTHON = "/usr/bin/python3"  # the one that apt's picamera2 is made for


def make(line: Line, part: Path, release: dict[str, Any]) -> None:
    """Make it and put the kit into it. Raises Refused where that fails or the kit could not run here, Lost."""
    python, offline = part / "venv/bin/python", (part / "wheels").is_dir()
    line.say("makes its environment from " + ("the wheels that came along" if offline else "the network"))
    line.run(PYTHON, "-m", "venv", *(["--system-site-packages"] if release["site_packages"] else []), part / "venv")
    packages = ["--no-index", "--find-links", part / "wheels"] if offline else []
    pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-input", *packages]
    line.run(*pip, "--constraint", part / "constraints.txt", f"{part / release['kit']}[live]")
    line.say("looks it over: deblurkit doctor")
    kit = [python, "-I", "-m", "deblurkit"]
    _judge(line.run(*kit, "doctor", "--json", refuse=False))
    for bundle in release["bundles"]:
        name = Path(bundle).name
        line.say(f"restores with bundle {name}: its self-check")
        place = part / bundle if "/" in bundle else bundle
        line.run(*kit, "run", "--bundle", place, "--source", "demo", "--sink", "null", "--frames", "2", "--quiet", code=4)


def _judge(answer: str) -> None:
    """Raise Refused where `doctor` finds that the kit cannot run. What it lacks beyond that, such as a camera, may come."""
    try:
        findings = json.loads(answer.splitlines()[-1])["findings"]
    except (ValueError, LookupError) as error:
        raise Refused(f"its `deblurkit doctor` fails, so this kit cannot run there:\n{tail(answer)}") from error
    if bad := [f"{f['what']}: {f['found']}" + f"; mend: {f['mend']}" * bool(f["mend"]) for f in findings if f["state"] == "bad"]:
        raise Refused("its `deblurkit doctor` says that this kit cannot run there:\n  " + "\n  ".join(bad))


def settle(part: Path) -> Path:
    """Give the release its last name, once all of it is on the disk; returns that path.

    The scripts of an environment begin with the path of its Python, so they get the new path before.
    """
    final = part.with_name(part.name.removeprefix(".part-"))
    shutil.rmtree(part / "wheels", ignore_errors=True)  # they are installed
    for file in (part / "venv/pyvenv.cfg", *(part / "venv/bin").iterdir()):
        if not file.is_symlink() and bytes(part) in (text := file.read_bytes()):
            file.write_bytes(text.replace(bytes(part), bytes(final)))
    os.sync()
    return part.rename(final)
