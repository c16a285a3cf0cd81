"""Activations fused into the operator before them, where TFLite's operator can do both.

```
before   a = Conv(x, w); y = Relu(a)
after    y = Conv(x, w)                 with the activation in the node's `meta`
```
"""

from __future__ import annotations

import math

import numpy as np
import onnx_ir

from edgekit.converters.tflite.lowering import ACTIVATION
from edgekit.passes.base import DEFAULT_DOMAINS
from edgekit.passes.canonicalize.rewrite import (
    add_constant,
    attribute,
    constant,
    graph_of,
    has_input,
    input_at,
    is_op,
    only_reader,
    rank,
    replace,
    scalar,
)
from edgekit.passes.canonicalize.transposes import NHWC_DOMAIN

_HOSTS = frozenset({"Conv", "Gemm", "MatMul", "Add", "Sub", "Mul", "Div", "MaxPool", "AveragePool"})

_MOVES = frozenset({"Transpose", "Reshape", "Squeeze", "Unsqueeze", "Flatten"})
"""Operators that commute with any activation."""

_ACTIVATIONS = {(0.0, math.inf): "RELU", (0.0, 6.0): "RELU6", (-1.0, 1.0): "RELU_N1_TO_1"}
"""Bounds → name in the schema's `ActivationFunctionType`."""


def fuse_activations(model: onnx_ir.Model) -> None:
    """Fuse activations into their producers, in place."""
    for node in tuple(model.graph):
        value = node.inputs[0] if node.inputs else None
        if value is None or not is_op(node, "Relu", "Clip"):
            continue
        source = _before_moves(value)
        host = source.producer()
        bounds = _bounds(node)
        if bounds is None or host is None or not _can_host(host, source):
            continue
        name = _ACTIVATIONS.get(bounds)
        if name is not None:
            host.meta[ACTIVATION] = name
        elif not _saturates(node.outputs[0], bounds):
            continue
        result = node.outputs[0].name
        replace(node.outputs[0], value)
        if not value.is_graph_output():
            node.outputs[0].name, value.name = f"{result}/fused", result


def _before_moves(value: onnx_ir.Value) -> onnx_ir.Value:
    """What a value is only a permutation, or another shape, of."""
    maker = value.producer()
    while maker is not None and is_op(maker, *_MOVES) and only_reader(value):
        source = maker.inputs[0]
        if source is None:
            break
        value, maker = source, source.producer()
    return value


def _bounds(node: onnx_ir.Node) -> tuple[float, float] | None:
    """What an activation cuts its operand to."""
    if node.op_type == "Relu":
        return 0.0, math.inf
    sides = []
    for index, default in ((1, -math.inf), (2, math.inf)):
        given = input_at(node, index)
        side = default if given is None else scalar(given)
        if side is None:
            return None
        sides.append(side)
    return sides[0], sides[1]


def _saturates(value: onnx_ir.Value, bounds: tuple[float, float]) -> bool:
    """Whether quantization cuts to the same bounds by itself, so that nothing else has to."""
    readers = [node for node, _ in value.uses()]
    if not readers or value.is_graph_output():
        return False
    return all(is_op(node, "QuantizeLinear") and _within(node, bounds) for node in readers)


def _within(node: onnx_ir.Node, bounds: tuple[float, float]) -> bool:
    scale, zero = scalar(input_at(node, 1)), constant(input_at(node, 2))
    if scale is None or zero is None or zero.size != 1:
        return False
    info, offset = np.iinfo(zero.dtype), int(zero.reshape(-1)[0])
    slack = scale / 2
    low, high = (int(info.min) - offset) * scale, (int(info.max) - offset) * scale
    return low >= bounds[0] - slack and high <= bounds[1] + slack


def _can_host(host: onnx_ir.Node, value: onnx_ir.Value) -> bool:
    if (
        host.op_type not in _HOSTS
        or host.domain not in (*DEFAULT_DOMAINS, NHWC_DOMAIN)
        or not only_reader(value)
        or ACTIVATION in host.meta
    ):
        return False
    if value.dtype not in (None, onnx_ir.DataType.FLOAT):
        return False
    if host.op_type == "MatMul":
        weights = input_at(host, 1)
        maker = None if weights is None else weights.producer()
        source = input_at(maker, 0) if maker is not None else weights
        return constant(source) is not None and rank(source) == 2
    return True


def reorder_channels(model: onnx_ir.Model) -> None:
    """Let a convolution make its channels in the order that DEPTH_TO_SPACE reads, in place.

    ```
    before   c = Conv(x, w); y = DepthToSpace<mode=CRD>(c)
    after    c = Conv(x, w[order]); y = DepthToSpace<mode=DCR>(c)
    ```
    """
    for node in model.graph:
        value = node.inputs[0] if node.inputs else None
        host = value.producer() if value is not None else None
        if node.op_type != "DepthToSpace" or attribute(node, "mode", "DCR") != "CRD":
            continue
        if host is None or host.op_type != "Conv" or not only_reader(value):
            continue
        operands = {index: constant(input_at(host, index)) for index in (1, 2)}
        if operands[1] is None or (has_input(host, 2) and operands[2] is None):
            continue
        if attribute(host, "group", 1) != 1:
            continue
        block = attribute(node, "blocksize", 1) ** 2
        order = np.arange(operands[1].shape[0]).reshape(-1, block).T.reshape(-1)
        for index, data in operands.items():
            if data is not None:
                moved = add_constant(graph_of(host), data[order], f"{host.name}/ordered")
                host.replace_input_with(index, moved)
        node.attributes["mode"] = onnx_ir.AttrString("mode", "DCR")
