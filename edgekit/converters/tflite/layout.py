"""Channels-last: operators that care about the axis order, rewritten to the order that TFLite has.

```
before   y = Conv(x, w)                                                           x, y: NCHW
after    a = Transpose(x, 0231); b = edgekit.nhwc::Conv(a, w); y = Transpose(b, 0312)
```

The transposes of neighbours meet and are cancelled by `SinkTransposes`. Weights stay as ONNX has
them; lowerings bring them to TFLite's order. One-dimensional operators become two-dimensional ones
with a height of 1.
"""

from __future__ import annotations

import numpy as np
import onnx_ir

from edgekit.passes.canonicalize.permutations import inverse
from edgekit.passes.canonicalize.rewrite import (
    add_constant,
    add_node,
    attribute,
    constant,
    graph_of,
    input_at,
    is_op,
    rank,
    replace,
)
from edgekit.passes.canonicalize.transposes import NHWC_DOMAIN

_SPATIAL_1D = {
    "kernel_shape": (1,),
    "strides": (1,),
    "dilations": (1,),
    "output_padding": (0,),
    "pads": (0,),
}
"""Entry of each attribute for the height that a one-dimensional operator is given."""

_CHANNELS_LAST = {
    "Conv": (3, 4, 5),
    "ConvTranspose": (3, 4),
    "MaxPool": (3, 4),
    "AveragePool": (3, 4),
    "Resize": (3, 4),
    "DepthToSpace": (4,),
    "SpaceToDepth": (4,),
    "LRN": (4,),
    "BatchNormalization": (3, 4, 5),
    "InstanceNormalization": (3, 4, 5),
    "GroupNormalization": (3, 4, 5),
}
"""Operators that are rewritten, and for which ranks of their first operand."""

_WINDOWED = frozenset({"Conv", "ConvTranspose", "MaxPool", "AveragePool", "Resize"})

_LAST_AXIS = frozenset({"Softmax", "LogSoftmax", "LpNormalization"})
"""Operators along one axis, which TFLite has for the last one only."""

_GLOBAL = {"GlobalAveragePool": "ReduceMean", "GlobalMaxPool": "ReduceMax"}


def channels_last(model: onnx_ir.Model) -> None:
    """Rewrite operators that care about the axis order, in place."""
    for node in tuple(model.graph):
        if is_op(node, *_GLOBAL):
            _reduce(node)
        elif is_op(node, *_WINDOWED) and rank(node.inputs[0]) == 3:
            _wrap(_widen(node), (0, 2, 3, 1))
        elif is_op(node, *_CHANNELS_LAST):
            size = rank(node.inputs[0]) or 0
            if size in _CHANNELS_LAST[node.op_type]:
                _wrap(node, (0, *range(2, size), 1))
        elif is_op(node, *_LAST_AXIS):
            _wrap_axis(node)


def _reduce(node: onnx_ir.Node) -> None:
    """A global pool is a reduction, whose axes can be permuted."""
    size = rank(node.inputs[0])
    if size is None or size < 3:
        return
    axes = add_constant(graph_of(node), np.arange(2, size), f"{node.name}/axes")
    value = add_node(
        node, _GLOBAL[node.op_type], [node.inputs[0], axes], {"keepdims": 1}, like=node.outputs[0]
    )
    replace(node.outputs[0], value)


def _widen(node: onnx_ir.Node) -> onnx_ir.Node:
    """Give a one-dimensional operator a height of 1. Its weights get theirs when lowered."""
    graph = graph_of(node)
    axis = add_constant(graph, np.array([2], np.int64), f"{node.name}/height")
    source, result = node.inputs[0], node.outputs[0]
    if source is None or source.shape is None or result.shape is None or len(node.outputs) > 1:
        return node
    tall = add_node(node, "Unsqueeze", [source, axis])
    tall.type, tall.shape = source.type, _with_height(source.shape)
    inputs = [tall, *(_wide_constant(node, i) for i in range(1, len(node.inputs)))]
    wide = add_node(node, node.op_type, inputs, _wide_attributes(node))
    wide.type, wide.shape = result.type, _with_height(result.shape)
    flat = add_node(node, "Squeeze", [wide, axis], like=result)
    replace(result, flat)
    created = wide.producer()
    return node if created is None else created


def _with_height(shape: onnx_ir.Shape) -> onnx_ir.Shape:
    return onnx_ir.Shape([shape[0], shape[1], 1, shape[2]])


def _wide_attributes(node: onnx_ir.Node) -> dict[str, onnx_ir.Attr]:
    attributes = dict(node.attributes)
    for name, entry in _SPATIAL_1D.items():
        given = attributes.get(name)
        if given is not None:
            values = list(given.as_ints())
            wide = [*entry, *values] if name != "pads" else [0, values[0], 0, values[1]]
            attributes[name] = onnx_ir.AttrInt64s(name, wide)
    axes = attributes.get("axes")
    if axes is not None:
        moved = [axis % 3 + (axis % 3 == 2) for axis in axes.as_ints()]
        attributes["axes"] = onnx_ir.AttrInt64s("axes", moved)
    return attributes


def _wide_constant(node: onnx_ir.Node, index: int) -> onnx_ir.Value | None:
    """Resize has sizes and scales for each axis; other operands do not change."""
    value = input_at(node, index)
    data = constant(value)
    if node.op_type != "Resize" or index < 2 or data is None or data.size != 3:
        return value
    wide = np.insert(data, 2, 1)
    return add_constant(graph_of(node), wide, f"{node.name}/wide")


def _wrap_axis(node: onnx_ir.Node) -> None:
    """Let a node work on the last axis."""
    size = rank(node.inputs[0])
    if not size:
        return
    axis = attribute(node, "axis", -1) % size
    node.attributes["axis"] = onnx_ir.AttrInt64("axis", -1)
    _wrap(node, (*(a for a in range(size) if a != axis), axis))


def _wrap(node: onnx_ir.Node, to_last: tuple[int, ...]) -> None:
    """Put transposes around a node and its twin of the channels-last domain in between."""
    source, result = node.inputs[0], node.outputs[0]
    if source is None or rank(source) != len(to_last):
        return
    if result.shape is None and node.op_type.endswith("Normalization"):
        result.type, result.shape = source.type, source.shape
    if rank(result) != len(to_last):
        return
    outside = add_node(node, "Transpose", [source], {"perm": list(to_last)})
    outside.type, outside.shape = source.type, _permuted(source.shape, to_last)
    inside = onnx_ir.val(f"{result.name}/last", type=result.type)
    inside.shape = _permuted(result.shape, to_last)
    moved = onnx_ir.node(
        node.op_type,
        [outside, *node.inputs[1:]],
        node.attributes,
        domain=NHWC_DOMAIN,
        outputs=[inside, *(onnx_ir.val("") for _ in node.outputs[1:])],
        name=node.name,
    )
    graph_of(node).insert_before(node, moved)
    back = add_node(node, "Transpose", [inside], {"perm": list(inverse(to_last))}, like=result)
    for index, extra in enumerate(node.outputs[1:], 1):
        extra.replace_all_uses_with(moved.outputs[index], replace_graph_outputs=True)
    replace(result, back)


def _permuted(shape: onnx_ir.Shape | None, perm: tuple[int, ...]) -> onnx_ir.Shape | None:
    return None if shape is None else onnx_ir.Shape([shape[axis] for axis in perm])
