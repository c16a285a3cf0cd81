"""What ONNX's Resize reads for each output element, and what TFLite's operators read.

Both are written as matrices [outputs, inputs] along one axis, so that they can be compared.
Conventions are those of the ONNX operator's text and of TFLite's reference kernels.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.float64]


@dataclass(frozen=True)
class Axis:
    """One resized axis.

    Attributes:
        size: of the input.
        result: of the output.
        scale: output over input, as ONNX computes with it.
    """

    size: int
    result: int
    scale: float


@dataclass(frozen=True)
class Sampling:
    """How Resize samples.

    Attributes:
        mode: nearest, linear or cubic.
        coordinates: ONNX's coordinate_transformation_mode.
        rounding: ONNX's nearest_mode.
        cubic: coefficient of the cubic kernel.
        exclude_outside: whether taps outside get no weight.
    """

    mode: str
    coordinates: str
    rounding: str
    cubic: float = -0.75
    exclude_outside: bool = False


def _half_pixel(x: Matrix, axis: Axis) -> Matrix:
    return (x + 0.5) / axis.scale - 0.5


def _symmetric(x: Matrix, axis: Axis) -> Matrix:
    adjustment = axis.result / (axis.scale * axis.size)
    center = axis.size / 2
    return center * (1 - adjustment) + (x + 0.5) / axis.scale - 0.5


def _pytorch(x: Matrix, axis: Axis) -> Matrix:
    return _half_pixel(x, axis) if axis.result > 1 else np.zeros_like(x)


def _align_corners(x: Matrix, axis: Axis) -> Matrix:
    return x * (axis.size - 1) / (axis.result - 1) if axis.result > 1 else np.zeros_like(x)


COORDINATES: dict[str, Callable[[Matrix, Axis], Matrix]] = {
    "half_pixel": _half_pixel,
    "half_pixel_symmetric": _symmetric,
    "pytorch_half_pixel": _pytorch,
    "align_corners": _align_corners,
    "asymmetric": lambda x, axis: x / axis.scale,
}

_ROUNDINGS: dict[str, Callable[[Matrix], Matrix]] = {
    "round_prefer_floor": lambda x: np.ceil(x - 0.5),
    "round_prefer_ceil": lambda x: np.floor(x + 0.5),
    "floor": np.floor,
    "ceil": np.ceil,
}


def onnx_matrix(axis: Axis, sampling: Sampling) -> Matrix:
    """The weights with which ONNX's Resize adds up inputs along one axis."""
    places = COORDINATES[sampling.coordinates](np.arange(axis.result, dtype=np.float64), axis)
    # ONNX Runtime computes in float32; a hair's breadth must not tip a tie
    places = np.round(places, 6)
    if sampling.mode == "nearest":
        return _taps(axis, [(_ROUNDINGS[sampling.rounding](places), np.ones(axis.result))])
    base = np.floor(places)
    part = places - base
    if sampling.mode == "linear":
        taps = [(base, 1 - part), (base + 1, part)]
    else:
        taps = [(base + k, _cubic(np.abs(part - k), sampling.cubic)) for k in (-1, 0, 1, 2)]
    if sampling.exclude_outside:
        return _inside(axis, taps)
    return _taps(axis, taps)


def _cubic(distance: Matrix, a: float) -> Matrix:
    """Keys' cubic convolution kernel (R. Keys, 1981)."""
    near = ((a + 2) * distance - (a + 3)) * distance**2 + 1
    far = ((a * distance - 5 * a) * distance + 8 * a) * distance - 4 * a
    return np.where(distance <= 1, near, far)


def _taps(axis: Axis, taps: list[tuple[Matrix, Matrix]]) -> Matrix:
    matrix = np.zeros((axis.result, axis.size))
    rows = np.arange(axis.result)
    for places, weights in taps:
        columns = np.clip(places, 0, axis.size - 1).astype(np.int64)
        np.add.at(matrix, (rows, columns), weights)
    return matrix


def _inside(axis: Axis, taps: list[tuple[Matrix, Matrix]]) -> Matrix:
    kept = [
        (places, np.where((places >= 0) & (places < axis.size), weights, 0.0))
        for places, weights in taps
    ]
    matrix = _taps(axis, kept)
    return np.asarray(matrix / matrix.sum(axis=1, keepdims=True))


def tflite_matrix(axis: Axis, mode: str, *, align_corners: bool, half_pixel: bool) -> Matrix:
    """The same for RESIZE_NEAREST_NEIGHBOR and RESIZE_BILINEAR."""
    x = np.arange(axis.result, dtype=np.float32)
    corners = align_corners and axis.result > 1
    ratio = np.float32((axis.size - 1) / (axis.result - 1) if corners else axis.size / axis.result)
    offset = np.float32(0.5 if half_pixel else 0.0)
    if mode == "nearest":
        places = (x + offset) * ratio
        places = np.floor(places + np.float32(0.5)) if align_corners else np.floor(places)
        return _taps(axis, [(places.astype(np.float64), np.ones(axis.result))])
    places = ((x + offset) * ratio - offset).astype(np.float64)
    base = np.floor(places)
    return _taps(axis, [(base, 1 - (places - base)), (base + 1, places - base)])
