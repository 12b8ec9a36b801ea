"""The losses: from sharp and restored, both (batch, height, width, channels), to one number per picture.

Keras takes the mean over the pictures. A loss must not do so itself: only then is the mean right if devices share a batch.
"""

from collections.abc import Callable
from typing import Any

from keras import ops

from train.presets import Recipe

Loss = Callable[[Any, Any], Any]
_PICTURE = (1, 2, 3)


def charbonnier(sharp: Any, restored: Any) -> Any:
    """Mean of sqrt(difference² + 0.001²): an L1 that is smooth at zero (Charbonnier et al., 1994)."""
    return ops.mean(ops.sqrt(ops.square(restored - sharp) + 1e-6), axis=_PICTURE)


def squared_error(sharp: Any, restored: Any) -> Any:
    """Mean squared error."""
    return ops.mean(ops.square(restored - sharp), axis=_PICTURE)


def log_error(sharp: Any, restored: Any) -> Any:
    """log(mean squared error + 5e-5): the equivalent of mean PSNR, flattened above 43 dB.

    Without the constant, pictures that are almost right would outweigh the blurred ones.
    """
    return ops.log(squared_error(sharp, restored) + 5e-5)


def frequency_error(sharp: Any, restored: Any) -> Any:
    """Mean of |real| + |imaginary| of the difference's Fourier transform, over sqrt(pixels) (after Cho et al., 2021)."""
    difference = ops.transpose(restored - sharp, (0, 3, 1, 2))  # fft2 transforms the last two axes
    real, imaginary = ops.fft2((difference, ops.zeros_like(difference)))
    _, _, height, width = ops.shape(difference)
    return ops.mean(ops.abs(real) + ops.abs(imaginary), axis=_PICTURE) / ops.sqrt(ops.cast(height * width, "float32"))


LOSSES: dict[str, Loss] = {"log_mse": log_error, "charbonnier": charbonnier, "mse": squared_error}


def picture_loss(recipe: Recipe, epoch: int = 0) -> Loss:
    """The recipe's loss against one target picture, in this epoch."""
    plain = LOSSES[recipe.loss if epoch < recipe.last_loss_from else recipe.last_loss]
    if not recipe.fft_weight:
        return plain
    return lambda sharp, restored: plain(sharp, restored) + recipe.fft_weight * frequency_error(sharp, restored)


def distillation_loss(recipe: Recipe, epoch: int = 0) -> Loss:
    """The recipe's loss against the sharp picture plus, weighted, against the teacher's output, as `train.distil` stacks them."""
    loss = picture_loss(recipe, epoch)

    def against_both(both: Any, restored: Any) -> Any:
        sharp, taught = ops.split(both, 2, axis=-1)
        return loss(sharp, restored) + recipe.teacher_weight * loss(taught, restored)

    return against_both
