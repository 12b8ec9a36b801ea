"""Layers that move or limit pixels, each one native operator in the exported files."""

from typing import Any

from keras import layers, ops


class SpaceToDepth(layers.Layer):
    """(b, h, w, c) -> (b, h/n, w/n, n*n*c); one native operator in TFLite and ONNX (Keras >= 3.14)."""

    def __init__(self, block: int, **options: Any) -> None:
        super().__init__(**options)
        self.block = block

    def call(self, x: Any) -> Any:
        return ops.space_to_depth(x, self.block)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "block": self.block}

    def compute_output_shape(self, shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        b, h, w, c = shape
        n = self.block
        return b, h and h // n, w and w // n, None if c is None else n * n * c


class DepthToSpace(layers.Layer):
    """(b, h, w, n*n*c) -> (b, n*h, n*w, c); one native operator in TFLite and ONNX (Keras >= 3.14)."""

    def __init__(self, block: int, **options: Any) -> None:
        super().__init__(**options)
        self.block = block

    def call(self, x: Any) -> Any:
        return ops.depth_to_space(x, self.block)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "block": self.block}

    def compute_output_shape(self, shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        b, h, w, c = shape
        n = self.block
        return b, h and n * h, w and n * w, None if c is None else c // (n * n)


class Clip(layers.Layer):
    """Limits the picture to 0..1 inside the graph, so that an 8-bit output uses all its codes for this range."""

    def call(self, x: Any) -> Any:
        return ops.minimum(ops.relu(x), 1.0)  # TFLite fuses the ReLU into the addition before it

    def compute_output_shape(self, shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return shape
