"""What is known of somebody else's network before it is opened: what its user declares, and what a file may have."""

from dataclasses import dataclass

FORMS = "a .keras file, a SavedModel's folder, or an .onnx or .tflite file"
LIMIT = 2**31
"""Bytes that a model may have, packed or unpacked."""
ENTRIES = 64
"""Of a zip or a SavedModel's folder."""
_CHANNELS = {"rgb": 3, "luma": 1}


@dataclass(frozen=True)
class Declared:
    """What its user says of a network, since no file does."""

    colour: str
    """`rgb` or `luma`."""
    value_range: tuple[float, float]
    """What black and white are in the network's own tensors: (0, 1), (0, 255) or (-1, 1)."""
    pad_multiple: int
    licence: str = ""

    @property
    def channels(self) -> int:
        """Of its tensors."""
        return _CHANNELS[self.colour]

    @property
    def scaled(self) -> bool:
        """Whether its values are others than 0..1."""
        low, high = self.value_range
        return low != 0 or high != 1
