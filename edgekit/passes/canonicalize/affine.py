"""Scaling and shifting by constants: what it is, and how it moves through views and transposes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx_ir
from numpy.typing import NDArray

from edgekit.passes.canonicalize.rewrite import (
    attribute,
    dims,
    floats,
    has_input,
    input_at,
    is_constant,
    is_op,
    rank,
)

Array = NDArray[np.float64]

AFFINE = frozenset({"Add", "BatchNormalization", "Div", "Mul", "Sub"})
VIEWS = frozenset({"Flatten", "Reshape", "Squeeze", "Unsqueeze"})

_MOST_ELEMENTS = 1 << 22


@dataclass(frozen=True)
class Affine:
    """`y = scale * x + shift`, element by element.

    Attributes:
        scale: factor, broadcastable to the shape of x and of its rank.
        shift: what is added, likewise.
    """

    scale: Array
    shift: Array

    @property
    def scales(self) -> bool:
        """Whether the factor changes anything."""
        return bool((self.scale != 1).any())

    @property
    def shifts(self) -> bool:
        """Whether anything is added."""
        return bool(self.shift.any())

    def after(self, first: Affine) -> Affine:
        """This, applied to the result of `first`."""
        return Affine(self.scale * first.scale, self.scale * first.shift + self.shift)

    def along(self, axis: int, size: int) -> tuple[Array, Array] | None:
        """Scale and shift as vectors along one axis; None if they vary along another."""
        scale, shift = _vector(self.scale, axis, size), _vector(self.shift, axis, size)
        return None if scale is None or shift is None else (scale, shift)

    def before(self, node: onnx_ir.Node) -> Affine | None:
        """The same thing done to the input of a view or a transpose instead of to its output."""
        return self._moved(node, dims(node.outputs[0]), dims(node.inputs[0]), back=True)

    def behind(self, node: onnx_ir.Node) -> Affine | None:
        """The same thing done to the output of a view or a transpose instead of to its input."""
        return self._moved(node, dims(node.inputs[0]), dims(node.outputs[0]), back=False)

    def _moved(
        self,
        node: onnx_ir.Node,
        old: tuple[int | str | None, ...] | None,
        new: tuple[int | str | None, ...] | None,
        *,
        back: bool,
    ) -> Affine | None:
        if old is None or new is None:
            return None
        if is_op(node, "Transpose"):
            perm = attribute(node, "perm") or tuple(reversed(range(len(old))))
            order = tuple(int(i) for i in np.argsort(perm)) if back else perm
            return Affine(self.scale.transpose(order), self.shift.transpose(order))
        scale, shift = _reshaped(self.scale, old, new), _reshaped(self.shift, old, new)
        return None if scale is None or shift is None else Affine(scale, shift)


def _vector(array: Array, axis: int, size: int) -> Array | None:
    for other in range(array.ndim):
        if other != axis and array.shape[other] > 1:
            first = array.take([0], other)
            if not (array == first).all():
                return None
            array = first
    if array.size not in (1, size):
        return None
    return np.broadcast_to(array.reshape(-1), (size,))


def _reshaped(
    array: Array, old: tuple[int | str | None, ...], new: tuple[int | str | None, ...]
) -> Array | None:
    if array.size == 1:
        return array.reshape((1,) * len(new))
    short_old, short_new = _without_ones(old), _without_ones(new)
    if None not in short_old and short_old == short_new:
        kept = array.reshape([n for n, size in zip(array.shape, old, strict=True) if size != 1])
        sizes = iter(kept.shape)
        return kept.reshape([1 if size == 1 else next(sizes) for size in new])
    if old and new and old[0] == new[0] and array.shape[0] == 1:
        old, new = (1, *old[1:]), (1, *new[1:])
    if not all(isinstance(size, int) for size in (*old, *new)):
        return None
    full_old = tuple(size for size in old if isinstance(size, int))
    full_new = tuple(size for size in new if isinstance(size, int))
    if np.prod(full_old, dtype=np.float64) > _MOST_ELEMENTS:
        return None
    return np.broadcast_to(array, full_old).reshape(full_new)


def _without_ones(sizes: tuple[int | str | None, ...]) -> tuple[int | str | None, ...]:
    return tuple(size for size in sizes if size != 1)


def as_affine(node: onnx_ir.Node) -> tuple[onnx_ir.Value, Affine] | None:
    """What a node scales and shifts by constants, and how; None for any other node."""
    if is_op(node, "BatchNormalization"):
        return _batch_norm(node)
    if not is_op(node, *AFFINE) or len(node.inputs) != 2:
        return None
    left, right = node.inputs
    if left is None or right is None:
        return None
    if not is_constant(left):
        found = _aligned(right, left)
        return None if found is None else _right(node.op_type, left, found)
    found = _aligned(left, right)
    return None if found is None else _left(node.op_type, right, found)


def _right(op_type: str, data: onnx_ir.Value, c: Array) -> tuple[onnx_ir.Value, Affine] | None:
    one, zero = np.ones((1,) * c.ndim), np.zeros((1,) * c.ndim)
    if op_type == "Div":
        if not c.all():
            return None
        return data, Affine(1 / c, zero)
    if op_type == "Mul":
        return data, Affine(c, zero)
    return data, Affine(one, c if op_type == "Add" else -c)


def _left(op_type: str, data: onnx_ir.Value, c: Array) -> tuple[onnx_ir.Value, Affine] | None:
    if op_type == "Sub":
        return data, Affine(-np.ones((1,) * c.ndim), c)
    return None if op_type == "Div" else _right(op_type, data, c)


def _aligned(value: onnx_ir.Value, data: onnx_ir.Value) -> Array | None:
    """A constant with the rank of the data, if broadcasting leaves the data's shape as it is."""
    if value.const_value is None or value.const_value.size > _MOST_ELEMENTS:
        return None
    array, sizes = floats(value), dims(data)
    if array is None or sizes is None or array.ndim > len(sizes):
        return None
    array = array.reshape((1,) * (len(sizes) - array.ndim) + array.shape)
    fits = all(n in (1, size) for n, size in zip(array.shape, sizes, strict=True))
    return array if fits and np.isfinite(array).all() else None


def _batch_norm(node: onnx_ir.Node) -> tuple[onnx_ir.Value, Affine] | None:
    data, axes = node.inputs[0], rank(node.inputs[0])
    scale, bias, mean, var = (floats(input_at(node, index)) for index in range(1, 5))
    if data is None or axes is None or axes < 2 or attribute(node, "training_mode", 0):
        return None
    if scale is None or bias is None or mean is None or var is None:
        return None
    factor = scale / np.sqrt(var + attribute(node, "epsilon", 1e-5))
    shape = (1, -1, *(1,) * (axes - 2))
    if not np.isfinite(factor).all():
        return None
    return data, Affine(factor.reshape(shape), (bias - mean * factor).reshape(shape))


def unpadded(node: onnx_ir.Node) -> bool:
    """Whether a convolution or a pool never reads beyond the edge of its input."""
    automatic = attribute(node, "auto_pad", "NOTSET")
    if automatic == "NOTSET":
        return not any(attribute(node, "pads", ()))
    return bool(automatic == "VALID")


def gemm_bias(node: onnx_ir.Node, columns: int) -> Array | None:
    """The bias row of a Gemm, `beta` applied; None if it is not a constant row."""
    if not has_input(node, 2):
        return np.zeros(columns)
    bias = floats(node.inputs[2])
    if bias is None or (bias.ndim == 2 and bias.shape[0] != 1):
        return None
    beta = float(attribute(node, "beta", 1.0))
    return np.broadcast_to(bias.reshape(-1), (columns,)) * beta
