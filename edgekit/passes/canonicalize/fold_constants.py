"""Computes what does not depend on the inputs."""

from __future__ import annotations

import math

import numpy as np
import onnx_ir

from edgekit.ir.model import OPSET
from edgekit.passes.base import DEFAULT_DOMAINS, InPlacePass, PassResult
from edgekit.passes.canonicalize.evaluate import evaluate
from edgekit.passes.canonicalize.rewrite import (
    add_constant,
    constant,
    graph_of,
    is_constant,
    rank,
    replace,
    static_dims,
    subgraphs,
)
from edgekit.passes.canonicalize.shape_values import shape_entries

MAX_GROWTH = 16 << 20
"""Bytes that a folded constant may have beyond what it is made of."""

_KEEP = frozenset(
    {
        # Weights stay in their integer form: the pair is what quantized targets look for.
        "DequantizeLinear",
        "Bernoulli",
        "Multinomial",
        "RandomNormal",
        "RandomNormalLike",
        "RandomUniform",
        "RandomUniformLike",
        "Identity",
    }
)
_SHAPE_MATH = frozenset(
    {"Add", "Cast", "Concat", "Div", "Gather", "Mul", "Slice", "Squeeze", "Sub", "Unsqueeze"}
)
_SHAPE_MATH_ELEMENTS = 1024


class FoldConstants(InPlacePass):
    """Replaces nodes whose inputs are constants, and shapes that are known, by their values.

    ```
    before   s = Shape(x: float32[N, 4, 4, 8]); d = Gather(s, 3); k = Unsqueeze(d, [0])
             t = Concat([-1], k); y = Reshape(x, t)
    after    y = Reshape(x, [-1, 8])
    ```

    Folding never makes a model much bigger: a result of more than 16 MiB that is also larger than
    what it is computed from stays a computation. Random numbers and DequantizeLinear stay, too.
    """

    def call(self, model: onnx_ir.Model) -> PassResult:
        """Fold once, in topological order."""
        modified = False
        for graph in tuple(model.graphs()):
            for node in tuple(graph):
                if node.graph is graph and node.domain in DEFAULT_DOMAINS:
                    modified = _fold_shape(node) or _fold(node) or modified
        return PassResult(model, modified)


def _fold_shape(node: onnx_ir.Node) -> bool:
    """Fold a node that computes sizes, all of which are known although its inputs are not."""
    if len(node.outputs) != 1 or node.op_type == "Identity" or not _sizes(node.outputs[0]):
        return False
    entries = shape_entries(node.outputs[0])
    if entries is None or any(not isinstance(entry, int) for entry in entries):
        return False
    output = node.outputs[0]
    dtype = output.dtype.numpy() if output.dtype is not None else np.dtype(np.int64)
    array = np.array(entries, dtype)
    _substitute(node, [array.reshape(()) if rank(output) == 0 else array])
    return True


def _sizes(value: onnx_ir.Value) -> bool:
    integer = value.dtype in (onnx_ir.DataType.INT64, onnx_ir.DataType.INT32)
    return integer and rank(value) in (0, 1)


def _fold(node: onnx_ir.Node) -> bool:
    if node.op_type in _KEEP or not node.inputs or subgraphs(node):
        return False
    if not all(value is None or is_constant(value) for value in node.inputs):
        return False
    if not _small_enough(node):
        return False
    arrays = [constant(value) for value in node.inputs]
    results = evaluate(node, arrays, OPSET)
    if results is None or len(results) != len(node.outputs):
        return False
    _substitute(node, results)
    return True


def _small_enough(node: onnx_ir.Node) -> bool:
    sizes = [v.const_value.nbytes for v in node.inputs if v is not None and v.const_value]
    total = 0
    for value in node.outputs:
        shape = static_dims(value)
        if shape is None or value.dtype is None:
            elements = sum(v.const_value.size for v in node.inputs if v and v.const_value)
            return node.op_type in _SHAPE_MATH and elements <= _SHAPE_MATH_ELEMENTS
        total += math.ceil(math.prod(shape) * value.dtype.itemsize)
    return total <= max(MAX_GROWTH, sum(sizes))


def _substitute(node: onnx_ir.Node, arrays: list[np.ndarray[tuple[int, ...], np.dtype]]) -> None:
    graph = graph_of(node)
    for output, array in zip(tuple(node.outputs), arrays, strict=True):
        if output.uses() or output.is_graph_output():
            value = add_constant(graph, array, output.name or node.op_type)
            replace(output, value)
