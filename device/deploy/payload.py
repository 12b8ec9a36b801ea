"""What travels to a board: the kit's wheel, its pins, bundles, settings, and a list of the hashes of all of them."""

import hashlib
import importlib.util
import json
import re
import subprocess
import sys
import time
import zipfile
from dataclasses import dataclass
from email.parser import Parser
from pathlib import Path
from typing import Any

import device
from device.bundle.manifest import MANIFEST
from device.bundle.open import Bundle, open_bundle, shipped
from device.deploy.board.paths import HOME
from device.deploy.board.receive import BROUGHT, SUMS
from device.deploy.preflight import Facts
from device.deploy.signature import sign, signers
from device.deploy.ssh import File
from device.errors import RunError, UsageError

CHECKOUT = Path(device.__file__).resolve().parent.parent
PINS = "share/deblurkit/"
"""Where the wheel carries constraints/ (pyproject.toml), so that a kit always comes with its own."""


@dataclass(frozen=True)
class Kit:
    """A wheel of deblurkit."""

    path: Path
    version: str
    requirements: tuple[str, ...]


@dataclass(frozen=True)
class Release:
    """A folder here that is to be a release there."""

    folder: Path
    kit: Kit
    record: dict[str, Any]
    """release.json: `id`, `content` and what the board needs to know."""

    @property
    def name(self) -> str:
        """Version, content and time: "0.1.0-1a2b3c4d-20260301T120000"."""
        return str(self.record["id"])

    def files(self) -> list[File]:
        """All that is sent, the list of hashes first."""
        names = sorted(str(p.relative_to(self.folder)) for p in self.folder.rglob("*") if p.is_file())
        return [(name, self.folder / name) for name in sorted(names, key=lambda name: not name.startswith(SUMS))]


def kit(given: Path | None, folder: Path) -> Kit:
    """The wheel given, else the one that is built of the checkout this runs from, in `folder`. Raises UsageError, RunError."""
    return read_kit(given if given is not None else _built(folder))


def read_kit(path: Path) -> Kit:
    """A wheel of deblurkit. Raises UsageError for anything else."""
    try:
        with zipfile.ZipFile(path) as wheel:
            (name,) = (n for n in wheel.namelist() if re.fullmatch(r"[^/]+\.dist-info/METADATA", n))
            about = Parser().parsestr(wheel.read(name).decode())
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}; --kit takes a wheel of deblurkit") from error
    except (ValueError, zipfile.BadZipFile) as error:
        raise UsageError(f"{path}: not a wheel; --kit takes one of deblurkit: `make wheel` in a checkout makes it") from error
    if about["Name"] != "deblurkit" or not re.fullmatch(r"[\w.+]+", about["Version"] or ""):
        raise UsageError(f"{path}: a wheel of {about['Name']} {about['Version']}; expected one of deblurkit")
    return Kit(path, about["Version"], tuple(about.get_all("Requires-Dist") or ()))


def _built(folder: Path) -> Path:
    if not (CHECKOUT / "pyproject.toml").is_file() or not (CHECKOUT / "deblurkit.py").is_file():
        raise UsageError(
            f"this deblurkit was installed without its checkout ({CHECKOUT} has no pyproject.toml), so there is nothing to "
            f"build a wheel of; give one: --kit deblurkit-….whl (`make wheel` in a checkout makes it)"
        )
    isolated = ["--no-build-isolation"] if importlib.util.find_spec("hatchling") else []
    words = [sys.executable, "-m", "pip", "wheel", "--quiet", "--disable-pip-version-check", "--no-deps", *isolated]
    done = subprocess.run(
        [*words, "--wheel-dir", folder, CHECKOUT], capture_output=True, text=True, errors="replace", check=False
    )
    if done.returncode != 0:
        raise RunError(f"{CHECKOUT}: its wheel cannot be built: {done.stderr.strip()[-500:]}; --kit takes one that is built")
    (wheel,) = folder.glob("deblurkit-*.whl")
    return wheel


def pins_for(facts: Facts) -> str:
    """The constraints file for a board: Bookworm's picamera2 wants numpy 1 (scripts/setup.sh)."""
    return "bookworm.txt" if facts.codename == "bookworm" else "constraints.txt"


def _pins(kit: Kit, name: str) -> bytes:
    with zipfile.ZipFile(kit.path) as wheel:
        for inside in wheel.namelist():
            if inside.endswith(f"{PINS}{name}"):
                return wheel.read(inside)
    raise UsageError(
        f"{kit.path}: carries no {name}, so it is older than `deblurkit deploy`; build it again from a newer checkout"
    )


def opened(names: list[str]) -> dict[str, Bundle | None]:
    """The bundles by the names given, all their files verified; None for one that ships with the kit. Raises BundleError."""
    found: dict[str, Bundle | None] = {}
    for name in names:
        if not Path(name).exists() and name in shipped():
            found[name] = None
            continue
        found[name] = bundle = open_bundle(name)
        for artifact in bundle.manifest.artifacts:
            bundle.path(artifact)
    return found


def gather(folder: Path, kit: Kit, bundles: dict[str, Bundle | None], source: str | None, lan: bool, facts: Facts) -> Release:
    """Put all but the packages' wheels into `folder`. Raises UsageError, BundleError."""
    folder.mkdir(parents=True)
    (folder / kit.path.name).write_bytes(kit.path.read_bytes())
    (folder / "constraints.txt").write_bytes(_pins(kit, pins_for(facts)))
    places = []
    for number, (name, bundle) in enumerate(bundles.items(), 1):
        places.append(name if bundle is None else _copied(bundle, Path(name), folder, f"bundles/{number}"))
    content = {"source": source, "bundles": places, "site_packages": facts.raspberry, "files": hashes(folder)}
    short = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]
    name = f"{kit.version}-{short[:8]}-{time.strftime('%Y%m%dT%H%M%S', time.gmtime())}"
    settings = {"SOURCE": source, "BUNDLE": ",".join(f"{HOME}/releases/{name}/{p}" if "/" in p else p for p in places)}
    (folder / "settings.conf").write_text(drop_in({key: value for key, value in settings.items() if value}))
    record = {
        "id": name, "version": kit.version, "content": short, "kit": kit.path.name, "source": source, "bundles": places,
        "site_packages": facts.raspberry, "lan": lan,
    }  # fmt: skip
    (folder / "release.json").write_text(json.dumps(record) + "\n")
    return Release(folder, kit, record)


def _copied(bundle: Bundle, given: Path, folder: Path, to: str) -> str:
    """Copy a bundle, or the one file that was given of it, to where the board will have it; that path."""
    place = folder / to
    place.mkdir(parents=True)
    if given.is_file():
        (place / given.name).write_bytes(given.read_bytes())
        return f"{to}/{given.name}"
    files = [a.file for a in bundle.manifest.artifacts]
    if bundle.manifest.weights is not None:
        files.append(bundle.weights_path().name)
    for name in (MANIFEST, *files):
        (place / name).write_bytes((bundle.folder / name).read_bytes())
    return to


def drop_in(settings: dict[str, str]) -> str:
    """Settings as a drop-in of the service: the environment beats /etc/deblurkit.toml (device/settings.py)."""
    rows = [f'Environment="DEBLURKIT_{key}={_escaped(value)}"\n' for key, value in settings.items()]
    about = "# Written by `deblurkit deploy`: comes and goes with a release. What is yours: `systemctl edit deblurkit`.\n"
    return f"{about}[Service]\n{''.join(rows)}"


def _escaped(value: str) -> str:
    """As systemd reads a word in quotes (systemd.syntax(7)); % begins a specifier."""
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")


def check_source(source: str | None) -> None:
    """Raise UsageError for a source that must not, or cannot, stand in a drop-in, which every user of a board can read."""
    if source is None:
        return
    if re.match(r"\w+://[^/]*@", source):
        raise UsageError(
            "--source: an address with a password could be read there by every user (`systemctl show`); write it into "
            "/etc/deblurkit.toml on the board instead, which only root can read"
        )
    if not source.isprintable() or not source:
        raise UsageError(f"--source {source!r}: expected what `deblurkit run --source` takes")


def hashes(folder: Path) -> dict[str, str]:
    """SHA-256 of each file below the folder, by its path there."""
    return {str(p.relative_to(folder)): _sha256(p) for p in sorted(folder.rglob("*")) if p.is_file()}


def _sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def seal(release: Release, key: Path | None) -> None:
    """Write the list of hashes, last of all, and sign it and the bundles' manifests. Raises UsageError, RunError."""
    if key is not None:
        (release.folder / BROUGHT).write_text(signers(key))
        for manifest in release.folder.glob(f"bundles/*/{MANIFEST}"):
            sign(key, manifest)
    rows = (f"{sha256}  {name}\n" for name, sha256 in hashes(release.folder).items())
    (release.folder / SUMS).write_text("".join(rows))
    if key is not None:
        sign(key, release.folder / SUMS)
