"""Training: from sharp photographs to a trained network. Only Keras 3 and keras.ops, so it runs on TensorFlow, JAX and torch."""
