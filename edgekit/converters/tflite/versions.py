"""Operator versions, as runtimes check them.

A runtime refuses an operator whose version is above the ones it registered, so each use gets the
lowest version that has what it needs. The facts are those of the schema's history, as TensorFlow
Lite's own versioning tool records them (`tensorflow/lite/tools/versioning`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from edgekit.converters.tflite.graph import Operator, Tensor

Condition = Callable[[Operator], bool]
"""Whether a use of an operator has some feature."""


@dataclass(frozen=True)
class Since:
    """A feature of an operator, and the version that brought it."""

    version: int
    needed: Condition


def operator_version(operator: Operator) -> int:
    """The lowest version of the operator that has what this use of it needs."""
    base = _BASE.get(operator.builtin, 1)
    features = _FEATURES.get(operator.builtin, ())
    return max([base, *(since.version for since in features if since.needed(operator))])


# Conditions ------------------------------------------------------------------------------------


def _operand(operator: Operator, index: int) -> Tensor | None:
    return operator.inputs[index] if index < len(operator.inputs) else None


def _reads(index: int, *dtypes: str) -> Condition:
    def needed(operator: Operator) -> bool:
        tensor = _operand(operator, index)
        return tensor is not None and tensor.dtype in dtypes

    return needed


def _any_reads_or_writes(*dtypes: str) -> Condition:
    def needed(operator: Operator) -> bool:
        tensors = [*operator.inputs, *operator.outputs]
        return any(tensor is not None and tensor.dtype in dtypes for tensor in tensors)

    return needed


def _writes(*dtypes: str) -> Condition:
    return lambda operator: operator.outputs[0].dtype in dtypes


def _all(*conditions: Condition) -> Condition:
    return lambda operator: all(condition(operator) for condition in conditions)


def _rank_above(limit: int) -> Condition:
    def needed(operator: Operator) -> bool:
        tensor = _operand(operator, 0)
        return tensor is not None and tensor.rank > limit

    return needed


def _broadcasts_above_rank_4(operator: Operator) -> bool:
    shapes = [tensor.shape for tensor in operator.inputs if tensor is not None]
    return len(set(shapes)) > 1 and max(len(shape) for shape in shapes) > 4


def _option(*names: str) -> Condition:
    """Some option of those names is set: not zero, not false."""
    return lambda operator: any(bool(getattr(operator.options, name, 0)) for name in names)


def _per_axis(operator: Operator) -> bool:
    tensors = [*operator.inputs, *operator.outputs]
    return any(
        t is not None and t.quantization is not None and t.quantization.per_axis for t in tensors
    )


def _dilated(operator: Operator) -> bool:
    factors = ("dilationWFactor", "dilationHFactor")
    return any(getattr(operator.options, name, 1) > 1 for name in factors)


def _grouped(operator: Operator) -> bool:
    data, weight = _operand(operator, 0), _operand(operator, 1)
    return data is not None and weight is not None and data.shape[-1] != weight.shape[-1]


def _no_bias(operator: Operator) -> bool:
    """The bias is left out of the operands, rather than marked as absent."""
    return len(operator.inputs) == 2


def _rescales_up(operator: Operator) -> bool:
    scales = [
        tensor.quantization.scale
        for tensor in (*operator.inputs[:2], operator.outputs[0])
        if tensor is not None and tensor.quantization is not None
    ]
    if len(scales) != 3 or any(scale.size != 1 for scale in scales):
        return False
    return bool(scales[0].item() * scales[1].item() >= scales[2].item())


def _plain_int16(operator: Operator) -> bool:
    """An int16 operand that is a number, not a quantized value."""
    tensor = _operand(operator, 0)
    return tensor is not None and tensor.dtype == "int16" and tensor.quantization is None


_INT8 = Since(2, _reads(0, "int8"))
_INT8_INT16 = (_INT8, Since(3, _reads(0, "int16")))
_HYBRID = _all(_reads(0, "float32"), _reads(1, "int8"))

_BASE = {"BROADCAST_TO": 2}
"""Operators whose first version was withdrawn."""

_FEATURES: dict[str, tuple[Since, ...]] = {
    "ABS": (
        Since(2, _reads(0, "int8", "uint8")),
        Since(3, _reads(0, "int16")),
        Since(4, _plain_int16),
        Since(5, _reads(0, "int32")),
    ),
    "ADD": (
        _INT8,
        Since(3, _reads(0, "int16")),
        Since(4, _reads(0, "int64")),
        Since(5, _plain_int16),
    ),
    "ARG_MAX": (_INT8, Since(3, _reads(0, "bool"))),
    "ARG_MIN": (_INT8, Since(3, _reads(0, "bool"))),
    "AVERAGE_POOL_2D": _INT8_INT16,
    "BATCH_MATMUL": _INT8_INT16,
    "BATCH_TO_SPACE_ND": (
        _INT8,
        Since(3, lambda op: op.inputs[0] is not None and op.inputs[0].rank != 4),
        Since(4, _reads(0, "int16")),
    ),
    "BROADCAST_TO": (Since(3, _reads(0, "int8", "int16")),),
    "CAST": (
        Since(2, _any_reads_or_writes("uint32")),
        Since(3, _any_reads_or_writes("int8")),
        Since(4, _any_reads_or_writes("uint16")),
        Since(5, _any_reads_or_writes("float16", "float64")),
    ),
    "CONCATENATION": (*_INT8_INT16, Since(4, _reads(0, "uint32"))),
    "CONV_2D": (
        Since(2, _HYBRID),
        Since(3, _all(_reads(0, "int8"), _reads(1, "int8"))),
        Since(4, _reads(0, "int16")),
        Since(5, _all(_HYBRID, _per_axis)),
        Since(6, _grouped),
        Since(8, _option("quantizedBiasType")),
    ),
    "DEPTHWISE_CONV_2D": (
        Since(2, _dilated),
        Since(3, _all(_reads(0, "int8"), _reads(1, "int8"))),
        Since(4, _HYBRID),
        Since(5, _reads(0, "int16")),
        Since(6, _all(_HYBRID, _per_axis)),
    ),
    "DEPTH_TO_SPACE": (_INT8,),
    "DEQUANTIZE": (
        _INT8,
        Since(3, _reads(0, "int16", "float16")),
        Since(5, _all(_reads(0, "int8"), _per_axis)),
    ),
    "DIV": (Since(2, _broadcasts_above_rank_4),),
    "EQUAL": (_INT8, Since(4, _reads(0, "int16"))),
    "EXP": (Since(2, _reads(0, "int8", "int16")),),
    "FILL": (
        Since(2, _reads(1, "bool")),
        Since(3, _reads(1, "int8", "int16")),
        Since(4, _reads(1, "float16")),
    ),
    "FLOOR_DIV": (Since(2, _reads(0, "float32")), Since(3, _reads(0, "int8", "int16"))),
    "FLOOR_MOD": (Since(2, _reads(0, "int8", "int16")),),
    "FULLY_CONNECTED": (
        Since(3, _HYBRID),
        Since(4, _all(_reads(0, "int8"), _reads(1, "int8"))),
        Since(5, _option("keepNumDims")),
        Since(6, _no_bias),
        Since(7, _reads(0, "int16")),
        Since(9, _all(_HYBRID, _option("asymmetricQuantizeInputs"))),
        Since(11, _option("quantizedBiasType")),
        Since(12, _all(_HYBRID, _per_axis)),
    ),
    "GATHER": (
        _INT8,
        Since(3, _reads(0, "bool")),
        Since(4, _reads(0, "int16")),
        Since(5, _option("batchDims")),
        Since(6, _reads(1, "int16")),
    ),
    "GATHER_ND": (
        Since(3, _reads(0, "int16")),
        Since(4, _reads(1, "int16")),
        Since(5, _reads(0, "bool")),
    ),
    "GELU": (Since(2, _reads(0, "int8", "uint8")),),
    "GREATER": (_INT8,),
    "GREATER_EQUAL": _INT8_INT16,
    "L2_NORMALIZATION": (Since(2, _writes("int8")),),
    "LEAKY_RELU": (Since(2, _reads(0, "int16")),),
    "LESS": _INT8_INT16,
    "LESS_EQUAL": (_INT8,),
    "LOG": (Since(2, _reads(0, "int8", "int16")),),
    "LOGISTIC": _INT8_INT16,
    "LOG_SOFTMAX": (_INT8,),
    "MAXIMUM": (_INT8, Since(3, _broadcasts_above_rank_4), Since(4, _reads(0, "int16"))),
    "MAX_POOL_2D": _INT8_INT16,
    "MEAN": _INT8_INT16,
    "MINIMUM": (_INT8, Since(3, _broadcasts_above_rank_4), Since(4, _reads(0, "int16"))),
    "MIRROR_PAD": _INT8_INT16,
    "MUL": (
        _INT8,
        Since(3, _all(_reads(0, "int8"), _rescales_up)),
        Since(4, _reads(0, "int16")),
        Since(5, _reads(0, "int64")),
        Since(7, _reads(0, "uint32")),
        Since(7, _plain_int16),
    ),
    "NOT_EQUAL": (_INT8,),
    "PACK": (*_INT8_INT16, Since(4, _reads(0, "uint32"))),
    "PAD": (*_INT8_INT16, Since(4, _rank_above(4))),
    "PADV2": (*_INT8_INT16, Since(4, _rank_above(4))),
    "QUANTIZE": (Since(2, _writes("int16")), Since(3, _per_axis)),
    "RANGE": (Since(2, _reads(0, "int64")),),
    "REDUCE_MAX": _INT8_INT16,
    "REDUCE_MIN": _INT8_INT16,
    "REDUCE_PROD": (Since(2, _reads(0, "int8", "int16")),),
    "RELU": (Since(2, _reads(0, "int8", "uint8")), Since(3, _reads(0, "int16"))),
    "RELU6": _INT8_INT16,
    "RESIZE_BILINEAR": (
        _INT8,
        Since(3, _option("halfPixelCenters")),
        Since(4, _reads(0, "int16")),
    ),
    "RESIZE_NEAREST_NEIGHBOR": (
        _INT8,
        Since(3, _option("halfPixelCenters", "alignCorners")),
        Since(4, _reads(0, "int16")),
    ),
    "REVERSE_V2": (Since(2, _reads(0, "bool")), Since(3, _reads(0, "int8"))),
    "RSQRT": _INT8_INT16,
    "SELECT": (Since(2, _reads(0, "int8")), Since(3, _rank_above(4))),
    "SELECT_V2": (Since(2, _reads(1, "uint32")),),
    "SIGN": (Since(2, _reads(0, "int32")),),
    "SLICE": (
        _INT8,
        Since(4, _reads(0, "int16")),
        Since(5, _rank_above(4)),
        Since(6, _reads(0, "uint32")),
    ),
    "SOFTMAX": _INT8_INT16,
    "SPACE_TO_BATCH_ND": (
        _INT8,
        Since(3, lambda op: op.inputs[0] is not None and op.inputs[0].rank != 4),
        Since(4, _reads(0, "int16")),
    ),
    "SPACE_TO_DEPTH": (_INT8,),
    "SPLIT": (
        Since(2, _reads(1, "int8")),
        Since(3, _reads(1, "int32")),
        Since(4, _reads(1, "int16")),
    ),
    "SPLIT_V": (_INT8,),
    "SQUARED_DIFFERENCE": (_INT8,),
    "STRIDED_SLICE": (
        _INT8,
        Since(3, _reads(0, "bool")),
        Since(4, _rank_above(4)),
        Since(6, _option("ellipsisMask", "newAxisMask")),
        Since(7, _reads(0, "uint32")),
        Since(8, _option("offset")),
    ),
    "SUB": (
        _INT8,
        Since(3, _broadcasts_above_rank_4),
        Since(4, _reads(0, "int64")),
        Since(5, _reads(0, "int16")),
    ),
    "SUM": (_INT8,),
    "TANH": _INT8_INT16,
    "TILE": (Since(3, _reads(0, "int8")),),
    "TOPK_V2": (_INT8, Since(3, _reads(0, "int16"))),
    "TRANSPOSE": (
        _INT8,
        Since(3, _reads(0, "bool")),
        Since(4, _rank_above(4)),
        Since(5, _reads(0, "int16")),
        Since(6, _rank_above(5)),
    ),
    "TRANSPOSE_CONV": (
        Since(2, _reads(1, "int8")),
        Since(3, _reads(3, "float32", "int32", "int64")),
        Since(4, _option("fusedActivationFunction")),
        Since(5, _option("quantizedBiasType")),
    ),
    "UNIDIRECTIONAL_SEQUENCE_LSTM": (Since(2, _all(_reads(0, "float32"), _reads(2, "int8"))),),
    "UNPACK": (
        Since(2, _reads(0, "int8", "uint8")),
        Since(3, _reads(0, "bool")),
        Since(4, _reads(0, "int16")),
    ),
    "WHERE": (Since(2, _reads(0, "float32", "int32", "int64", "int8", "uint8", "uint32")),),
}
"""What raises the version of an operator above 1."""
