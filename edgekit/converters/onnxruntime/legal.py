"""What ONNX Runtime's CPU provider runs in INT8 when it finds Q/DQ pairs around a node.

Its integer kernels take a node with DequantizeLinear on every operand and QuantizeLinear on the
result, so the tensors between two of them are quantized. Its x86 kernels without VNNI add pairs of
products in 16 bits, which overflow when weights use all 8 bits; with 7 they cannot.
"""

from __future__ import annotations

from edgekit.passes.quantize.conditions import (
    CONV,
    GEMM,
    INT32_BIAS,
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
from edgekit.vocabulary import CpuPolicy, Target

_COMPUTE = (
    OpRule(("Conv",), (0,), WeightRule(1, Axis(0)), BiasRule(), conditions=CONV),
    OpRule(
        ("Gemm",),
        (0, 1),
        WeightRule(1, Axis(1, "transB", 0)),
        BiasRule(),
        conditions=(*GEMM[1:], INT32_BIAS),
    ),
    OpRule(("MatMul",), (0, 1), WeightRule(1, Axis(-1), rank=2)),
)

_ELEMENTWISE = (
    OpRule(("Add", "Mul", "GlobalAveragePool", "AveragePool", "LeakyRelu")),
    OpRule(("Relu",)),
    OpRule(("Clip",), (0,)),
    OpRule(("Sigmoid",), output=Fixed(1 / 256, 0)),
    OpRule(
        ("Softmax",),
        output=Fixed(1 / 256, 0),
        conditions=(when(softmax_last_axis, "it does not run over the last axis"),),
    ),
)

_SAME_SCALE = (
    OpRule(("MaxPool",), (0,), same_scale=True, passive=True),
    OpRule(
        ("Flatten", "Reshape", "Squeeze", "Transpose", "Unsqueeze", "DepthToSpace", "SpaceToDepth"),
        (0,),
        same_scale=True,
        passive=True,
    ),
    OpRule(
        ("Expand", "Gather", "Pad", "Slice", "Split", "Tile"), (0,), same_scale=True, passive=True
    ),
    OpRule(
        ("Resize",),
        (0,),
        same_scale=True,
        passive=True,
        conditions=(text_attribute_in("mode", ("nearest",), "nearest"),),
    ),
    OpRule(("Concat",), passive=True),  # QLinearConcat rescales each of its operands
)

LEGAL = LegalOps(
    target=Target.ONNXRUNTIME,
    activation=QType("uint8", symmetric=False),
    rules=(*_COMPUTE, *_ELEMENTWISE, *_SAME_SCALE),
    closed=True,
    fusions=(
        Fusion(
            frozenset({"Conv", "Gemm", "MatMul", "Add", "Mul"}),
            (Activation("Relu"), Activation("Clip")),
        ),
    ),
    float_reasons={
        "ConvTranspose": "ONNX Runtime has no integer ConvTranspose on CPUs",
    },
    weight_bits={CpuPolicy.PORTABLE: 7, CpuPolicy.VNNI: 8},
)
"""The table."""
