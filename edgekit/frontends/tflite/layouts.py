"""Finds which inputs and outputs are images: 4-D tensors that spatial operators read or write."""

from __future__ import annotations

from collections.abc import Iterable

from edgekit.frontends.tflite.model import Operator, Subgraph

_SPATIAL = frozenset(
    {
        "AVERAGE_POOL_2D",
        "BATCH_TO_SPACE_ND",
        "CONV_2D",
        "Convolution2DTransposeBias",
        "DEPTHWISE_CONV_2D",
        "DEPTH_TO_SPACE",
        "L2_POOL_2D",
        "LOCAL_RESPONSE_NORMALIZATION",
        "MAX_POOL_2D",
        "RESIZE_BILINEAR",
        "RESIZE_NEAREST_NEIGHBOR",
        "SPACE_TO_BATCH_ND",
        "SPACE_TO_DEPTH",
        "TRANSPOSE_CONV",
    }
)
_SAME_LAYOUT = frozenset(
    {
        "ABS",
        "ADD",
        "CAST",
        "CONCATENATION",
        "DEQUANTIZE",
        "DIV",
        "ELU",
        "EXP",
        "GELU",
        "HARD_SWISH",
        "LEAKY_RELU",
        "LOGISTIC",
        "MAXIMUM",
        "MINIMUM",
        "MIRROR_PAD",
        "MUL",
        "NEG",
        "PAD",
        "PADV2",
        "POW",
        "PRELU",
        "QUANTIZE",
        "RELU",
        "RELU6",
        "RELU_0_TO_1",
        "RELU_N1_TO_1",
        "SOFTMAX",
        "SQUARE",
        "SUB",
        "TANH",
    }
)


def images(subgraph: Subgraph) -> frozenset[int]:
    """Indices of the inputs and outputs whose axes are batch, height, width and channels."""
    read = (i for i in subgraph.inputs if _reach(subgraph, i, backward=False))
    written = (i for i in subgraph.outputs if _reach(subgraph, i, backward=True))
    return frozenset((*read, *written))


def _reach(subgraph: Subgraph, start: int, backward: bool) -> bool:
    """Whether a spatial operator is met before anything that mixes the axes."""
    users: dict[int, list[Operator]] = {}
    for operator in subgraph.operators:
        for index in operator.outputs if backward else operator.inputs[:2]:
            users.setdefault(index, []).append(operator)
    pending, seen = [start], {start}
    while pending:
        index = pending.pop()
        if len(subgraph.tensors[index].shape) != 4:
            continue
        for operator in users.get(index, ()):
            if operator.kind in _SPATIAL:
                return True
            if operator.kind in _SAME_LAYOUT:
                fresh = set(_other_side(operator, backward)) - seen
                seen |= fresh
                pending.extend(fresh)
    return False


def _other_side(operator: Operator, backward: bool) -> Iterable[int]:
    indices = operator.inputs if backward else operator.outputs
    return (i for i in indices if i >= 0)
