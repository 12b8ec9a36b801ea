"""What several tests of training share."""

import pytest


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    """`deblurkit train` in this process builds tiny networks."""
    from tiny_presets import tiny_presets  # tests without Keras skip before they ask for this

    from train.presets import PRESETS

    for name, preset in tiny_presets().items():
        monkeypatch.setitem(PRESETS, name, preset)
