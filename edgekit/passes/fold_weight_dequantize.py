"""Weights of a float artifact as floats, where the source has stored them alone as integers."""

from __future__ import annotations

import onnx_ir

from edgekit.ir.model import Model
from edgekit.passes.base import NodePass, run_passes
from edgekit.passes.canonicalize.deduplicate_constants import DeduplicateConstants
from edgekit.passes.canonicalize.remove_dead_code import RemoveDeadCode
from edgekit.passes.canonicalize.rewrite import add_constant, graph_of, producer
from edgekit.passes.quantize.constants import constant_data, is_constant


class FoldWeightDequantize(NodePass):
    """Dequantizes stored integers that are multiplied with float activations.

    ```
    before   w = DequantizeLinear(q: int8[64, 10], s, z); y = MatMul(x, w)
    after    y = MatMul(x, w: float[64, 10])
    ```

    Left as it is, ONNX Runtime and OpenVINO would quantize `x` on the fly, with an error of
    several bits. A node whose activations are quantized in the source, too, keeps its integers,
    and so does a table that is only looked up.
    """

    ops = frozenset(
        {"Conv", "ConvTranspose", "Einsum", "GRU", "Gemm", "LSTM", "MatMul", "RNN"},
    )

    def rewrite(self, node: onnx_ir.Node) -> bool:
        """Replace the dequantized constants that one node reads."""
        stored = [i for i, value in enumerate(node.inputs) if _is_stored(value)]
        if not stored or _quantized_in_source(node):
            return False
        for index in stored:
            value = node.inputs[index]
            if value is not None:
                data = constant_data(value)
                name = value.name or "weight"
                node.replace_input_with(index, add_constant(graph_of(node), data, name))
        return True


def fold_weight_dequantize(model: Model) -> Model:
    """A canonical model for float arithmetic: weights that alone were integers are floats.

    Args:
        model: a canonical model. It is not changed.
    """
    copy = model.clone()
    run_passes(copy.ir, [FoldWeightDequantize(), DeduplicateConstants(), RemoveDeadCode()])
    return copy


def _is_stored(value: onnx_ir.Value | None) -> bool:
    """Whether a value is a float32 constant after DequantizeLinear."""
    return (
        value is not None
        and value.dtype == onnx_ir.DataType.FLOAT
        and value.const_value is None
        and is_constant(value)
    )


def _quantized_in_source(node: onnx_ir.Node) -> bool:
    """Whether the source dequantizes an activation that the node reads."""
    return any(
        producer(value, "DequantizeLinear") is not None and not is_constant(value)
        for value in node.inputs
    )
