"""Recognises a dilated convolution that was written as three operators.

Older converters write `SPACE_TO_BATCH_ND → CONV_2D (VALID, stride 1) → BATCH_TO_SPACE_ND` for a
convolution with dilation. Read back as one convolution it is an order of magnitude cheaper:

```
x → SPACE_TO_BATCH_ND(blocks b, pads p) → conv → BATCH_TO_SPACE_ND(blocks b, crops c) → y
x → conv(dilations b, pads p - c) → y
```
"""

from __future__ import annotations

from collections import Counter
from copy import copy
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from edgekit.frontends.tflite.model import Operator, Subgraph
from edgekit.frontends.tflite.ops.window import VALID

if TYPE_CHECKING:
    from numpy.typing import NDArray

_CONVOLUTIONS = ("CONV_2D", "DEPTHWISE_CONV_2D")


def join_dilated_convolutions(subgraph: Subgraph) -> Subgraph:
    """The subgraph with each such triple replaced by one convolution with explicit pads."""
    uses = Counter(i for o in subgraph.operators for i in o.inputs)
    uses.update(subgraph.outputs)
    makers = {i: o for o in subgraph.operators for i in o.outputs}
    joined: dict[int, Operator] = {}
    dropped: set[int] = set()
    for last in subgraph.operators:
        triple = _triple(last, makers, uses)
        single = None if triple is None else _single(subgraph, *triple)
        if triple is not None and single is not None:
            joined[last.index] = single
            dropped.update(o.index for o in triple[:2])
    operators = tuple(joined.get(o.index, o) for o in subgraph.operators if o.index not in dropped)
    return replace(subgraph, operators=operators)


def _triple(
    last: Operator, makers: dict[int, Operator], uses: Counter[int]
) -> tuple[Operator, Operator, Operator] | None:
    if last.builtin != "BATCH_TO_SPACE_ND" or not last.inputs:
        return None
    conv = makers.get(last.inputs[0])
    if conv is None or conv.builtin not in _CONVOLUTIONS or not conv.inputs:
        return None
    first = makers.get(conv.inputs[0])
    if first is None or first.builtin != "SPACE_TO_BATCH_ND":
        return None
    single_use = uses[conv.outputs[0]] == 1 and uses[first.outputs[0]] == 1
    return (first, conv, last) if single_use else None


def _single(subgraph: Subgraph, first: Operator, conv: Operator, last: Operator) -> Operator | None:
    blocks, pads = _constants(subgraph, first)
    blocks_back, crops = _constants(subgraph, last)
    if blocks is None or pads is None or blocks_back is None or crops is None:
        return None
    same = blocks.tolist() == blocks_back.tolist() and len(blocks) == 2
    options = conv.options
    if not same or options is None or options.padding != VALID:
        return None
    if (options.strideH, options.strideW) != (1, 1):
        return None
    if (options.dilationHFactor, options.dilationWFactor) != (1, 1):
        return None
    rest = (pads - crops).tolist()
    if min(min(row) for row in rest) < 0:
        return None
    dilated = copy(options)
    dilated.dilationHFactor, dilated.dilationWFactor = (int(b) for b in blocks)
    return replace(
        conv,
        inputs=(first.inputs[0], *conv.inputs[1:]),
        outputs=last.outputs,
        options=dilated,
        pads=(rest[0][0], rest[1][0], rest[0][1], rest[1][1]),
    )


def _constants(
    subgraph: Subgraph, operator: Operator
) -> tuple[NDArray[Any] | None, NDArray[Any] | None]:
    """Blocks and (before, after) rows of the outer operators."""
    if len(operator.inputs) < 3:
        return None, None
    blocks, rows = (subgraph.tensors[i].data for i in operator.inputs[1:3])
    if blocks is None or rows is None or rows.size != 4 or blocks.size != 2:
        return None, None
    return blocks.reshape(-1), rows.reshape(2, 2)
