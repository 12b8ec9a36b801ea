"""Re-parameterised convolutions: several branches while training, one plain kernel afterwards, the same function.

A 3x3 kernel is trained as the sum of a 3x3, a 1x1 followed by a 3x3, first and second derivatives (Sobel, Laplacian) and,
where the numbers of channels allow it, the identity (Ding et al., RepVGG, 2021; Zhang et al., ECBSR, 2021). The branches are
added as kernels before the convolution, not as pictures after it: training then costs one convolution, and the padding is that
of the plain convolution, so that folding is exact at the borders too.
"""

from typing import Any

import keras
import numpy as np
from keras import layers, ops

# (derivative, y, x): Sobel across, Sobel down, Laplacian.
_DERIVATIVES = np.array(
    [
        [[1, 0, -1], [2, 0, -2], [1, 0, -1]],
        [[1, 2, 1], [0, 0, 0], [-1, -2, -1]],
        [[0, 1, 0], [1, -4, 1], [0, 1, 0]],
    ],
    np.float32,
)


def branched(plain: keras.Model) -> keras.Model:
    """A copy of `plain`, with its own weights, that has branches for every 3x3 kernel and computes the same now."""
    twin = keras.models.clone_model(plain, clone_function=_branched_layer)
    for layer in (each for each in plain.layers if each.weights):
        twin_layer = twin.get_layer(layer.name)
        if isinstance(twin_layer, BranchedConv2D):
            twin_layer.set_plain_weights(*layer.get_weights())
        else:
            twin_layer.set_weights(layer.get_weights())
    return twin


def fold(network: keras.Model, plain: keras.Model) -> None:
    """Set the weights of `plain` to those of a `branched` network, with the branches of each kernel summed."""
    for layer in (each for each in plain.layers if each.weights):
        twin_layer = network.get_layer(layer.name)
        branches = isinstance(twin_layer, BranchedConv2D)
        layer.set_weights(twin_layer.plain_weights() if branches else twin_layer.get_weights())


class BranchedConv2D(layers.Conv2D):
    """A 3x3 convolution whose kernel and bias are sums over branches. Initially only the 3x3 branch and the identity count."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.autocast = False  # the branches are summed in float32; their sum is cast like a plain kernel

    def build(self, input_shape: Any) -> None:
        super().build(input_shape)
        channels_in = int(input_shape[-1])
        # `squeeze` (1x1) followed by `spread` (3x3) is one branch; `slopes` are the weights of the derivatives.
        self.squeeze = self.add_weight(name="squeeze", shape=(channels_in, self.filters), initializer="glorot_uniform")
        self.squeeze_bias = self.add_weight(name="squeeze_bias", shape=(self.filters,), initializer="zeros")
        self.spread = self.add_weight(name="spread", shape=(3, 3, self.filters, self.filters), initializer="zeros")
        self.slopes = self.add_weight(name="slopes", shape=(3, channels_in, self.filters), initializer="zeros")
        identity = np.zeros((3, 3, channels_in, self.filters), np.float32)
        if channels_in == self.filters and tuple(self.strides) == (1, 1):
            identity[1, 1] = np.eye(channels_in)
        self._identity = identity

    def summed(self) -> tuple[Any, Any]:
        """Kernel (3, 3, in, out) and bias (out,) of the one convolution that equals all branches, float32."""
        kernel, bias = ops.convert_to_tensor(self._kernel), ops.convert_to_tensor(self.bias)
        kernel = kernel + self._identity
        kernel = kernel + ops.einsum("im,yxmo->yxio", self.squeeze, self.spread)
        kernel = kernel + ops.einsum("dyx,dio->yxio", _DERIVATIVES, self.slopes)
        return kernel, bias + ops.einsum("m,yxmo->o", self.squeeze_bias, self.spread)

    def call(self, x: Any) -> Any:
        kernel, bias = self.summed()
        y = self.convolution_op(ops.cast(x, self.compute_dtype), ops.cast(kernel, self.compute_dtype))
        return self.activation(y + ops.cast(bias, self.compute_dtype))

    def plain_weights(self) -> list[np.ndarray]:
        """Kernel and bias for a plain convolution."""
        return [ops.convert_to_numpy(value) for value in self.summed()]

    def set_plain_weights(self, kernel: np.ndarray, bias: np.ndarray) -> None:
        """Compute what a plain convolution does: the 3x3 branch takes the difference to the other branches."""
        self._kernel.assign(np.zeros_like(kernel))
        self.bias.assign(np.zeros_like(bias))
        others_kernel, others_bias = self.plain_weights()
        self._kernel.assign(kernel - others_kernel)
        self.bias.assign(bias - others_bias)


def _branched_layer(layer: layers.Layer) -> layers.Layer:
    kind = BranchedConv2D if type(layer) is layers.Conv2D and layer.kernel_size == (3, 3) else type(layer)
    return kind.from_config(layer.get_config())  # type: ignore[no-any-return]
