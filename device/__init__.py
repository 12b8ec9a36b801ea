"""The product: restores a live picture. Needs the standard library, numpy, OpenCV and LiteRT; never Keras."""
