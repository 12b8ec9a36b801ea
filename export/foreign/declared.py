"""Known before somebody else's network is opened: what its user declares, and the limits of its file."""

from dataclasses import dataclass

FORMS = "a .keras file, a SavedModel's folder, or an .onnx or .tflite file"
LIMIT = 2**31
"""Most bytes of a model, packed or unpacked."""
ENTRIES = 64
"""Most entries of a zip or of a SavedModel's folder."""
_CHANNELS = {"rgb": 3, "luma": 1}


@dataclass(frozen=True)
class Declared:
    """What the user of a network declares, since no file says it."""

    colour: str
    """`rgb` or `luma`."""
    value_range: tuple[float, float]
    """Black and white in the network's own tensors: (0, 1), (0, 255) or (-1, 1)."""
    pad_multiple: int
    """Sides of a picture must be multiples of this, pixels."""
    licence: str = ""

    @property
    def channels(self) -> int:
        """Channels of its tensors."""
        return _CHANNELS[self.colour]

    @property
    def scaled(self) -> bool:
        """Whether its values span anything but 0..1."""
        low, high = self.value_range
        return low != 0 or high != 1
