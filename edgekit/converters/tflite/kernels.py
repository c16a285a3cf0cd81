"""What TFLite's int8 kernels demand of the operators that have one, as found by running them.

Each entry was checked on LiteRT 2.3 with XNNPACK, the optimized and the reference kernels, against
exact arithmetic. Operators without an int8 kernel (POW, SQUARE, SIN, COS, FLOOR, CEIL, ROUND,
SIGN, CUMSUM) are not here. REDUCE_PROD has one, but its products leave the range of its scale.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

import onnx_ir

from edgekit.converters.tflite.encodings import Encoding, plain
from edgekit.converters.tflite.lowering import (
    constant_of,
    float_attribute,
    int_attribute,
    operand,
)


class Sides(str, Enum):
    """How the encodings of an operator's inputs and outputs are tied."""

    FREE = "free"
    """Not at all: the kernel rescales."""

    FOLLOW = "follow"
    """The output has the first input's; another one is reached by requantizing the output."""

    AGREE = "agree"
    """All inputs have the output's; others are requantized before. Exact for operators that
    select values or keep their order."""


@dataclass(frozen=True)
class Weight:
    """The constant weights of an operator: symmetric int8.

    Attributes:
        operand: its index.
        axis: the output channels, along which there may be several scales; negative from the end.
        transposed: attribute that moves them to `transposed_axis` where it is not zero.
        transposed_axis: see there.
        bias: operand index of the bias, which is int32 with scale input × weight.
        optional: whether the operand may be an activation instead.
    """

    operand: int = 1
    axis: int = 0
    transposed: str = ""
    transposed_axis: int = 0
    bias: int | None = 2
    optional: bool = False


def _always(node: onnx_ir.Node) -> str:
    del node
    return ""


def _any_operand(node: onnx_ir.Node, given: Encoding) -> str:
    del node, given
    return ""


def _never(node: onnx_ir.Node) -> bool:
    del node
    return False


@dataclass(frozen=True)
class Kernel:
    """What an int8 kernel demands.

    Attributes:
        sides: how encodings are tied.
        output: the only encoding of the output, where the kernel has one.
        weight: its constant weights.
        unquantized: indices of float operands that the lowering reads as plain constants.
        exact: whether it selects among the values of its operands, so that where these share one
            encoding it means the same before quantization and after.
        moves: whether it does so with one operand only, and no more results than values.
        check: why a node does not suit the kernel; empty if it does.
        check_operand: the same, given how the first operand is quantized.
        rescales: whether a node that would follow its input takes any output encoding after all.
    """

    sides: Sides = Sides.FREE
    output: Encoding | None = None
    weight: Weight | None = None
    unquantized: tuple[int, ...] = ()
    exact: bool = False
    moves: bool = False
    check: Callable[[onnx_ir.Node], str] = _always
    check_operand: Callable[[onnx_ir.Node, Encoding], str] = _any_operand
    rescales: Callable[[onnx_ir.Node], bool] = _never


def _plain_gemm(node: onnx_ir.Node) -> str:
    if float_attribute(node, "alpha", 1.0) != 1.0 or float_attribute(node, "beta", 1.0) != 1.0:
        return "alpha or beta is not 1"
    return "transA is set" if int_attribute(node, "transA", 0) else ""


def _ungrouped(node: onnx_ir.Node) -> str:
    return "it has groups" if int_attribute(node, "group", 1) != 1 else ""


def _plain_elu(node: onnx_ir.Node) -> str:
    return "" if float_attribute(node, "alpha", 1.0) == 1.0 else "alpha is not 1"


def _euclidean(node: onnx_ir.Node) -> str:
    return "" if int_attribute(node, "p", 2) == 2 else "its norm is not the Euclidean one"


def _clips_like_a_kernel(node: onnx_ir.Node) -> bool:
    """Whether the bounds are those of an activation of TFLite, whose kernels rescale."""
    low, high = (constant_of(operand(node, index)) for index in (1, 2))
    if low is None or low.size != 1 or (high is not None and high.size != 1):
        return False
    top = float("inf") if high is None else float(high.reshape(()))
    return (float(low.reshape(())), top) in _ACTIVATION_RANGES


def _moderate_line(node: onnx_ir.Node) -> str:
    slope, middle = float_attribute(node, "alpha", 0.2), float_attribute(node, "beta", 0.5)
    if 0.001 <= slope <= 10 and abs(middle) <= 10:
        return ""
    return "alpha is not within 0.001 and 10, or beta not within -10 and 10"


def _step_below_half_the_slope(node: onnx_ir.Node, given: Encoding) -> str:
    """Beyond that, the kernel of the sum overflows."""
    if given.scale * float_attribute(node, "alpha", 0.2) <= 0.5:
        return ""
    return "one step of its operand is more than half of its slope"


_ACTIVATION_RANGES = ((0.0, 6.0), (-1.0, 1.0), (0.0, 1.0), (0.0, float("inf")))

_FREE = Kernel()
_MOVE = Kernel(Sides.FOLLOW, exact=True, moves=True)
_SELECT = Kernel(Sides.FOLLOW, exact=True)
_JOIN = Kernel(Sides.AGREE, exact=True)
_CONV = Kernel(weight=Weight())

KERNELS: dict[str, Kernel] = {
    # Products.
    "Conv": _CONV,
    "ConvTranspose": Kernel(weight=Weight(axis=1), check=_ungrouped),
    "Gemm": Kernel(
        weight=Weight(axis=1, transposed="transB", transposed_axis=0, optional=True),
        check=_plain_gemm,
    ),
    "MatMul": Kernel(weight=Weight(axis=-1, bias=None, optional=True)),
    # Element by element; the kernels rescale, most of them through a table.
    **dict.fromkeys(["Abs", "Add", "Exp", "Gelu", "HardSwish", "LeakyRelu"], _FREE),
    "Elu": Kernel(check=_plain_elu),
    **dict.fromkeys(["Log", "Mul", "Neg", "PRelu", "Relu", "Sqrt", "Sub", "Tanh"], _FREE),
    "Clip": Kernel(Sides.FOLLOW, unquantized=(1, 2), rescales=_clips_like_a_kernel),
    "Max": _JOIN,
    "Min": _JOIN,
    "Where": _JOIN,
    # Outputs of a fixed encoding.
    "Sigmoid": Kernel(output=plain(1 / 256, -128)),
    # Its steps are those of the sum that it is made of.
    "HardSigmoid": Kernel(
        output=plain(1 / 255, -128),
        check=_moderate_line,
        check_operand=_step_below_half_the_slope,
    ),
    "Softmax": Kernel(output=plain(1 / 256, -128)),
    "LogSoftmax": Kernel(output=plain(16 / 256, 127)),
    "LpNormalization": Kernel(output=plain(1 / 128, 0), check=_euclidean),
    # Reductions and windows.
    "ReduceMean": _FREE,
    "ReduceSum": _FREE,
    "GlobalAveragePool": _FREE,
    "ReduceMax": _SELECT,
    "ReduceMin": _SELECT,
    "GlobalMaxPool": _SELECT,
    "MaxPool": _SELECT,
    "AveragePool": Kernel(Sides.FOLLOW),
    "Resize": Kernel(Sides.FOLLOW, unquantized=(1, 2)),
    "TopK": _SELECT,
    "ArgMax": _FREE,
    "ArgMin": _FREE,
    # Comparisons rescale both sides.
    **dict.fromkeys(["Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual"], _FREE),
    # Moving values.
    "Concat": _JOIN,
    "Pad": Kernel(Sides.FOLLOW, unquantized=(2,)),
    **dict.fromkeys(["DepthToSpace", "Expand", "Flatten", "Gather", "GatherND", "Identity"], _MOVE),
    **dict.fromkeys(["Reshape", "Slice", "SpaceToDepth", "Split", "Squeeze", "Tile"], _MOVE),
    **dict.fromkeys(["Transpose", "Unsqueeze"], _MOVE),
}
"""ONNX operator type → what the int8 kernel of its lowering demands."""

WHY_NOT: dict[str, str] = {
    "Div": "LiteRT's int8 division saturates where a quotient is much below the output's step",
    **dict.fromkeys(["LSTM", "GRU", "RNN"], "recurrent operators run in float here"),
}
"""Why an operator has no entry, where there is more to say than that."""
