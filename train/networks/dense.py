"""Builds the tutorial's autoencoder, `train.architectures.Dense`."""

import keras
from keras import layers

from device.errors import UsageError
from train.architectures import Dense


def build_encoder(dense: Dense, batch: int | None = None) -> keras.Model:
    """(batch, 128, 128, 3) -> (batch, 256)."""
    picture = keras.Input((dense.side, dense.side, 3), batch_size=batch, name="encoder_input")
    x = picture
    for filters in dense.filters:
        x = layers.Conv2D(filters, 3, strides=2, activation="relu", padding="same")(x)
    latent = layers.Dense(dense.latent, name="latent_vector")(layers.Flatten()(x))
    return keras.Model(picture, latent, name="encoder")


def build_decoder(dense: Dense, batch: int | None = None) -> keras.Model:
    """(batch, 256) -> (batch, 128, 128, 3)."""
    small = dense.side // 2 ** len(dense.filters)
    latent = keras.Input((dense.latent,), batch_size=batch, name="decoder_input")
    x = layers.Dense(small * small * dense.filters[-1])(latent)
    x = layers.Reshape((small, small, dense.filters[-1]))(x)
    for filters in reversed(dense.filters):
        x = layers.Conv2DTranspose(filters, 3, strides=2, activation="relu", padding="same")(x)
    picture = layers.Conv2DTranspose(3, 3, activation="sigmoid", padding="same", name="decoder_output", dtype="float32")(x)
    return keras.Model(latent, picture, name="decoder")


def build_dense(dense: Dense, height: int | None, width: int | None, batch: int | None) -> keras.Model:
    """See `build_network`. decoder(encoder(picture)); its sigmoid keeps the output within 0..1, so it needs no clip layer."""
    if (height or dense.side, width or dense.side) != (dense.side, dense.side):
        raise UsageError(f"dense works on {dense.side}x{dense.side} pictures only, not {width}x{height}")
    encoder, decoder = build_encoder(dense, batch), build_decoder(dense, batch)
    picture = keras.Input((dense.side, dense.side, 3), batch_size=batch, name="blurred")
    return keras.Model(picture, decoder(encoder(picture)), name="autoencoder")
