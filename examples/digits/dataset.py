"""scikit-learn's handwritten digits, split once and for all."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

Array = NDArray[Any]


def digits() -> tuple[Array, Array, Array, Array]:
    """Training images, training labels, test images, test labels.

    Images are float32 of shape (n, 8, 8, 1) with values 0 to 16; labels are 0 to 9.
    """
    bunch = load_digits()
    images = bunch.images.astype(np.float32)[..., None]
    train_x, test_x, train_y, test_y = train_test_split(
        images, bunch.target, test_size=0.4, random_state=0, stratify=bunch.target
    )
    return train_x, train_y, test_x, test_y
