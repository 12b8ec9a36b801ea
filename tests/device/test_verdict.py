"""The verdict of a live run: whether restoring helps, and what would help more."""

from dataclasses import replace
from typing import Any

import pytest
from state_parts import BLUR, state

from device.blur.psf import Psf
from device.verdict import judge

AUTO: dict[str, Any] = {"mode": "auto", "origin": "auto", "sureness": "sure"}


@pytest.mark.parametrize(
    ("blur", "kind", "words"),
    [
        ({**AUTO, "kind": "gaussian", "size_px": 0.8}, "helps", "Restoring helps. Blur about 3 pixels wide (sure)."),
        ({**AUTO, "kind": "gaussian", "size_px": 2.0}, "lens", "Turn the lens first. Blur about 8 pixels wide (sure)."),
        ({**AUTO, "kind": "lens", "size_px": 1.3}, "lens", "Turn the lens first."),
        ({**AUTO, "kind": "defocus", "size_px": 2.3}, "helps", "Restoring helps."),  # a spread of 1.15 pixels
        ({**AUTO, "kind": "defocus", "size_px": 2.5, "sureness": "a guess"}, "lens", "(a guess)"),
        ({**AUTO, "kind": "motion", "size_px": 17.2}, "exposure", "Expose for less time first. Movement of about 17 pixels"),
        ({**AUTO, "kind": "blind", "sureness": "no clear blur"}, "sharp", "No clear blur"),
        ({"mode": "hand", "kind": "defocus", "size_px": 6.0}, "lens", "Blur about 12 pixels wide."),  # nothing was estimated
        ({"mode": "hand", "kind": "measured", "origin": "target", "spread_px": 2.0}, "helps", "Blur about 8 pixels wide."),
        ({**AUTO, "kind": "gaussian", "size_px": 0.8, "restored_px": 0.45}, "helps", "(sure). Restored: like about 1.8 pixels."),
        ({**AUTO, "kind": "motion", "size_px": 9.0, "restored_px": 0.7}, "exposure", "Restored: like about 2.8 pixels."),
        ({**AUTO, "kind": "gaussian", "size_px": 0.8, "restored_px": 0.79}, "", "(sure). Restoring hardly sharpens it."),
        ({**AUTO, "kind": "defocus", "size_px": 4.0, "restored_px": 1.95}, "lens", "Restoring hardly sharpens it."),
        ({"mode": "off"}, "", "switched off"),
    ],
)
def test_each_blur_has_its_verdict(blur: dict[str, Any], kind: str, words: str) -> None:
    spread = Psf(blur["kind"], blur["size_px"]).spread_px if blur.get("size_px") else 0.0
    verdict = judge(state(blur=replace(BLUR, **{"spread_px": spread} | blur)))
    assert verdict.kind == kind
    assert words in verdict.text


@pytest.mark.parametrize("mode", ["auto", "blind", "folder"])
def test_there_is_no_verdict_on_what_was_not_looked_at(mode: str) -> None:
    verdict = judge(state(blur=replace(BLUR, mode=mode)))
    assert (verdict.kind, verdict.text) == ("", "")
