"""The contract of an inference runtime: what `open_runtime` returns."""

from typing import Protocol

from device.images.frame import Tensor


class Runtime(Protocol):
    """Runs one model file. Whoever opens it owns and closes it; it is used from one thread at a time.

    A constructor raises BundleError for a file that is not a model in its format.
    """

    def run(self, tensor: Tensor) -> Tensor:
        """(1, h, w, c) of the model's input type -> (1, h, w, c) of its output type, owned by the caller.

        c is 3 for a model of RGB pictures, 1 for a model of luma (both shipped models). The first call with a new size may
        take longer. Raises BundleError if the model does not accept the tensor.
        """

    def close(self) -> None:
        """Free the model. Closing twice is safe."""
