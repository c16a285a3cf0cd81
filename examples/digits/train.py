"""Trains the demo's model, `digits.keras`. Run it to make the file again.

A small residual, depthwise separable network: every kind of layer that a mobile vision model has.
"""

from __future__ import annotations

from pathlib import Path

import keras
from dataset import digits
from keras import layers


def build() -> keras.Model:
    """The untrained network: (n, 8, 8, 1) pictures with values 0 to 16 in, 10 probabilities out."""
    image = keras.Input((8, 8, 1), name="image")
    x = layers.Rescaling(1 / 16)(image)
    x = layers.Conv2D(16, 3, padding="same", use_bias=False)(x)
    x = layers.BatchNormalization()(x)
    x = shortcut = layers.ReLU()(x)
    x = layers.DepthwiseConv2D(3, padding="same", use_bias=False)(x)
    x = layers.BatchNormalization()(x)
    x = layers.ReLU(max_value=6.0)(x)
    x = layers.Conv2D(16, 1, use_bias=False)(x)
    x = layers.BatchNormalization()(x)
    x = layers.ReLU()(layers.Add()([x, shortcut]))
    x = layers.Conv2D(32, 3, strides=2, padding="same", use_bias=False)(x)
    x = layers.BatchNormalization()(x)
    x = layers.ReLU()(x)
    x = layers.GlobalAveragePooling2D()(x)
    scores = layers.Dense(10, activation="softmax", name="scores")(x)
    return keras.Model(image, scores, name="digits")


def main() -> None:
    """Train, report the test accuracy, and save beside this script."""
    keras.utils.set_random_seed(0)
    train_x, train_y, test_x, test_y = digits()
    model = build()
    model.compile(
        keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(1e-2, 60 * 34)),
        loss="sparse_categorical_crossentropy",
        metrics=["accuracy"],
    )
    model.fit(train_x, train_y, batch_size=32, epochs=60, verbose=0)
    _, accuracy = model.evaluate(test_x, test_y, verbose=0)
    # Weights only: the optimizer's state is of no use to a reader and doubles the file.
    small = keras.Model.from_config(model.get_config())
    small.set_weights(model.get_weights())
    small.save(Path(__file__).with_name("digits.keras"))
    print(f"test accuracy {accuracy:.4f}")


if __name__ == "__main__":
    main()
