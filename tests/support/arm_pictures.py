"""What each shipped file makes of one picture, written by the machine that is compared with: python arm_pictures.py FILE.npz"""

import sys
from collections.abc import Iterator

import numpy as np

from device.bundle.manifest import Artifact
from device.bundle.open import Bundle, open_bundle, shipped
from device.images.degrade import add_noise, gaussian_blur, to_float, to_pixels
from device.images.frame import Pixels
from device.images.scenes import dead_leaves
from device.restore.restorer import Restorer

RUNTIMES = {"tflite": ("litert",), "onnx": ("onnxruntime", "opencv_dnn")}
PICTURE = "picture"


def cases() -> Iterator[tuple[Bundle, Artifact, str]]:
    """Every TFLite and ONNX file that ships, by the runtimes that a board has. OpenCV computes in float32 only."""
    for name in shipped():
        bundle = open_bundle(name)
        for artifact in bundle.manifest.artifacts:
            for runtime in RUNTIMES.get(artifact.format, ()):
                if runtime != "opencv_dnn" or artifact.variant == "fp32":
                    yield bundle, artifact, runtime


def label(artifact: Artifact, runtime: str) -> str:
    """A case in a word: "small_int8.tflite-litert"."""
    return f"{artifact.file}-{runtime}"


def blurred() -> Pixels:
    """(96, 128, 3): without text, and drawn on one machine only, since OpenCV 4 and 5 draw differently."""
    return to_pixels(add_noise(gaussian_blur(to_float(dead_leaves(96, 128, 5)), 1.6), 2 / 255, np.random.default_rng(0)))


def restored(bundle: Bundle, artifact: Artifact, runtime: str, picture: Pixels) -> Pixels:
    """The picture, restored by one file."""
    with Restorer(bundle, artifact.variant, runtime, threads=1) as restorer:
        assert restorer.artifact == artifact
        return restorer.restore(picture)


if __name__ == "__main__":
    picture = blurred()
    made = {label(artifact, runtime): restored(bundle, artifact, runtime, picture) for bundle, artifact, runtime in cases()}
    np.savez(sys.argv[1], **{PICTURE: picture}, **made)
