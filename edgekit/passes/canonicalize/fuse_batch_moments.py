"""Recognises layer normalization that is written as a batch normalization of one sample."""

from __future__ import annotations

import math

import numpy as np
import onnx_ir

from edgekit.passes.base import NodePass
from edgekit.passes.canonicalize.algebra import close, product
from edgekit.passes.canonicalize.rewrite import (
    add_node,
    attribute,
    constant,
    constant_like,
    dims,
    has_input,
    integers,
    is_op,
    only_reader,
    producer,
    rank,
    replace,
)


class FuseBatchMoments(NodePass):
    """Writes a BatchNormalization by statistics that are computed from its own input as what it is.

    ```
    before   r = Reshape(x: float32[N, 10, 8], [1, -1, 8, 1]); m = ReduceMean(r, [0, 2, 3])
             v = Div(ReduceSumSquare(Sub(r, m), [0, 2, 3]), 8.0)
             b = BatchNormalization(r, ones, zeros, m, v); y = Reshape(b, [-1, 10, 8])
    after    y = LayerNormalization[axis=-1](x, ones)
    ```

    Keras 2 runs layer normalization on TensorFlow's fused batch normalization in this way.
    """

    ops = frozenset({"BatchNormalization"})

    def rewrite(self, node: onnx_ir.Node) -> bool:
        """Fuse one node."""
        data, around = node.inputs[0], _views_around(node)
        if data is None or around is None or len(node.inputs) < 5:
            return False
        source, output, size = around
        own = _is_filled(node.inputs[1], 1) and _is_filled(node.inputs[2], 0)
        own = own and _is_mean(node.inputs[3], data) and _is_variance(node.inputs[4], data, size)
        if not own:
            return False
        ones = constant_like(node, np.ones(size), source, f"{node.name}_scale")
        attributes = {"axis": -1, "epsilon": attribute(node, "epsilon", 1e-5)}
        normal = add_node(node, "LayerNormalization", [source, ones], attributes, like=source)
        replace(output, normal)
        return True


def _views_around(node: onnx_ir.Node) -> tuple[onnx_ir.Value, onnx_ir.Value, int] | None:
    """The input of the view in front, the output of the view behind, and the size of a row."""
    view, output = producer(node.inputs[0], "Reshape"), node.outputs[0]
    source = view.inputs[0] if view is not None else None
    rows, sizes = dims(node.inputs[0]), dims(source)
    if source is None or rows is None or sizes is None or rows[0] != 1 or not only_reader(output):
        return None
    back, _ = next(iter(output.uses()))
    restored = dims(back.outputs[0]) if is_op(back, "Reshape") else None
    size = sizes[-1] if sizes else None
    if restored is None or not isinstance(size, int) or math.prod(_numbers(rows[2:])) != size:
        return None
    known = [a for a in sizes if isinstance(a, int)] == [a for a in restored if isinstance(a, int)]
    same = len(restored) == len(sizes) and known and len(_numbers(sizes)) >= len(sizes) - 1
    return (source, back.outputs[0], size) if same and len(rows) > 2 else None


def _numbers(sizes: tuple[int | str | None, ...]) -> list[int]:
    return [size for size in sizes if isinstance(size, int)]


def _is_filled(value: onnx_ir.Value | None, number: float) -> bool:
    """Whether all elements are one number, however many there are."""
    array = constant(value)
    if array is not None:
        return bool((array == number).all())
    node = producer(value, "Expand", "ConstantOfShape")
    if node is None:
        return False
    if node.op_type == "Expand":
        return _is_filled(node.inputs[0], number)
    fill = node.attributes.get("value")
    filled = np.zeros(1) if fill is None else fill.as_tensor().numpy()
    return bool((filled == number).all())


def _is_mean(value: onnx_ir.Value | None, data: onnx_ir.Value) -> bool:
    squeeze = producer(value, "Squeeze", "Reshape")
    node = producer(squeeze.inputs[0] if squeeze is not None else value, "ReduceMean")
    return node is not None and node.inputs[0] is data and _goes_over_all_but_1(node)


def _is_variance(value: onnx_ir.Value | None, data: onnx_ir.Value, size: int) -> bool:
    """The mean of squared differences from the mean."""
    whole = product(value) if value is not None else None
    if whole is None or len(whole.factors) != 1:
        return False
    node = producer(whole.factors[0], "ReduceSumSquare")
    centred = producer(node.inputs[0], "Sub") if node is not None else None
    if node is None or centred is None or centred.inputs[0] is not data:
        return False
    right = close(whole.number, 1 / size) and _goes_over_all_but_1(node)
    return right and _is_mean(centred.inputs[1], data)


def _goes_over_all_but_1(node: onnx_ir.Node) -> bool:
    total = rank(node.inputs[0])
    axes = integers(node.inputs[1]) if has_input(node, 1) else None
    if total is None or axes is None:
        return False
    return sorted(axis % total for axis in axes) == [0, *range(2, total)]
