"""Rewrites a float32 graph to float16: the weights alone, or all of its arithmetic.

Both keep float32 inputs and outputs, and both leave in float32 what float16 cannot hold, with a
reason. `store_fp16` halves the file and computes in float32 as before; `compute_fp16` bakes
float16 arithmetic in, for strongly typed consumers.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import onnx_ir
from numpy.typing import NDArray

from edgekit.converters.constants import drop_unused_constants
from edgekit.errors import Reason
from edgekit.passes.half import LARGEST, SMALL_CONSTANT

FLOAT = onnx_ir.DataType.FLOAT
FLOAT16 = onnx_ir.DataType.FLOAT16

SMALLEST = float(np.finfo(np.float16).smallest_subnormal)
"""Smallest positive float16, about 6e-8."""

FP16_NOTE = "weights are stored in float16 and computed with in float32"
"""What the artifacts made by `store_fp16` say of themselves."""

SENSITIVE: dict[str, str] = {
    "ReduceSumSquare": "squares and sums overflow float16",
    "ReduceL2": "squares and sums overflow float16",
    "ReduceL1": "sums over an axis overflow float16",
    "ReduceSum": "sums over an axis overflow float16",
    "ReduceProd": "products over an axis overflow float16",
    "ReduceLogSum": "sums over an axis overflow float16",
    "ReduceLogSumExp": "exponentials overflow float16",
    "CumSum": "running sums overflow and lose small terms in float16",
    "Exp": "exponentials above 11 overflow float16",
    "Pow": "powers overflow float16",
    "LpNormalization": "squares and sums overflow float16",
    "LayerNormalization": "the variance overflows or vanishes in float16",
    "InstanceNormalization": "the variance overflows or vanishes in float16",
    "GroupNormalization": "the variance overflows or vanishes in float16",
    "BatchNormalization": "the variance overflows or vanishes in float16",
    "LogSoftmax": "exponentials and their sum lose precision in float16",
    "Range": "a sequence of integers above 2048 is not exact in float16",
    "QuantizeLinear": "its scale is kept exact",
    "DequantizeLinear": "its scale is kept exact",
}
"""Operators that stay in float32, and why."""


@dataclass(frozen=True)
class Half:
    """A graph in float16.

    Attributes:
        model: the rewritten copy.
        float_nodes: what stayed in float32, with the reason.
    """

    model: onnx_ir.Model
    float_nodes: tuple[Reason, ...]


def store_fp16(model: onnx_ir.Model, keep: Collection[str] = ()) -> Half:
    """Store float32 constants as float16, each followed by a Cast back to float32.

    Consumers fold the Cast when they load the file, so that speed and arithmetic are those of
    float32 and the only loss is the rounding of the weights. Biases and other vectors stay as
    they are: they weigh little and their rounding shifts every output.

    Args:
        model: a canonical graph; it is not changed.
        keep: names of nodes whose weights stay float32.
    """
    copy = model.clone()
    graph = copy.graph
    kept: list[Reason] = []
    for value in list(graph.initializers.values()):
        array = _float_array(value)
        if array is None or array.ndim < 2 or array.size < SMALL_CONSTANT:
            continue
        if value.is_graph_output() or any(node.name in keep for node in _users(value)):
            continue
        if problem := unfit(array):
            kept.extend(
                _reason(node, f"constant '{value.name}' {problem}") for node in _users(value)
            )
            continue
        stored = _half_initializer(graph, value, array)
        cast = _cast(stored, FLOAT, value.name or "", value.shape)
        value.replace_all_uses_with(cast.outputs[0])
        del graph.initializers[value.name or ""]
        graph.insert_before(graph[0], cast)
    return Half(copy, tuple(kept))


def compute_fp16(model: onnx_ir.Model, keep: Collection[str] = ()) -> Half:
    """Do the arithmetic of a graph in float16, with Casts at its inputs and outputs.

    Args:
        model: a canonical graph; it is not changed.
        keep: names of nodes to leave in float32 besides those that must be.
    """
    copy = model.clone()
    reasons = dict(_kept(copy.graph, frozenset(keep)))
    _Rewriter(copy.graph, frozenset(reasons)).run()
    return Half(copy, tuple(reasons.values()))


def unfit(array: NDArray[Any]) -> str:
    """What of an array float16 cannot hold; empty when it can hold it.

    Weights may have some values that round to zero; a constant all of whose values do (an
    epsilon) loses its meaning.
    """
    magnitude = np.abs(array[np.isfinite(array)])
    if magnitude.size and float(magnitude.max()) > LARGEST:
        return f"has values up to {magnitude.max():.3g}, beyond float16 ({LARGEST:g})"
    nonzero = magnitude[magnitude > 0]
    if nonzero.size and float(nonzero.max()) < SMALLEST * 16:
        return f"has only values below {nonzero.max():.3g}, which float16 rounds away"
    return ""


class _Rewriter:
    """Turns the values of one graph to float16, except at the nodes that are kept."""

    def __init__(self, graph: onnx_ir.Graph, kept: frozenset[onnx_ir.Node]) -> None:
        self._graph = graph
        self._kept = kept
        self._casts: dict[tuple[int, onnx_ir.DataType], onnx_ir.Value] = {}

    def run(self) -> None:
        for node in list(self._graph):
            for index, value in enumerate(node.inputs):
                if value is not None and value.dtype in (FLOAT, FLOAT16):
                    half = node not in self._kept and _takes_half(node, index)
                    self._feed(node, index, value, FLOAT16 if half else FLOAT)
            if node not in self._kept:
                self._turn(node)
        for index, output in enumerate(self._graph.outputs):
            if output.dtype == FLOAT16 and output.producer() is not None:
                self._restore(index, output)
        drop_unused_constants(self._graph)

    def _feed(
        self, node: onnx_ir.Node, index: int, value: onnx_ir.Value, wanted: onnx_ir.DataType
    ) -> None:
        if value.dtype == wanted:
            return
        key = (id(value), wanted)
        if key not in self._casts:
            self._casts[key] = self._converted(node, value, wanted)
        node.replace_input_with(index, self._casts[key])

    def _converted(
        self, node: onnx_ir.Node, value: onnx_ir.Value, wanted: onnx_ir.DataType
    ) -> onnx_ir.Value:
        array = _float_array(value)
        if array is not None and wanted == FLOAT16:
            return _half_initializer(self._graph, value, array)
        cast = _cast(value, wanted, f"{value.name}_{wanted.name.lower()}", value.shape)
        self._graph.insert_before(node, cast)
        return cast.outputs[0]

    @staticmethod
    def _turn(node: onnx_ir.Node) -> None:
        if node.op_type == "Cast" and node.attributes["to"].as_int() == FLOAT:
            node.attributes["to"] = onnx_ir.AttrInt64("to", int(FLOAT16))
        if node.op_type == "ConstantOfShape" and "value" in node.attributes:
            fill = node.attributes["value"].as_tensor().numpy()
            half = onnx_ir.tensor(fill.astype(np.float16))
            node.attributes["value"] = onnx_ir.AttrTensor("value", half)
        for value in node.outputs:
            if value.dtype == FLOAT:
                # Not `value.dtype = ...`: that changes the type object, which clones share.
                value.type = onnx_ir.TensorType(FLOAT16)

    def _restore(self, index: int, output: onnx_ir.Value) -> None:
        """Give a graph output its float32 back under its own name."""
        name = output.name or f"output_{index}"
        output.name = f"{name}_float16"
        cast = _cast(output, FLOAT, name, output.shape)
        self._graph.append(cast)
        self._graph.outputs[index] = cast.outputs[0]


def _kept(graph: onnx_ir.Graph, named: frozenset[str]) -> Iterator[tuple[onnx_ir.Node, Reason]]:
    """Nodes that stay in float32, with the reason."""
    for node in graph:
        if not _has_float(node):
            continue
        if why := _why_kept(node, named):
            yield node, _reason(node, why)


def _why_kept(node: onnx_ir.Node, named: frozenset[str]) -> str:
    if node.name in named:
        return "it was asked to stay in float32"
    if node.op_type in SENSITIVE:
        return SENSITIVE[node.op_type]
    if any(a.type in _GRAPHS for a in node.attributes.values()):
        return "it contains a graph of its own"
    if not _gives_half(node):
        return "ONNX has no float16 form of it"
    if node.op_type == "Cast" and node.inputs[0] is not None and node.inputs[0].dtype in _INTEGERS:
        return "integers above 2048 are not exact in float16"
    if any(use.node.graph is not node.graph for value in node.outputs for use in value.uses()):
        return "a graph inside another node reads it"
    for value in node.inputs:
        array = None if value is None else _float_array(value)
        if array is not None and value is not None and (problem := unfit(array)):
            return f"constant '{value.name}' {problem}"
    fill = node.attributes.get("value") if node.op_type == "ConstantOfShape" else None
    if fill is not None and (problem := unfit(fill.as_tensor().numpy())):
        return f"its value {problem}"
    return ""


_INTEGERS = frozenset(
    {
        onnx_ir.DataType.INT32,
        onnx_ir.DataType.INT64,
        onnx_ir.DataType.UINT32,
        onnx_ir.DataType.UINT64,
    }
)
_GRAPHS = (onnx_ir.AttributeType.GRAPH, onnx_ir.AttributeType.GRAPHS)


def _has_float(node: onnx_ir.Node) -> bool:
    return any(v is not None and v.dtype == FLOAT for v in (*node.inputs, *node.outputs))


def _takes_half(node: onnx_ir.Node, index: int) -> bool:
    inputs, _ = _half_slots(node.domain, node.op_type, _opset(node))
    return bool(inputs) and inputs[min(index, len(inputs) - 1)]


def _gives_half(node: onnx_ir.Node) -> bool:
    """Whether every float output, and the first float input, may be float16."""
    _, outputs = _half_slots(node.domain, node.op_type, _opset(node))
    if not outputs:
        return False
    return all(
        outputs[min(i, len(outputs) - 1)] for i, v in enumerate(node.outputs) if v.dtype == FLOAT
    )


@cache
def _half_slots(domain: str, op: str, opset: int) -> tuple[tuple[bool, ...], tuple[bool, ...]]:
    """For each formal input and output of an operator, whether it may be float16."""
    import onnx

    try:
        schema = onnx.defs.get_schema(op, opset, domain)
    except onnx.defs.SchemaError:
        return (), ()

    def may(formals: Iterable[Any]) -> tuple[bool, ...]:
        return tuple("tensor(float16)" in formal.types for formal in formals)

    return may(schema.inputs), may(schema.outputs)


def _opset(node: onnx_ir.Node) -> int:
    graph = node.graph
    imports = graph.opset_imports if isinstance(graph, onnx_ir.Graph) else {}
    return imports.get(node.domain, 1)


def _float_array(value: onnx_ir.Value) -> NDArray[Any] | None:
    if value.dtype != FLOAT or value.const_value is None or value.is_graph_input():
        return None
    return value.const_value.numpy()


def _half_initializer(
    graph: onnx_ir.Graph, value: onnx_ir.Value, array: NDArray[Any]
) -> onnx_ir.Value:
    name = f"{value.name}_float16"
    with np.errstate(over="ignore"):
        half = onnx_ir.tensor(array.astype(np.float16), name=name)
    stored = onnx_ir.Value(
        name=name,
        type=onnx_ir.TensorType(FLOAT16),
        shape=onnx_ir.Shape(array.shape),
        const_value=half,
    )
    graph.initializers[name] = stored
    return stored


def _cast(
    value: onnx_ir.Value, to: onnx_ir.DataType, name: str, shape: onnx_ir.Shape | None
) -> onnx_ir.Node:
    attributes = [onnx_ir.AttrInt64("to", int(to))]
    output = onnx_ir.Value(name=name, type=onnx_ir.TensorType(to), shape=shape)
    return onnx_ir.Node("", "Cast", [value], attributes, outputs=[output], name=f"{name}/Cast")


def _users(value: onnx_ir.Value) -> list[onnx_ir.Node]:
    return [use.node for use in value.uses()]


def _reason(node: onnx_ir.Node, why: str) -> Reason:
    return Reason(node.name or "", node.op_type, f"stays in float32: {why}")
