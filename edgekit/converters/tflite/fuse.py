"""Activations fused into the operator before them, where TFLite's operator can do both.

```
before   a = Conv(x, w); y = Relu(a)
after    y = Conv(x, w)                 with the activation in the node's `meta`
```
"""

from __future__ import annotations

import onnx_ir

from edgekit.converters.tflite.lowering import ACTIVATION
from edgekit.passes.canonicalize.rewrite import (
    constant,
    input_at,
    is_op,
    only_reader,
    rank,
    replace,
    scalar,
)

_HOSTS = frozenset({"Conv", "Gemm", "MatMul", "Add", "Sub", "Mul", "Div", "MaxPool", "AveragePool"})

_MOVES = frozenset({"Transpose", "Reshape", "Squeeze", "Unsqueeze", "Flatten"})
"""Operators that commute with any activation."""

_CLIPS = {(0.0, 6.0): "RELU6", (-1.0, 1.0): "RELU_N1_TO_1", (0.0, float("inf")): "RELU"}


def fuse_activations(model: onnx_ir.Model) -> None:
    """Fuse activations into their producers, in place."""
    for node in tuple(model.graph):
        if not is_op(node, "Relu", "Clip"):
            continue
        name = _activation(node)
        value = node.inputs[0]
        source = _before_moves(value)
        host = source.producer() if source is not None else None
        if name is None or value is None or source is None or host is None:
            continue
        if not _can_host(host, source):
            continue
        host.meta[ACTIVATION] = name
        value.name, name_of_result = f"{value.name}/linear", node.outputs[0].name
        replace(node.outputs[0], value)
        if not value.is_graph_output():
            value.name = name_of_result


def _before_moves(value: onnx_ir.Value | None) -> onnx_ir.Value | None:
    """The value that an activation's operand is a permutation or another shape of."""
    while value is not None and only_reader(value):
        maker = value.producer()
        if maker is None or not is_op(maker, *_MOVES):
            break
        value = maker.inputs[0]
    return value


def _activation(node: onnx_ir.Node) -> str | None:
    if node.op_type == "Relu":
        return "RELU"
    low, high = scalar(input_at(node, 1)), scalar(input_at(node, 2))
    if low is None:
        return None
    return _CLIPS.get((low, float("inf") if input_at(node, 2) is None or high is None else high))


def _can_host(host: onnx_ir.Node, value: onnx_ir.Value) -> bool:
    if host.op_type not in _HOSTS or not only_reader(value) or ACTIVATION in host.meta:
        return False
    if value.dtype not in (None, onnx_ir.DataType.FLOAT):
        return False
    if host.op_type == "MatMul":
        weights = input_at(host, 1)
        maker = None if weights is None else weights.producer()
        source = input_at(maker, 0) if maker is not None else weights
        return constant(source) is not None and rank(source) == 2
    return True
