"""Recognises layer normalization."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import onnx_ir
from numpy.typing import NDArray

from edgekit.passes.base import NodePass
from edgekit.passes.canonicalize.algebra import sum_with_number
from edgekit.passes.canonicalize.rewrite import (
    add_node,
    attribute,
    constant_like,
    floats,
    has_input,
    integers,
    only_reader,
    producer,
    rank,
    replace,
    scalar,
)

Array = NDArray[np.float64]


@dataclass(frozen=True)
class _Moments:
    """What a reciprocal standard deviation is computed from."""

    data: onnx_ir.Value
    mean: onnx_ir.Value
    axes: int
    epsilon: float


class FuseLayerNorm(NodePass):
    """Writes a normalization over the last axes as one LayerNormalization.

    ```
    before   m = ReduceMean(x, [-1]); d = Sub(x, m); v = ReduceMean(Mul(d, d), [-1])
             n = Div(d, Sqrt(Add(v, 1e-5))); y = Add(Mul(n, gamma), beta)
    after    y = LayerNormalization[axis=-1](x, gamma, beta)
    ```

    The other form is TensorFlow's: with `s = gamma / sqrt(v + eps)`, `y = x * s + (beta - m * s)`.
    """

    ops = frozenset({"Add", "Div", "Mul", "Sub"})

    def rewrite(self, node: onnx_ir.Node) -> bool:
        """Fuse the formula that ends in one node."""
        if node.op_type in ("Add", "Sub"):
            return _fuse_moments_apart(node)
        moments = _normalized(node)
        if moments is None:
            return False
        last, gamma = _scaled(node.outputs[0], moments)
        last, beta = _shifted(last, moments)
        return _emit(last, moments, gamma, beta)


def _emit(
    output: onnx_ir.Value, moments: _Moments, gamma: Array | None, beta: Array | None
) -> bool:
    sizes = _normal_sizes(moments)
    node = output.producer()
    if sizes is None or node is None:
        return False
    name = node.name or "LayerNormalization"
    scale = np.broadcast_to(np.ones(()) if gamma is None else gamma, sizes)
    inputs = [moments.data, constant_like(node, scale, moments.data, f"{name}_scale")]
    if beta is not None:
        shift = np.broadcast_to(beta, sizes)
        inputs.append(constant_like(node, shift, moments.data, f"{name}_bias"))
    attributes = {"axis": -moments.axes, "epsilon": moments.epsilon}
    new = add_node(node, "LayerNormalization", inputs, attributes, like=output, name=name)
    replace(output, new)
    return True


def _normal_sizes(moments: _Moments) -> tuple[int, ...] | None:
    if moments.data.shape is None:
        return None
    sizes = moments.data.shape[-moments.axes :]
    numbers = tuple(size for size in sizes if isinstance(size, int))
    return numbers if len(numbers) == moments.axes else None


def _normalized(node: onnx_ir.Node) -> _Moments | None:
    """Moments of `(x - mean) / std` or `(x - mean) * (1 / std)`."""
    if node.op_type == "Div":
        root = producer(node.inputs[1], "Sqrt")
        moments = _moments(root.inputs[0]) if root is not None else None
        fits = moments is not None and _is_centred(node.inputs[0], moments)
        return moments if fits else None
    for centred, inverse in (node.inputs[:2], node.inputs[1::-1]):
        moments = _inverse(inverse)
        if moments is not None and _is_centred(centred, moments):
            return moments
    return None


def _is_centred(value: onnx_ir.Value | None, moments: _Moments) -> bool:
    node = producer(value, "Sub")
    return node is not None and node.inputs[0] is moments.data and node.inputs[1] is moments.mean


def _inverse(value: onnx_ir.Value | None) -> _Moments | None:
    """Moments behind `1 / sqrt(variance + epsilon)`."""
    node = producer(value, "Reciprocal", "Div", "Pow")
    if node is None:
        return None
    if node.op_type == "Pow":
        return _moments(node.inputs[0]) if scalar(node.inputs[1]) == -0.5 else None
    if node.op_type == "Div" and scalar(node.inputs[0]) != 1:
        return None
    root = producer(node.inputs[-1], "Sqrt")
    return _moments(root.inputs[0]) if root is not None else None


def _moments(value: onnx_ir.Value | None) -> _Moments | None:
    """Moments behind `mean((x - mean(x)) ** 2) + epsilon`."""
    found = sum_with_number(value)
    variance = producer(found[1], "ReduceMean") if found is not None else None
    centred = _squared(variance.inputs[0]) if variance is not None else None
    difference = producer(centred, "Sub")
    if found is None or variance is None or difference is None or found[0] <= 0:
        return None
    for data, mean in (difference.inputs[:2], difference.inputs[1::-1]):
        average = producer(mean, "ReduceMean")
        if data is None or mean is None or average is None or average.inputs[0] is not data:
            continue
        axes = _last_axes(average)
        if axes is not None and axes == _last_axes(variance):
            return _Moments(data, mean, axes, found[0])
    return None


def _squared(value: onnx_ir.Value | None) -> onnx_ir.Value | None:
    node = producer(value, "Mul", "Pow")
    if node is None:
        return None
    if node.op_type == "Pow":
        return node.inputs[0] if scalar(node.inputs[1]) == 2 else None
    return node.inputs[0] if node.inputs[0] is node.inputs[1] else None


def _last_axes(node: onnx_ir.Node) -> int | None:
    """How many axes a mean goes over if they are the last ones and are kept."""
    total = rank(node.inputs[0])
    axes = integers(node.inputs[1]) if has_input(node, 1) else None
    if total is None or not axes or not attribute(node, "keepdims", 1):
        return None
    positive = sorted(axis % total for axis in axes)
    return len(axes) if positive == list(range(total - len(axes), total)) else None


def _operand(
    value: onnx_ir.Value, op_type: str, moments: _Moments
) -> tuple[onnx_ir.Value, Array] | None:
    """The only reader of a value, if it combines it with a constant over the normal axes."""
    if not only_reader(value):
        return None
    node, index = next(iter(value.uses()))
    if node.op_type != op_type or node.domain != "" or len(node.inputs) != 2:
        return None
    array = _parameter(node.inputs[1 - index], moments)
    return None if array is None else (node.outputs[0], array)


def _parameter(value: onnx_ir.Value | None, moments: _Moments) -> Array | None:
    array, sizes = floats(value), _normal_sizes(moments)
    if array is None or sizes is None:
        return None
    while array.ndim > len(sizes) and array.shape[0] == 1:
        array = array[0]
    padded = (1,) * (len(sizes) - array.ndim) + array.shape
    fits = len(padded) == len(sizes) and all(
        n in (1, size) for n, size in zip(padded, sizes, strict=True)
    )
    return array if fits else None


def _scaled(value: onnx_ir.Value, moments: _Moments) -> tuple[onnx_ir.Value, Array | None]:
    return _operand(value, "Mul", moments) or (value, None)


def _shifted(value: onnx_ir.Value, moments: _Moments) -> tuple[onnx_ir.Value, Array | None]:
    return _operand(value, "Add", moments) or (value, None)


def _fuse_moments_apart(node: onnx_ir.Node) -> bool:
    """`x * s + (beta - mean * s)`, where s is gamma times the reciprocal standard deviation."""
    terms = list(_terms(node.outputs[0]))
    products = [(sign, *pair) for sign, value in terms for pair in _factors(value)]
    constants = [(sign, value) for sign, value in terms if floats(value) is not None]
    if len(terms) != 2 + len(constants) or len(constants) > 1:
        return False
    for sign, data, scale in products:
        found = _scale(scale)
        if found is None or sign < 0 or data is not found[0].data:
            continue
        moments, gamma = found
        if not any(_is_mean_term(term, moments, scale) for term in products):
            continue
        beta = _parameter(constants[0][1], moments) if constants else None
        if constants and beta is None:
            continue
        signed = None if beta is None else beta * constants[0][0]
        return _emit(node.outputs[0], moments, gamma, signed)
    return False


Factor = onnx_ir.Value | None


def _is_mean_term(term: tuple[float, Factor, Factor], moments: _Moments, scale: Factor) -> bool:
    sign, mean, other = term
    negated = producer(mean, "Neg")
    if negated is not None:
        sign, mean = -sign, negated.inputs[0]
    return sign < 0 and mean is moments.mean and other is scale


def _terms(value: Factor, depth: int = 3) -> Iterator[tuple[float, Factor]]:
    """What is added up to a value, with signs."""
    node = producer(value, "Add", "Sub", "Neg") if depth else None
    if node is None:
        yield 1.0, value
        return
    yield from (
        (-sign if node.op_type == "Neg" else sign, term)
        for sign, term in _terms(node.inputs[0], depth - 1)
    )
    if len(node.inputs) > 1:
        flip = -1.0 if node.op_type == "Sub" else 1.0
        yield from ((flip * sign, term) for sign, term in _terms(node.inputs[1], depth - 1))


def _factors(value: Factor) -> Iterator[tuple[Factor, Factor]]:
    node = producer(value, "Mul")
    if node is not None:
        yield node.inputs[0], node.inputs[1]
        yield node.inputs[1], node.inputs[0]


def _scale(value: Factor) -> tuple[_Moments, Array | None] | None:
    moments = _inverse(value)
    if moments is not None:
        return moments, None
    for inverse, gamma in _factors(value):
        moments = _inverse(inverse)
        array = _parameter(gamma, moments) if moments is not None else None
        if moments is not None and array is not None:
            return moments, array
    return None
