"""A release as it is sent to a board: the kit's wheel, its pins, bundles, settings, and a list of all hashes."""

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
from device.deploy.board.receive import RELEASE_SIGNERS, SUMS
from device.deploy.preflight import Facts
from device.deploy.signature import allowed_signers, sign
from device.deploy.ssh import File
from device.errors import RunError, UsageError

CHECKOUT = Path(device.__file__).resolve().parent.parent
PINS = "share/deblurkit/"
"""Where the wheel has constraints/ (pyproject.toml), so that every kit comes with its own pins."""


@dataclass(frozen=True)
class Kit:
    """A wheel of deblurkit."""

    path: Path
    version: str
    requirements: tuple[str, ...]


@dataclass(frozen=True)
class Release:
    """A folder on this machine that becomes a release on the board."""

    folder: Path
    kit: Kit
    record: dict[str, Any]
    """release.json: `id`, `content` and what else the board needs."""

    @property
    def name(self) -> str:
        """Version, content and time: "0.1.0-1a2b3c4d-20260301T120000"."""
        return str(self.record["id"])

    def files(self) -> list[File]:
        """All files to send, the list of hashes first."""
        names = sorted(str(path.relative_to(self.folder)) for path in self.folder.rglob("*") if path.is_file())
        return [(name, self.folder / name) for name in sorted(names, key=lambda name: not name.startswith(SUMS))]


def find_kit(wheel: Path | None, folder: Path) -> Kit:
    """This wheel, or else one built from the checkout that this runs from, in `folder`. Raises UsageError, RunError."""
    return read_kit(wheel if wheel is not None else _build_wheel(folder))


def read_kit(path: Path) -> Kit:
    """The facts about a wheel of deblurkit. Raises UsageError for any other file."""
    try:
        with zipfile.ZipFile(path) as wheel:
            (name,) = (n for n in wheel.namelist() if re.fullmatch(r"[^/]+\.dist-info/METADATA", n))
            metadata = Parser().parsestr(wheel.read(name).decode())
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}; --kit takes a wheel of deblurkit") from error
    except (ValueError, zipfile.BadZipFile) as error:
        raise UsageError(
            f"{path}: not a wheel; --kit takes a wheel of deblurkit: `make wheel` in a checkout builds one"
        ) from error
    if metadata["Name"] != "deblurkit" or not re.fullmatch(r"[\w.+]+", metadata["Version"] or ""):
        raise UsageError(f"{path}: a wheel of {metadata['Name']} {metadata['Version']}; expected one of deblurkit")
    return Kit(path, metadata["Version"], tuple(metadata.get_all("Requires-Dist") or ()))


def _build_wheel(folder: Path) -> Path:
    if not (CHECKOUT / "pyproject.toml").is_file() or not (CHECKOUT / "deblurkit.py").is_file():
        raise UsageError(
            f"this deblurkit was installed without its checkout ({CHECKOUT} has no pyproject.toml), so no wheel can be built; "
            f"pass one: --kit deblurkit-….whl (`make wheel` in a checkout builds it)"
        )
    isolated = ["--no-build-isolation"] if importlib.util.find_spec("hatchling") else []
    words = [sys.executable, "-m", "pip", "wheel", "--quiet", "--disable-pip-version-check", "--no-deps", *isolated]
    done = subprocess.run(
        [*words, "--wheel-dir", folder, CHECKOUT], capture_output=True, text=True, errors="replace", check=False
    )
    if done.returncode != 0:
        raise RunError(
            f"{CHECKOUT}: its wheel cannot be built: {done.stderr.strip()[-500:]}; --kit takes a wheel that is already built"
        )
    (wheel,) = folder.glob("deblurkit-*.whl")
    return wheel


def constraints_name(facts: Facts) -> str:
    """The constraints file for a board: Bookworm's picamera2 needs numpy 1 (scripts/setup.sh)."""
    return "bookworm.txt" if facts.codename == "bookworm" else "constraints.txt"


def _constraints(kit: Kit, name: str) -> bytes:
    with zipfile.ZipFile(kit.path) as wheel:
        for member in wheel.namelist():
            if member.endswith(f"{PINS}{name}"):
                return wheel.read(member)
    raise UsageError(f"{kit.path}: has no {name}, so it is older than `deblurkit deploy`; build it again from a newer checkout")


def open_bundles(names: list[str]) -> dict[str, Bundle | None]:
    """Name -> bundle, all its files verified; None for one that ships with the kit. Raises BundleError."""
    bundles: dict[str, Bundle | None] = {}
    for name in names:
        if not Path(name).exists() and name in shipped():
            bundles[name] = None
            continue
        bundles[name] = bundle = open_bundle(name)
        for artifact in bundle.manifest.artifacts:
            bundle.path(artifact)
    return bundles


def assemble(
    folder: Path, *, kit: Kit, bundles: dict[str, Bundle | None], source: str | None, lan: bool, facts: Facts
) -> Release:
    """Put everything but the packages' wheels into `folder`. Raises UsageError, BundleError."""
    folder.mkdir(parents=True)
    (folder / kit.path.name).write_bytes(kit.path.read_bytes())
    (folder / "constraints.txt").write_bytes(_constraints(kit, constraints_name(facts)))
    paths = []
    for number, (name, bundle) in enumerate(bundles.items(), 1):
        paths.append(name if bundle is None else _copy_bundle(bundle, Path(name), folder, f"bundles/{number}"))
    content = {"source": source, "bundles": paths, "site_packages": facts.raspberry, "files": hashes(folder)}
    short = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]
    name = f"{kit.version}-{short[:8]}-{time.strftime('%Y%m%dT%H%M%S', time.gmtime())}"
    settings = {"SOURCE": source, "BUNDLE": ",".join(f"{HOME}/releases/{name}/{p}" if "/" in p else p for p in paths)}
    (folder / "settings.conf").write_text(drop_in({key: value for key, value in settings.items() if value}))
    record = {
        "id": name, "version": kit.version, "content": short, "kit": kit.path.name, "source": source, "bundles": paths,
        "site_packages": facts.raspberry, "lan": lan,
    }  # fmt: skip
    (folder / "release.json").write_text(json.dumps(record) + "\n")
    return Release(folder, kit, record)


def _copy_bundle(bundle: Bundle, path: Path, folder: Path, to: str) -> str:
    """Copy a bundle, or one model file if that is what `path` names, below `folder`; returns its path there."""
    target = folder / to
    target.mkdir(parents=True)
    if path.is_file():
        (target / path.name).write_bytes(path.read_bytes())
        return f"{to}/{path.name}"
    files = [a.file for a in bundle.manifest.artifacts]
    if bundle.manifest.weights is not None:
        files.append(bundle.weights_path().name)
    for name in (MANIFEST, *files):
        (target / name).write_bytes((bundle.folder / name).read_bytes())
    return to


def drop_in(settings: dict[str, str]) -> str:
    """Settings as a drop-in of the service: the environment beats /etc/deblurkit.toml (device/settings.py)."""
    rows = [f'Environment="DEBLURKIT_{key}={_escaped(value)}"\n' for key, value in settings.items()]
    comment = (
        "# Written by `deblurkit deploy`: replaced with each release. Put your own settings into `systemctl edit deblurkit`.\n"
    )
    return f"{comment}[Service]\n{''.join(rows)}"


def _escaped(value: str) -> str:
    """For a quoted word in a unit (systemd.syntax(7)); % starts a specifier."""
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")


def check_source(source: str | None) -> None:
    """Raise UsageError for a source that must not or cannot be written to a drop-in, which every user of the board can read."""
    if source is None:
        return
    if re.match(r"\w+://[^/]*@", source):
        raise UsageError(
            "--source: every user of the board could read an address with a password (`systemctl show`); write it into "
            "/etc/deblurkit.toml on the board instead, which only root can read"
        )
    if not source.isprintable() or not source:
        raise UsageError(f"--source {source!r}: expected what `deblurkit run --source` takes")


def hashes(folder: Path) -> dict[str, str]:
    """Path below the folder -> SHA-256, for every file."""
    return {str(p.relative_to(folder)): _sha256(p) for p in sorted(folder.rglob("*")) if p.is_file()}


def _sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def seal(release: Release, key: Path | None) -> None:
    """Write the list of hashes last. With a key, sign it and the bundles' manifests. Raises UsageError, RunError."""
    if key is not None:
        (release.folder / RELEASE_SIGNERS).write_text(allowed_signers(key))
        for manifest in release.folder.glob(f"bundles/*/{MANIFEST}"):
            sign(key, manifest)
    rows = (f"{sha256}  {name}\n" for name, sha256 in hashes(release.folder).items())
    (release.folder / SUMS).write_text("".join(rows))
    if key is not None:
        sign(key, release.folder / SUMS)
