"""What TFLite runs in INT8: its 8-bit quantization specification and LiteRT's kernels.

Activations are int8, asymmetric, per tensor; weights int8 in [-127, 127]; biases int32. An
integer kernel has integer results, so every tensor between two integer nodes is quantized.
"""

from __future__ import annotations

from edgekit.passes.quantize.conditions import (
    CONV,
    GEMM,
    INT32_BIAS,
    attribute_is,
    attribute_within,
    rank_in,
    softmax_last_axis,
    text_attribute_in,
    when,
)
from edgekit.passes.quantize.rules import (
    Activation,
    Axis,
    BiasRule,
    Fixed,
    Fusion,
    LegalOps,
    OpRule,
    QType,
    WeightRule,
)
from edgekit.vocabulary import Target

_UNIT = Fixed(1 / 256, -128)
"""Results in [0, 1)."""

_CLOSED_UNIT = Fixed(1 / 255, -128)
"""Results in [0, 1]."""

_SIGNED_UNIT = Fixed(1 / 128, 0)
"""Results in [-1, 1)."""

_COMPUTE = (
    OpRule(("Conv",), (0,), WeightRule(1, Axis(0)), BiasRule(), conditions=CONV),
    OpRule(
        ("ConvTranspose",),
        (0,),
        WeightRule(1, Axis(1), ungrouped=True),
        BiasRule(),
        conditions=(*CONV, attribute_is("group", 1, 1)),
    ),
    OpRule(
        ("Gemm",),
        (0, 1),
        WeightRule(1, Axis(1, "transB", 0)),
        BiasRule(),
        # A product of two activations is a BATCH_MATMUL, which takes no bias.
        conditions=(*GEMM[1:], INT32_BIAS),
    ),
    OpRule(("MatMul",), (0, 1), WeightRule(1, Axis(-1), rank=2)),
)

_ARITHMETIC = (
    OpRule(("Add", "Sub", "Mul")),
    OpRule(("Max", "Min"), same_scale=True),
    OpRule(("Abs", "Neg")),
    # MEAN and SUM rescale; GlobalAveragePool is a MEAN over the spatial axes.
    OpRule(("GlobalAveragePool", "ReduceMean", "ReduceSum"), (0,)),
)

_ACTIVATIONS = (
    OpRule(("Elu", "Gelu", "HardSwish", "LeakyRelu", "Relu")),
    OpRule(("PRelu",), (0, 1)),
    OpRule(("Clip",), (0,), same_scale=True),
    OpRule(("Sigmoid",), output=_UNIT),
    OpRule(
        ("HardSigmoid",),
        output=_CLOSED_UNIT,
        conditions=(
            attribute_within("alpha", 0.001, 10, 0.2),
            attribute_within("beta", -10, 10, 0.5),
        ),
    ),
    OpRule(("Tanh",), output=_SIGNED_UNIT),
    OpRule(("LpNormalization",), output=_SIGNED_UNIT, conditions=(attribute_is("p", 2, 2),)),
    OpRule(
        ("Softmax",),
        output=_UNIT,
        conditions=(when(softmax_last_axis, "it does not run over the last axis"),),
    ),
    OpRule(
        ("LogSoftmax",),
        output=Fixed(16 / 256, 127),
        conditions=(when(softmax_last_axis, "it does not run over the last axis"),),
    ),
)

_SAME_SCALE = (
    OpRule(
        ("AveragePool", "MaxPool"), same_scale=True, passive=True, conditions=(rank_in(0, 3, 4),)
    ),
    OpRule(("GlobalMaxPool", "ReduceMax", "ReduceMin"), (0,), same_scale=True, passive=True),
    OpRule(
        ("Flatten", "Reshape", "Squeeze", "Transpose", "Unsqueeze", "DepthToSpace", "SpaceToDepth"),
        (0,),
        same_scale=True,
        passive=True,
    ),
    OpRule(("Expand", "Slice", "Split", "Tile"), (0,), same_scale=True, passive=True),
    OpRule(("Gather", "GatherND"), (0,), same_scale=True, passive=True),
    OpRule(("Concat",), same_scale=True, passive=True),
    OpRule(("Where",), (1, 2), same_scale=True, passive=True),
    OpRule(("ArgMax", "ArgMin", "TopK"), (0,), same_scale=True, passive=True),
    OpRule(
        ("Pad",),
        (0,),
        same_scale=True,
        passive=True,
        conditions=(text_attribute_in("mode", ("constant", "reflect"), "constant"),),
    ),
    OpRule(
        ("Resize",),
        (0,),
        same_scale=True,
        passive=True,
        conditions=(text_attribute_in("mode", ("nearest", "linear"), "nearest"),),
    ),
)

_FUSED = (
    Activation("Relu"),
    Activation("Clip", bounds=((0.0, 6.0), (-1.0, 1.0), (0.0, 1.0))),
)

_BY_TABLE = "TFLite computes it in float"
_STEEP = "its operand or result spans more orders of magnitude than 8 bits hold"
_RECURRENT = "integer recurrent layers need ranges of tensors inside the cell"

LEGAL = LegalOps(
    target=Target.TFLITE,
    activation=QType("int8", symmetric=False),
    rules=(*_COMPUTE, *_ARITHMETIC, *_ACTIVATIONS, *_SAME_SCALE),
    closed=True,
    fusions=(
        Fusion(frozenset({"Conv", "Gemm", "MatMul", "Add", "Sub", "Mul"}), _FUSED),
        Fusion(frozenset({"AveragePool", "MaxPool"}), _FUSED),
    ),
    float_reasons={
        **dict.fromkeys(("LSTM", "GRU", "RNN"), _RECURRENT),
        **dict.fromkeys(("LayerNormalization", "InstanceNormalization"), _BY_TABLE),
        **dict.fromkeys(("Exp", "Log", "Sqrt", "Reciprocal", "Pow"), _STEEP),
        **dict.fromkeys(("GroupNormalization", "BatchNormalization"), _BY_TABLE),
    },
)
"""The table."""
