"""The product: a live picture in, a restored picture out. Needs the standard library, numpy and OpenCV; never Keras."""
