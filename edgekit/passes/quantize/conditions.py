"""Conditions that legal-op tables share, and the questions about nodes they are made of."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import onnx_ir

from edgekit.passes.quantize.constants import constant_data, is_constant
from edgekit.passes.quantize.rules import Condition


def operand(node: onnx_ir.Node, index: int) -> onnx_ir.Value | None:
    """An operand of a node; None when it is absent."""
    return node.inputs[index] if index < len(node.inputs) else None


def is_float(value: onnx_ir.Value | None) -> bool:
    """Whether a value is a float32 tensor."""
    return value is not None and value.dtype == onnx_ir.DataType.FLOAT


def rank_of(value: onnx_ir.Value | None) -> int | None:
    """Number of axes; None when unknown."""
    return None if value is None or value.shape is None else len(value.shape)


def int_attribute(node: onnx_ir.Node, name: str, default: int) -> int:
    """An integer attribute."""
    found = node.attributes.get(name)
    return default if found is None else found.as_int()


def constant_operand(index: int, what: str) -> Condition:
    """The operand must be a constant (or absent)."""

    def test(node: onnx_ir.Node) -> bool:
        value = operand(node, index)
        return value is None or is_constant(value)

    return Condition(test, f"its {what} is computed at run time")


def attribute_is(name: str, value: float, default: float) -> Condition:
    """A numeric attribute must have one value."""

    def test(node: onnx_ir.Node) -> bool:
        found = node.attributes.get(name)
        return (default if found is None else float(found.value)) == value

    return Condition(test, f"{name} is not {value:g}")


def attribute_within(name: str, low: float, high: float, default: float) -> Condition:
    """A numeric attribute must lie within bounds, both included."""

    def test(node: onnx_ir.Node) -> bool:
        found = node.attributes.get(name)
        return low <= (default if found is None else float(found.value)) <= high

    return Condition(test, f"{name} is not within {low:g} and {high:g}")


def text_attribute_in(name: str, values: Sequence[str], default: str) -> Condition:
    """A string attribute must be one of a few."""

    def test(node: onnx_ir.Node) -> bool:
        found = node.attributes.get(name)
        return (default if found is None else found.as_string()) in values

    return Condition(test, f"{name} is not {' or '.join(values)}")


def rank_in(index: int, low: int, high: int) -> Condition:
    """The rank of an operand must lie within bounds, both included."""

    def test(node: onnx_ir.Node) -> bool:
        rank = rank_of(operand(node, index))
        return rank is not None and low <= rank <= high

    ranks = f"{low}" if low == high else f"{low} to {high}"
    return Condition(test, f"operand {index} does not have {ranks} axes")


def when(holds: Callable[[onnx_ir.Node], bool], reason: str, hint: str = "") -> Condition:
    """A condition made of a question about the node."""
    return Condition(holds, reason, hint)


def both_computed(node: onnx_ir.Node) -> bool:
    """Whether neither of the first two operands is a constant."""
    return not any(is_constant(operand(node, index)) for index in (0, 1))


def softmax_last_axis(node: onnx_ir.Node) -> bool:
    """Whether a Softmax runs over the last axis."""
    axis, rank = int_attribute(node, "axis", -1), rank_of(operand(node, 0))
    return axis == -1 or (rank is not None and axis == rank - 1)


def finite_constants(node: onnx_ir.Node) -> bool:
    """Whether no float constant operand holds NaN, infinity or a stand-in for it (a mask)."""
    for value in node.inputs:
        if value is not None and is_float(value) and is_constant(value):
            data = constant_data(value)
            if data.size and not np.abs(data).max() < _MASK:
                return False
    return True


def one_bias_per_output(node: onnx_ir.Node) -> bool:
    """Whether the bias of a Gemm, where it has one, is [N] or [1, N]."""
    weight, bias = operand(node, 1), operand(node, 2)
    if bias is None:
        return True
    if weight is None or not is_constant(weight) or not is_constant(bias):
        return False
    size = constant_data(weight).shape[0 if int_attribute(node, "transB", 0) else 1]
    return constant_data(bias).shape in ((size,), (1, size))


_MASK = 1e20
"""Constants from this magnitude on stand for infinity; no 8-bit scale serves them."""


CONV = (
    constant_operand(1, "weight"),
    constant_operand(2, "bias"),
)
"""What every integer convolution needs."""

GEMM = (
    constant_operand(1, "weight"),
    constant_operand(2, "bias"),
    attribute_is("alpha", 1, 1),
    attribute_is("beta", 1, 1),
    attribute_is("transA", 0, 0),
)
"""What every integer Gemm needs."""

INT32_BIAS = when(one_bias_per_output, "its bias is not one value per output")
"""What a Gemm needs besides, where its bias is stored as int32."""
