"""What TensorRT's ONNX parser takes, as data, for machines without TensorRT.

Sources: `IParser::supportsOperator` and trial models, TensorRT-RTX 1.7.1 (the parser is the one of
TensorRT 10 and 11).
"""

from __future__ import annotations

from collections.abc import Iterator

import onnx_ir

from edgekit.errors import Reason

UNSUPPORTED: frozenset[str] = frozenset(
    [
        "AffineGrid",
        "Bernoulli",
        "BitCast",
        "BitShift",
        "BitwiseAnd",
        "BitwiseNot",
        "BitwiseOr",
        "BitwiseXor",
        "CenterCropPad",
        "Col2Im",
        "Compress",
        "ConcatFromSequence",
        "CumProd",
        "DFT",
        "DeformConv",
        "Det",
        "ImageDecoder",
        "MaxRoiPool",
        "MaxUnpool",
        "MelWeightMatrix",
        "Multinomial",
        "NegativeLogLikelihoodLoss",
        "Optional",
        "OptionalGetElement",
        "OptionalHasElement",
        "RegexFullMatch",
        "SequenceAt",
        "SequenceConstruct",
        "SequenceEmpty",
        "SequenceErase",
        "SequenceInsert",
        "SequenceLength",
        "SequenceMap",
        "SoftmaxCrossEntropyLoss",
        "SplitToSequence",
        "StringConcat",
        "StringNormalizer",
        "StringSplit",
        "TfIdfVectorizer",
        "Unique",
    ]
)
"""Operators of ONNX that the parser has no import for."""

QLINEAR: frozenset[str] = frozenset(
    {"QLinearConv", "QLinearMatMul", "ConvInteger", "MatMulInteger", "DynamicQuantizeLinear"}
)
"""Integer operators of ONNX, which the parser refuses; it wants Q/DQ pairs."""

TYPES: frozenset[onnx_ir.DataType] = frozenset(
    getattr(onnx_ir.DataType, name)
    for name in [
        "FLOAT",
        "FLOAT16",
        "BFLOAT16",
        "INT8",
        "UINT8",
        "INT32",
        "INT64",
        "BOOL",
        "INT4",
        "FLOAT8E4M3FN",
    ]
)
"""Element types of tensors that TensorRT has."""

_HINT = "rewrite it with other ONNX operators, or leave tensorrt out of the targets"


def unsupported(graph: onnx_ir.Graph) -> Iterator[Reason]:
    """Yield a reason for each node that the parser would refuse."""
    for node in graph:
        if why := _why(node):
            yield Reason(node.name or "", node.op_type, why, _HINT)


def _why(node: onnx_ir.Node) -> str:
    if node.domain not in ("", "ai.onnx"):
        return f"an operator of the domain '{node.domain}', for which TensorRT needs a plugin"
    if node.op_type in UNSUPPORTED:
        return "TensorRT has no such operator"
    if node.op_type in QLINEAR:
        return "TensorRT takes quantization only as Q/DQ pairs"
    for value in (*node.inputs, *node.outputs):
        if value is not None and value.dtype is not None and value.dtype not in TYPES:
            return f"tensor '{value.name}' is {value.dtype.name.lower()}, which TensorRT has not"
    return ""
