"""What the tests of `deblurkit deploy` share: the facts of a good board, the wheel of this checkout, a release of it."""

from pathlib import Path

import pytest

from device.deploy import payload, preflight

NOW_S = 1_800_000_000.0
PI = preflight.Facts(
    machine="aarch64", bits=64, libc=(2, 36), python=(3, 11, 2), venv=True, systemd=True, codename="bookworm", raspberry=True,
    model="Raspberry Pi 5 Model B Rev 1.0", free_mib=20_000, clock_s=NOW_S + 30, user="pi", root="sudo", unit="", release={},
)  # fmt: skip


@pytest.fixture(scope="module")
def kit(tmp_path_factory: pytest.TempPathFactory) -> payload.Kit:
    """The wheel of this checkout."""
    return payload.find_kit(None, tmp_path_factory.mktemp("kit"))


def assembled(folder: Path, kit: payload.Kit, source: str | None = "demo") -> payload.Release:
    """A release without bundles of its own."""
    return payload.assemble(folder, kit=kit, bundles={}, source=source, lan=False, facts=PI)
