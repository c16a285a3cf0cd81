"""Which operator follows which rule when axes are permuted."""

from __future__ import annotations

from collections.abc import Sequence

import onnx_ir

from edgekit.passes.canonicalize._axis_rules import (
    Affine,
    Axis,
    Broadcast,
    ConstantAxes,
    Gather,
    KeepLast,
    PerAxisOperand,
    RankChange,
    Rule,
    SameRank,
    axes_operand,
    axis_attribute,
    set_axes_operand,
    set_axis_attribute,
)


def _first(node: onnx_ir.Node) -> Sequence[int]:
    return (0,)


def _all(node: onnx_ir.Node) -> Sequence[int]:
    return range(len(node.inputs))


_UNARY = SameRank(_first)
_BROADCAST = Broadcast()
_REDUCTION = RankChange(axes_operand, set_axes_operand)

RULES: dict[str, Rule] = {
    # Element by element.
    **dict.fromkeys(["Abs", "Acos", "Acosh", "Asin", "Asinh", "Atan", "Atanh", "Cast"], _UNARY),
    **dict.fromkeys(["Ceil", "Celu", "Clip", "Cos", "Cosh", "Elu", "Erf", "Exp"], _UNARY),
    **dict.fromkeys(["Floor", "Gelu", "HardSigmoid", "HardSwish", "Identity", "IsInf"], _UNARY),
    **dict.fromkeys(["IsNaN", "LeakyRelu", "Log", "Mish", "Neg", "Not", "Reciprocal"], _UNARY),
    **dict.fromkeys(["Relu", "Round", "Selu", "Shrink", "Sigmoid", "Sign", "Sin"], _UNARY),
    **dict.fromkeys(["Sinh", "Softplus", "Softsign", "Sqrt", "Swish", "Tan", "Tanh"], _UNARY),
    "ThresholdedRelu": _UNARY,
    **dict.fromkeys(["Add", "And", "BitShift", "BitwiseAnd", "BitwiseOr"], _BROADCAST),
    **dict.fromkeys(["BitwiseXor", "Div", "Equal", "Greater", "GreaterOrEqual"], _BROADCAST),
    **dict.fromkeys(["Less", "LessOrEqual", "Max", "Mean", "Min", "Mod", "Mul"], _BROADCAST),
    **dict.fromkeys(["Or", "PRelu", "Pow", "Sub", "Sum", "Where", "Xor"], _BROADCAST),
    **dict.fromkeys(["DequantizeLinear", "QuantizeLinear"], Affine()),
    # Along one axis.
    **dict.fromkeys(["Hardmax", "LogSoftmax", "LpNormalization"], Axis(-1, _first)),
    **dict.fromkeys(["Softmax", "TopK"], Axis(-1, _first)),
    **dict.fromkeys(["Concat", "GatherElements", "ScatterElements"], Axis(0, _all)),
    "Split": Axis(0, _first),
    "CumSum": ConstantAxes(1),
    "Slice": ConstantAxes(3),
    # A constant with an entry for each axis.
    **dict.fromkeys(["Expand", "Pad", "Tile"], PerAxisOperand(1)),
    # On the last axis only.
    **dict.fromkeys(["LayerNormalization", "MatMul"], KeepLast()),
    # Fewer or more axes.
    **dict.fromkeys(["ReduceL1", "ReduceL2", "ReduceLogSum", "ReduceLogSumExp"], _REDUCTION),
    **dict.fromkeys(["ReduceMax", "ReduceMean", "ReduceMin", "ReduceProd"], _REDUCTION),
    **dict.fromkeys(["ReduceSum", "ReduceSumSquare", "Squeeze"], _REDUCTION),
    **dict.fromkeys(["ArgMax", "ArgMin"], RankChange(axis_attribute, set_axis_attribute)),
    "Gather": Gather(),
    "Unsqueeze": RankChange(axes_operand, set_axes_operand, adds=True),
}
"""ONNX operator type → its rule. Reshape has one of its own."""

LAST_AXIS_RULES: dict[str, Rule] = dict.fromkeys(
    ["LogSoftmax", "LpNormalization", "Softmax"], KeepLast()
)
"""Channels-last operator type → its rule, where the operator works on the last axis only."""
