"""Finds which inputs and outputs are images: 4-D tensors that spatial operators read or write."""

from __future__ import annotations

from collections.abc import Callable

from edgekit.frontends.tflite.model import Operator, Subgraph

_DATA_INPUTS = 4
"""How many leading inputs of an operator may hold the data (weights and sizes come among them)."""

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
    readers: dict[int, list[Operator]] = {}
    writers: dict[int, list[Operator]] = {}
    for operator in subgraph.operators:
        for index in operator.inputs[:_DATA_INPUTS]:
            readers.setdefault(index, []).append(operator)
        for index in operator.outputs:
            writers.setdefault(index, []).append(operator)
    read = (i for i in subgraph.inputs if _reaches(subgraph, i, readers, _results))
    written = (i for i in subgraph.outputs if _reaches(subgraph, i, writers, _operands))
    return frozenset((*read, *written))


def _results(operator: Operator) -> tuple[int, ...]:
    return operator.outputs


def _operands(operator: Operator) -> tuple[int, ...]:
    return operator.inputs


def _reaches(
    subgraph: Subgraph,
    start: int,
    neighbours: dict[int, list[Operator]],
    beyond: Callable[[Operator], tuple[int, ...]],
) -> bool:
    """Whether a spatial operator is met before anything that mixes the axes."""
    pending, seen = [start], {start}
    while pending:
        index = pending.pop()
        if index < 0 or len(subgraph.tensors[index].shape) != 4:
            continue
        for operator in neighbours.get(index, ()):
            if operator.kind in _SPATIAL:
                return True
            if operator.kind in _SAME_LAYOUT:
                fresh = set(beyond(operator)) - seen
                seen |= fresh
                pending.extend(fresh)
    return False
