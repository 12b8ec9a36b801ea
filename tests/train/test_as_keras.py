"""Our replacements for parts of Keras give the same results as Keras."""

import numpy as np
import pytest

keras = pytest.importorskip("keras")
pytest.importorskip("tensorflow")
pytestmark = pytest.mark.keras

from device.images.quality import largest_channel_accuracy  # noqa: E402
from train.fit import plateau_rate  # noqa: E402


def callback_rates(losses: list[float], peak: float) -> list[float]:
    """The learning rates that the tutorial's callback sets for each epoch and for the one after the last."""
    network = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1, use_bias=False)])
    network.compile(keras.optimizers.SGD(peak), "mse")
    callback = keras.callbacks.ReduceLROnPlateau(factor=np.sqrt(0.1), cooldown=0, patience=5, min_lr=0.5e-6)
    callback.set_model(network)
    callback.on_train_begin()
    rates = [float(keras.ops.convert_to_numpy(network.optimizer.learning_rate))]
    for epoch, loss in enumerate(losses):
        callback.on_epoch_end(epoch, {"val_loss": loss})
        rates.append(float(keras.ops.convert_to_numpy(network.optimizer.learning_rate)))
    return rates


def test_the_plateau_rate_equals_that_of_the_keras_callback() -> None:
    epochs, reduced = np.arange(90), []
    for seed in range(12):
        rng = np.random.default_rng(seed)
        kinds = [
            0.02 * np.exp(-epochs / 20) + 0.01 + rng.normal(0, 10.0 ** rng.integers(-5, -2), 90),
            0.01 + 2e-4 * np.round(rng.random(90), 1),  # ties, and steps near Keras' smallest change of 1e-4
            np.repeat(rng.random(15), 6),
            1 - 1.5e-5 * epochs * rng.integers(1, 8),  # creeps downwards
        ]
        losses = [float(loss) for loss in kinds[seed % 4]]
        rates = [plateau_rate(1e-3, losses[:epoch]) for epoch in range(91)]
        np.testing.assert_allclose(rates, callback_rates(losses, 1e-3), rtol=1e-5)
        reduced.append(len(set(rates)) > 1)
    assert sum(reduced) >= 9


def test_the_plateau_rate_has_the_floor_of_the_keras_callback() -> None:
    losses = [1.0] * 80
    assert plateau_rate(1e-3, losses) == 0.5e-6
    assert callback_rates(losses, 1e-3)[-1] == pytest.approx(0.5e-6)


@pytest.mark.parametrize("dtype", [np.float32, np.uint8])
def test_the_largest_channel_accuracy_is_the_categorical_accuracy_of_keras(dtype: type) -> None:
    rng = np.random.default_rng(5)
    for levels in (3, 8, 256):  # few levels make many ties
        restored, sharp = (rng.integers(0, levels, (2, 20, 30, 3)).astype(dtype) for _ in range(2))
        metric = keras.metrics.CategoricalAccuracy()
        metric.update_state(sharp, restored)
        accuracy = largest_channel_accuracy(restored, sharp)
        assert accuracy == pytest.approx(float(metric.result()), abs=1e-6)
        assert 0.2 < accuracy < 0.8
