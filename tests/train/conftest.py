"""What several tests of training share."""

from collections.abc import Iterator

import pytest


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    """`deblurkit train` in this process builds tiny networks."""
    from tiny_presets import tiny_presets  # tests without Keras skip before they ask for this

    from train.presets import PRESETS

    for name, preset in tiny_presets().items():
        monkeypatch.setitem(PRESETS, name, preset)


@pytest.fixture
def eager() -> Iterator[None]:
    """TensorFlow runs each step operation by operation: for few steps that is far cheaper than to trace a graph first."""
    import tensorflow as tf  # tests without Keras skip before they ask for this

    tf.config.run_functions_eagerly(True)
    yield
    tf.config.run_functions_eagerly(False)
