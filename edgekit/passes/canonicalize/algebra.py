"""Reads arithmetic with scalars as formulas, whatever order an exporter writes it in."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator
from dataclasses import dataclass

import onnx_ir

from edgekit.passes.canonicalize.rewrite import producer, rank, scalar

_DEPTH = 8
_HALF_TOLERANCE = 2e-3
_TOLERANCE = 1e-4


@dataclass(frozen=True)
class Product:
    """A number times some values.

    Attributes:
        number: the product of all scalar constants.
        factors: the values, one that occurs twice listed twice.
    """

    number: float
    factors: tuple[onnx_ir.Value, ...]

    def times(self, other: Product) -> Product:
        """The product of both."""
        return Product(self.number * other.number, self.factors + other.factors)

    def is_power(self, value: onnx_ir.Value, exponent: int) -> bool:
        """Whether this is a number times a power of one value."""
        return len(self.factors) == exponent and all(f is value for f in self.factors)


@dataclass(frozen=True)
class Line:
    """`slope * value + offset`."""

    slope: float
    offset: float
    value: onnx_ir.Value


def close(a: float, b: float, like: onnx_ir.Value | None = None) -> bool:
    """Whether two constants of a formula are the same number as exporters round it."""
    half = like is not None and like.dtype in (onnx_ir.DataType.FLOAT16, onnx_ir.DataType.BFLOAT16)
    return math.isclose(a, b, rel_tol=_HALF_TOLERANCE if half else _TOLERANCE)


def number(value: onnx_ir.Value | None, partner: onnx_ir.Value | None) -> float | None:
    """A scalar constant that, combined with `partner`, leaves its shape as it is."""
    found = scalar(value)
    own, other = rank(value) or 0, rank(partner)
    return (
        found if found is not None and (own == 0 or (other is not None and own <= other)) else None
    )


def product(
    value: onnx_ir.Value, stop: Collection[onnx_ir.Value] = (), depth: int = _DEPTH
) -> Product:
    """Take a value apart into factors.

    Args:
        value: what to take apart.
        stop: values that are not taken apart themselves.
        depth: how many nodes to look back.
    """
    whole = Product(1.0, (value,))
    node = producer(value, "Mul", "Div", "Pow", "Neg")
    if node is None or value in stop or depth == 0:
        return whole
    left = node.inputs[0]
    right = node.inputs[1] if len(node.inputs) > 1 else None
    if left is None or (right is None and node.op_type != "Neg"):
        return whole
    if node.op_type == "Neg":
        return Product(-1.0, ()).times(product(left, stop, depth - 1))
    factor = number(right, left)
    if node.op_type == "Pow":
        if factor not in (2.0, 3.0):
            return whole
        base = product(left, stop, depth - 1)
        return Product(base.number ** int(factor), base.factors * int(factor))
    if factor is not None:
        if node.op_type == "Div" and factor == 0:
            return whole
        scale = factor if node.op_type == "Mul" else 1 / factor
        return Product(scale, ()).times(product(left, stop, depth - 1))
    if node.op_type == "Div" or right is None:
        return whole
    factor = number(left, right)
    if factor is not None:
        return Product(factor, ()).times(product(right, stop, depth - 1))
    return product(left, stop, depth - 1).times(product(right, stop, depth - 1))


def inner_values(value: onnx_ir.Value, depth: int = _DEPTH) -> Iterator[onnx_ir.Value]:
    """The value and all that it is multiplied from."""
    yield value
    node = producer(value, "Mul", "Div")
    if node is not None and depth:
        for part in node.inputs:
            if part is not None and scalar(part) is None:
                yield from inner_values(part, depth - 1)


def sum_with_number(value: onnx_ir.Value | None) -> tuple[float, onnx_ir.Value] | None:
    """The number and the value that are added up here."""
    node = producer(value, "Add")
    if node is None:
        return None
    for data, other in (node.inputs[:2], node.inputs[1::-1]):
        found = number(other, data)
        if found is not None and data is not None:
            return found, data
    return None


def lines(value: onnx_ir.Value) -> Iterator[Line]:
    """All readings of a value as a line of another one, from the value itself backwards."""
    line = Line(1.0, 0.0, value)
    for _ in range(_DEPTH):
        yield line
        step = _step(line.value)
        if step is None:
            return
        slope, offset = line.slope * step.slope, line.slope * step.offset + line.offset
        line = Line(slope, offset, step.value)


def _step(value: onnx_ir.Value) -> Line | None:
    node = producer(value, "Add", "Sub", "Mul", "Div", "Neg")
    if node is None or node.inputs[0] is None:
        return None
    left = node.inputs[0]
    if node.op_type == "Neg":
        return Line(-1.0, 0.0, left)
    right = node.inputs[1]
    if right is None:
        return None
    c = number(right, left)
    if c is not None and not (node.op_type == "Div" and c == 0):
        slope, offset = {
            "Add": (1.0, c),
            "Sub": (1.0, -c),
            "Mul": (c, 0.0),
            "Div": (1 / c if c else 1.0, 0.0),
        }[node.op_type]
        return Line(slope, offset, left)
    c = number(left, right)
    if c is None or node.op_type == "Div":
        return None
    slope, offset = {"Add": (1.0, c), "Sub": (-1.0, c), "Mul": (c, 0.0)}[node.op_type]
    return Line(slope, offset, right)
