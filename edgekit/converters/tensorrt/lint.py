"""Checks a Q/DQ graph against every rule that TensorRT has for explicit quantization.

A graph that breaks a rule is refused by TensorRT or, worse, runs in float without a word. Each
rule was seen with TensorRT-RTX 1.7.1.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from enum import Enum

import numpy as np
import onnx_ir

from edgekit.converters.quantized import COMPUTE, is_dequantized
from edgekit.converters.tensorrt.support import QLINEAR


class Rule(str, Enum):
    """The rules, by what they ask for."""

    NO_QLINEAR = "no-qlinear"
    EXPLICIT_ZERO_POINT = "explicit-zero-point"
    SYMMETRIC = "symmetric"
    INT8_ONLY = "int8-only"
    CONSTANT_SCALE = "constant-scale"
    PER_TENSOR_ACTIVATION = "per-tensor-activation"
    WEIGHT_AXIS = "weight-axis"
    BOTH_OPERANDS = "both-operands"
    FLOAT_BIAS = "float-bias"
    FLOAT_CONV_TRANSPOSE = "float-conv-transpose"
    NO_BLOCKS = "no-blocks"
    PROFILE = "profile"

    def __str__(self) -> str:
        return self.value


@dataclass(frozen=True)
class Violation:
    """A rule that a node breaks.

    Attributes:
        rule: which one.
        node: name of the node, or of the input for `profile`.
        op: its operator.
        message: what about it.
    """

    rule: Rule
    node: str
    op: str
    message: str

    def __str__(self) -> str:
        return f"{self.op} '{self.node}' breaks {self.rule}: {self.message}"


def lint(
    model: onnx_ir.Model, profiled: Mapping[str, object] | None = None
) -> tuple[Violation, ...]:
    """Check every rule.

    Args:
        model: a graph that TensorRT is to run.
        profiled: inputs that have an optimization profile; None leaves that rule out.

    Returns:
        The violations, in the order of the graph; empty when there are none.
    """
    found = [v for node in model.graph for check in _CHECKS for v in check(node)]
    if profiled is not None:
        found.extend(_profile(model.graph, profiled))
    return tuple(found)


def _violation(rule: Rule, node: onnx_ir.Node, message: str) -> Violation:
    return Violation(rule, node.name or "", node.op_type, message)


def _is_qdq(node: onnx_ir.Node) -> bool:
    return node.op_type in ("QuantizeLinear", "DequantizeLinear")


def _qlinear(node: onnx_ir.Node) -> Iterator[Violation]:
    if node.op_type in QLINEAR:
        yield _violation(Rule.NO_QLINEAR, node, "only Q/DQ pairs are supported")


def _zero_point(node: onnx_ir.Node) -> Iterator[Violation]:
    if not _is_qdq(node):
        return
    value = node.inputs[2] if len(node.inputs) > 2 else None
    if value is None:
        message = "the zero point is left out, which means uint8 to ONNX"
        yield _violation(Rule.EXPLICIT_ZERO_POINT, node, message)
        return
    integers = node.inputs[0] if node.op_type == "DequantizeLinear" else value
    if integers is not None and integers.dtype == onnx_ir.DataType.INT32:
        yield _violation(Rule.FLOAT_BIAS, node, "an int32 bias; biases stay in float")
    elif value.dtype != onnx_ir.DataType.INT8:
        kind = value.dtype.name.lower() if value.dtype else "unknown"
        yield _violation(Rule.INT8_ONLY, node, f"the integers are {kind}, not int8")
    if value.const_value is None:
        yield _violation(Rule.SYMMETRIC, node, "the zero point is not a constant")
    elif np.any(value.const_value.numpy()):
        yield _violation(Rule.SYMMETRIC, node, "the zero point is not 0")


def _scale(node: onnx_ir.Node) -> Iterator[Violation]:
    if not _is_qdq(node):
        return
    value = node.inputs[1]
    if value is None or value.const_value is None:
        yield _violation(Rule.CONSTANT_SCALE, node, "the scale is not a constant")
        return
    scale = value.const_value.numpy()
    if not np.all(np.isfinite(scale) & (scale > 0)):
        yield _violation(Rule.CONSTANT_SCALE, node, "the scale is not positive and finite")
    source = node.inputs[0]
    if scale.size > 1 and (source is None or not _is_constant(source)):
        message = f"an activation has {scale.size} scales; TensorRT takes one"
        yield _violation(Rule.PER_TENSOR_ACTIVATION, node, message)


def _is_constant(value: onnx_ir.Value) -> bool:
    """Whether a value is a constant, or a constant after QuantizeLinear."""
    producer = value.producer()
    if producer is not None and producer.op_type == "QuantizeLinear":
        source = producer.inputs[0]
        return source is not None and source.const_value is not None
    return value.const_value is not None


def _blocks(node: onnx_ir.Node) -> Iterator[Violation]:
    block = node.attributes.get("block_size") if _is_qdq(node) else None
    if block is not None and block.as_int() != 0:
        yield _violation(Rule.NO_BLOCKS, node, f"block size {block.as_int()} with int8")


def _operands(node: onnx_ir.Node) -> Iterator[Violation]:
    if node.op_type not in COMPUTE:
        return
    quantized = [is_dequantized(value) for value in node.inputs[:2]]
    if node.op_type == "ConvTranspose":
        if any(quantized):
            message = "TensorRT runs it in float; its operands must not be quantized"
            yield _violation(Rule.FLOAT_CONV_TRANSPOSE, node, message)
    elif any(quantized) and not all(quantized):
        which = "weight" if quantized[0] else "activation"
        yield _violation(Rule.BOTH_OPERANDS, node, f"the {which} is not quantized")
    elif all(quantized):
        yield from _weight_axis(node)


def weight_axis(node: onnx_ir.Node, rank: int) -> int | None:
    """The axis that a weight's scales must run along; None where only one scale is taken."""
    if node.op_type == "Conv":
        return 0
    if node.op_type == "Gemm":
        transposed = node.attributes.get("transB")
        return 0 if transposed is not None and transposed.as_int() else 1
    if node.op_type == "MatMul":
        return 1 if rank == 2 else None
    return None


def _weight_axis(node: onnx_ir.Node) -> Iterator[Violation]:
    value = node.inputs[1]
    producer = value.producer() if value is not None else None
    scale = producer.inputs[1] if producer is not None else None
    if producer is None or scale is None or scale.const_value is None or scale.const_value.size < 2:
        return
    stored = producer.inputs[0]
    rank = len(stored.shape) if stored is not None and stored.shape is not None else 0
    attribute = producer.attributes.get("axis")
    axis = attribute.as_int() if attribute is not None else 1
    axis = axis + rank if axis < 0 else axis
    wanted = weight_axis(node, rank)
    if axis != wanted:
        must = "must have one scale" if wanted is None else f"must have them along axis {wanted}"
        message = f"the weight has scales along axis {axis}, and {must}"
        yield _violation(Rule.WEIGHT_AXIS, node, message)


def _profile(graph: onnx_ir.Graph, profiled: Mapping[str, object]) -> Iterator[Violation]:
    for value in graph.inputs:
        dynamic = value.shape is None or any(not isinstance(d, int) for d in value.shape)
        if dynamic and value.name not in profiled:
            message = "its shape is dynamic and it has no optimization profile"
            yield Violation(Rule.PROFILE, value.name or "", "input", message)


_CHECKS: tuple[Callable[[onnx_ir.Node], Iterator[Violation]], ...] = (
    _qlinear,
    _zero_point,
    _scale,
    _blocks,
    _operands,
)
