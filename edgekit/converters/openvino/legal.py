"""What OpenVINO's CPU plugin runs in INT8, after NNCF's scheme for CPUs.

Only the inputs of compute ops are quantized; the plugin fuses what follows them and carries
integers through ops that only move values. Activations are uint8, asymmetric. On x86 without VNNI
the kernels add pairs of products in 16 bits, which overflow when weights use all 8 bits: the
portable policy keeps them within 7. Biases stay float.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgekit.passes.quantize.conditions import (
    CONV,
    GEMM,
    both_computed,
    constant_operand,
    operand,
    rank_of,
    text_attribute_in,
    when,
)
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
from edgekit.vocabulary import CpuPolicy, Target

if TYPE_CHECKING:
    import onnx_ir

_BIAS = BiasRule(kind=BiasKind.FLOAT)


def _no_vectors(node: onnx_ir.Node) -> bool:
    """Whether both operands of a product are known to have at least two axes."""
    return all((rank_of(operand(node, index)) or 0) >= 2 for index in (0, 1))


_RULES = (
    OpRule(("Conv",), (0,), WeightRule(1, Axis(0)), _BIAS, conditions=CONV),
    OpRule(
        ("ConvTranspose",),
        (0,),
        WeightRule(1, Axis(1), ungrouped=True),
        _BIAS,
        conditions=CONV,
    ),
    OpRule(("Gemm",), (0, 1), WeightRule(1, Axis(1, "transB", 0)), _BIAS, conditions=GEMM[1:]),
    OpRule(
        ("MatMul",),
        (0, 1),
        WeightRule(1, Axis(-1), rank=2),
        # Quantized products of vectors get an axis too many.
        conditions=(when(_no_vectors, "OpenVINO quantizes no product of a vector with one axis"),),
    ),
    OpRule(
        ("Add",),
        (0, 1),
        conditions=(when(both_computed, "adding a constant gains nothing from INT8"),),
    ),
    OpRule(("AveragePool", "GlobalAveragePool"), (0,)),
    OpRule(
        ("ReduceMean",),
        (0,),
        conditions=(constant_operand(1, "list of axes"),),
    ),
    OpRule(("MaxPool", "DepthToSpace", "SpaceToDepth"), (0,), same_scale=True, passive=True),
    OpRule(
        (
            "Flatten",
            "Gather",
            "Pad",
            "Reshape",
            "Slice",
            "Split",
            "Squeeze",
            "Transpose",
            "Unsqueeze",
        ),
        (0,),
        same_scale=True,
        passive=True,
    ),
    OpRule(("Concat",), same_scale=True, passive=True),
    OpRule(
        ("Resize",),
        (0,),
        same_scale=True,
        passive=True,
        conditions=(text_attribute_in("mode", ("nearest",), "nearest"),),
    ),
)

LEGAL = LegalOps(
    target=Target.OPENVINO,
    activation=QType("uint8", symmetric=False),
    rules=_RULES,
    closed=False,
    fusions=(
        Fusion(
            frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul", "Add"}),
            (Activation("Relu"), Activation("Clip"), Activation("LeakyRelu")),
        ),
    ),
    weight_bits={CpuPolicy.PORTABLE: 7, CpuPolicy.VNNI: 8},
)
"""The table."""
