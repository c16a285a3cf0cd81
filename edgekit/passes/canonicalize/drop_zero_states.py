"""Leaves out initial states that are zero anyway."""

from __future__ import annotations

import onnx_ir

from edgekit.passes.base import NodePass
from edgekit.passes.canonicalize.rewrite import constant, has_input, producer, sweep

_STATES = {"GRU": (5,), "LSTM": (5, 6), "RNN": (5,)}


class DropZeroStates(NodePass):
    """Leaves out initial states of recurrent operators that are all zeros.

    ```
    before   h = Expand(0.0, Concat([1], Shape(x)[1:2], [64])); y = LSTM(x, w, r, b, , h, c)
    after    y = LSTM(x, w, r, b, , , c)
    ```

    The default is zero, and without the input no target has to know the batch size for it.
    """

    ops = frozenset(_STATES)

    def rewrite(self, node: onnx_ir.Node) -> bool:
        """Drop the zero states of one node."""
        modified = False
        for index in _STATES[node.op_type]:
            value = node.inputs[index] if has_input(node, index) else None
            if value is not None and _is_zero(value):
                maker = value.producer()
                node.replace_input_with(index, None)
                if maker is not None:
                    sweep(maker)
                modified = True
        return modified


def _is_zero(value: onnx_ir.Value) -> bool:
    array = constant(value)
    if array is not None:
        return not array.any()
    node = producer(value, "Cast", "ConstantOfShape", "Expand", "Identity", "Tile")
    if node is None or node.inputs[0] is None:
        return False
    if node.op_type == "ConstantOfShape":
        fill = node.attributes.get("value")
        return fill is None or not fill.as_tensor().numpy().any()
    return _is_zero(node.inputs[0])
