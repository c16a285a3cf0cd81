"""What TensorRT runs in INT8 in a strongly typed network.

Activations are int8, symmetric, per tensor, zero point 0; both operands of a compute op are
quantized; biases stay float; ConvTranspose stays float. A sum is fused into the convolution before
it when its other operand is quantized, which keeps a residual network in integers.
"""

from __future__ import annotations

from edgekit.passes.quantize.conditions import CONV, GEMM, constant_operand
from edgekit.passes.quantize.rules import (
    Activation,
    Axis,
    BiasKind,
    BiasRule,
    Fusion,
    LegalOps,
    OpRule,
    QType,
    WeightRule,
)
from edgekit.vocabulary import Target

_BIAS = BiasRule(kind=BiasKind.FLOAT)

LEGAL = LegalOps(
    target=Target.TENSORRT,
    activation=QType("int8", symmetric=True),
    rules=(
        OpRule(("Conv",), (0,), WeightRule(1, Axis(0)), _BIAS, conditions=CONV),
        OpRule(("Gemm",), (0,), WeightRule(1, Axis(1, "transB", 0)), _BIAS, conditions=GEMM),
        OpRule(
            ("MatMul",),
            (0,),
            WeightRule(1, Axis(-1), rank=2),
            conditions=(constant_operand(1, "weight"),),
        ),
        OpRule(("MaxPool",), (0,), same_scale=True, passive=True),
    ),
    closed=False,
    fusions=(
        Fusion(
            frozenset({"Conv", "Gemm", "MatMul", "Add"}),
            (Activation("Relu"), Activation("Clip")),
        ),
    ),
    residual=frozenset({"Conv"}),
    float_reasons={
        "ConvTranspose": "TensorRT keeps ConvTranspose in float",
        "Add": "only a sum that follows a convolution is fused into INT8",
    },
)
"""The table."""
