"""Print what pip must install for another Python and another machine, one requirement a line.

    scripts/pins.py PYTHON MACHINE constraints FILE...     the pins of these constraints files; the first file with a name wins
    scripts/pins.py PYTHON MACHINE requirements EXTRA...   what the kit and these extras of it require; `build`: to build it

pip installs for another Python, but evaluates markers ("python_full_version >= '3.12'") with its own. So this script evaluates
them, and prints the lines that apply without their markers.
"""

import sys
import tomllib
from pathlib import Path

from pip._vendor.packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[1]


def main(python: str, machine: str, what: str, *names: str) -> None:
    """Print the lines that apply."""
    environment = {"python_version": python, "python_full_version": f"{python}.0", "platform_machine": machine}
    if what == "constraints":
        lines = [line for name in names for line in (ROOT / name).read_text().splitlines()]
    else:
        pyproject = tomllib.loads((ROOT / "pyproject.toml").read_text())
        extras = {**pyproject["project"]["optional-dependencies"], "build": pyproject["build-system"]["requires"]}
        lines = [*pyproject["project"]["dependencies"], *(line for name in names for line in extras[name])]
    printed: set[str] = set()
    for line in lines:
        if not line or line.lstrip().startswith("#"):
            continue
        one = Requirement(line)
        if one.name not in printed and (one.marker is None or one.marker.evaluate(environment)):
            printed.add(one.name)
            print(f"{one.name}{one.specifier}")


if __name__ == "__main__":
    main(*sys.argv[1:])
