"""Sharp photographs in, a trained network out. Keras 3 through keras.ops: TensorFlow, JAX and torch run it unchanged."""
