"""The arithmetic of affine quantization: real = (integer − zero point) × scale.

Rounding is to nearest, ties to even, as QuantizeLinear does; values outside the range saturate.
Scales are float32, since every target stores them so.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgekit.passes.quantize.rules import QType

_TINY = float(np.finfo(np.float32).tiny)


@dataclass(frozen=True)
class Parameters:
    """Scales and zero points, one each or one per channel.

    Attributes:
        scale: positive, float32 values.
        zero_point: integers of the quantized type.
    """

    scale: tuple[float, ...]
    zero_point: tuple[int, ...]


def parameters_for(low: float, high: float, kind: QType) -> Parameters:
    """Parameters under which a range is representable and zero is exact.

    The range is first widened to hold zero. For asymmetric types the ends are then moved by less
    than half a step, so that zero falls on an integer.

    Args:
        low: lower end of the range.
        high: upper end.
        kind: the integer type.
    """
    low, high = min(low, 0.0), max(high, 0.0)
    bottom, top = kind.limits
    if kind.symmetric:
        return Parameters((_stored(max(-low, high) / top),), (0,))
    scale = _stored((high - low) / (top - bottom))
    zero_point = int(np.clip(np.round(bottom - low / scale), bottom, top))
    if zero_point == bottom and high > 0:  # never reach past the end, where a Clip may lie
        scale = _at_most(scale, high / (top - bottom))
    return Parameters((scale,), (zero_point,))


def channel_scales(weight: NDArray[Any], axis: int | None, kind: QType) -> NDArray[np.float32]:
    """Symmetric scales of a weight from its extremes.

    Channels that are all zero get the largest scale of the others, so that their bias still fits.

    Args:
        weight: the values.
        axis: channel axis; None for one scale.
        kind: a symmetric type.

    Returns:
        [channels], or [1] without an axis.
    """
    peak = np.abs(_by_channel(weight, axis)).max(axis=1, initial=0.0).astype(np.float64)
    scale = peak / kind.limits[1]
    dead = scale < _TINY
    scale[dead] = scale.max(initial=0.0) if not dead.all() else 1.0
    stored: NDArray[np.float32] = scale.astype(np.float32)
    return stored


def widen_for_bias(
    scale: NDArray[np.float32], bias: NDArray[Any], input_scale: float
) -> NDArray[np.float32]:
    """Weight scales enlarged where the bias would not fit 32 bits at input scale × weight scale."""
    reach = np.float64(2**30)
    needed = np.abs(bias.astype(np.float64)).ravel() / (reach * input_scale)
    if len(scale) == 1:
        needed = needed.max(initial=0.0, keepdims=True)
    needed = np.broadcast_to(needed, scale.shape)
    floor = np.maximum(needed, _TINY / min(input_scale, 1.0))
    widened: NDArray[np.float32] = np.maximum(scale, floor).astype(np.float32)
    return widened


def quantize(
    values: NDArray[Any],
    scale: NDArray[Any],
    zero_point: NDArray[Any],
    axis: int | None,
    limits: tuple[int, int],
    dtype: str,
) -> NDArray[Any]:
    """Real values as integers.

    Args:
        values: any shape.
        scale: [1], or one per channel.
        zero_point: like `scale`.
        axis: channel axis; None for one scale.
        limits: lowest and highest integer used.
        dtype: NumPy name of the stored type.
    """
    shape = _channel_shape(values.ndim, axis)
    real = values.astype(np.float64) / scale.astype(np.float64).reshape(shape)
    integers = np.rint(real) + zero_point.astype(np.float64).reshape(shape)
    return np.clip(integers, *limits).astype(dtype)


def dequantize(
    integers: NDArray[Any], scale: NDArray[Any], zero_point: NDArray[Any], axis: int | None
) -> NDArray[np.float32]:
    """Integers as real values."""
    shape = _channel_shape(integers.ndim, axis)
    centred = integers.astype(np.float64) - zero_point.astype(np.float64).reshape(shape)
    real: NDArray[np.float32] = (centred * scale.astype(np.float64).reshape(shape)).astype(
        np.float32
    )
    return real


def _stored(scale: float) -> float:
    """A scale as float32 keeps it; 1 where the range is empty."""
    rounded = float(np.float32(scale))
    return rounded if rounded >= _TINY else 1.0


def _at_most(scale: float, bound: float) -> float:
    if scale <= bound:
        return scale
    return float(np.nextafter(np.float32(scale), np.float32(0)))


def _by_channel(weight: NDArray[Any], axis: int | None) -> NDArray[Any]:
    if axis is None:
        return weight.reshape(1, -1)
    return np.moveaxis(weight, axis, 0).reshape(weight.shape[axis], -1)


def _channel_shape(rank: int, axis: int | None) -> tuple[int, ...]:
    if axis is None:
        return (1,) * rank
    return tuple(-1 if i == axis else 1 for i in range(rank))
