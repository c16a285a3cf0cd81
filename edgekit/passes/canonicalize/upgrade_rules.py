"""How each operator that changed between opsets 7 and 21 is written in opset 21.

One function per change, and one table: (the opset that made the change, operators, function).
Changes that only widened the accepted types, or added attributes whose default is the old
behaviour, need no rule. Source: https://github.com/onnx/onnx/blob/main/docs/Changelog.md
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_ir

from edgekit.errors import Reason, UnsupportedError
from edgekit.passes.canonicalize.rewrite import (
    add_constant,
    add_node,
    attribute,
    constant,
    dims,
    fresh_name,
    graph_of,
    has_input,
    input_at,
    rank,
    replace,
)


@dataclass(frozen=True)
class Rule:
    """One change of meaning.

    Attributes:
        since: the first opset with the new meaning; the rule applies to models below it.
        ops: the operators it is about.
        apply: rewrites one node from the old meaning to the new one.
    """

    since: int
    ops: frozenset[str]
    apply: Callable[[onnx_ir.Node], None]


def refuse(node: onnx_ir.Node, reason: str, hint: str = "") -> UnsupportedError:
    """The error for a node that opset 21 cannot express."""
    return UnsupportedError(
        "the model cannot be brought to opset 21:",
        reasons=[Reason(node.name or "?", node.op_type, reason, hint)],
    )


def _set(node: onnx_ir.Node, name: str, value: Any) -> None:
    node.attributes[name] = onnx_ir.convenience.convert_attribute(name, value)


def _set_input(node: onnx_ir.Node, index: int, array: np.ndarray[Any, Any], role: str) -> None:
    if len(node.inputs) <= index:
        node.resize_inputs(index + 1)
    value = add_constant(graph_of(node), array, f"{node.name or node.op_type}_{role}")
    node.replace_input_with(index, value)


def _move_ints(node: onnx_ir.Node, name: str, index: int) -> None:
    """Turn an attribute that lists integers into input number `index`."""
    values = attribute(node, name)
    node.attributes.pop(name, None)
    if values is not None:
        _set_input(node, index, np.array(values, np.int64).reshape(-1), name)


def _float_type(node: onnx_ir.Node) -> np.dtype[Any]:
    value = node.inputs[0]
    dtype = value.dtype if value is not None else None
    return np.dtype(np.float32) if dtype is None else dtype.numpy()


def _axes(node: onnx_ir.Node) -> None:
    _move_ints(node, "axes", 1)


def _split_sizes(node: onnx_ir.Node) -> None:
    _move_ints(node, "split", 1)


def _split_count(node: onnx_ir.Node) -> None:
    if not has_input(node, 1):
        _set(node, "num_outputs", len(node.outputs))


def _top_k(node: onnx_ir.Node) -> None:
    _move_ints(node, "k", 1)


def _slice(node: onnx_ir.Node) -> None:
    for index, name in enumerate(("starts", "ends", "axes"), start=1):
        _move_ints(node, name, index)


def _pad(node: onnx_ir.Node) -> None:
    value = np.array(attribute(node, "value", 0.0), _float_type(node))
    node.attributes.pop("value", None)
    _move_ints(node, "pads", 1)
    _set_input(node, 2, value, "value")


def _clip(node: onnx_ir.Node) -> None:
    dtype = _float_type(node)
    for index, name in enumerate(("min", "max"), start=1):
        bound = attribute(node, name)
        node.attributes.pop(name, None)
        if bound is not None and abs(bound) < float(np.finfo(np.float32).max):
            _set_input(node, index, np.array(bound, dtype), name)


def _dropout(node: onnx_ir.Node) -> None:
    node.attributes.pop("ratio", None)


def _upsample_7(node: onnx_ir.Node) -> None:
    scales = np.array(attribute(node, "scales", ()), np.float32)
    node.attributes.pop("scales", None)
    _set_input(node, 1, scales, "scales")


def _resize_10(node: onnx_ir.Node) -> None:
    """Upsample and Resize up to opset 10 sample at `x / scale`.

    The nearest element is the one below when enlarging and, as ONNX Runtime has it, the one above
    when shrinking; a node that does both becomes two.
    """
    scales = node.inputs[1]
    node.op_type = "Resize"
    node.resize_inputs(3)
    node.replace_input_with(1, None)
    node.replace_input_with(2, scales)
    _set(node, "coordinate_transformation_mode", "asymmetric")
    _set(node, "nearest_mode", "floor")
    factors = constant(scales)
    if factors is None or attribute(node, "mode", "nearest") != "nearest" or (factors >= 1).all():
        return
    shrink, graph = np.minimum(factors, 1), graph_of(node)
    attributes = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric"}
    inputs = [node.inputs[0], None, add_constant(graph, shrink, "scales")]
    small = add_node(node, "Resize", inputs, {**attributes, "nearest_mode": "ceil"})
    node.replace_input_with(0, small)
    node.replace_input_with(2, add_constant(graph, np.maximum(factors, 1), "scales"))


def _scatter(node: onnx_ir.Node) -> None:
    node.op_type = "ScatterElements"


def _softmax_13(node: onnx_ir.Node) -> None:
    """Up to opset 12 everything from `axis` on was one long axis."""
    axis = attribute(node, "axis", 1)
    data = node.inputs[0]
    sizes = dims(data)
    last = rank(data)
    if sizes is not None and last is not None:
        axis = axis + last if axis < 0 else axis
        if all(size == 1 for size in sizes[axis + 1 :]):
            _set(node, "axis", axis if axis < last - 1 else -1)
            return
    elif axis == -1:
        return
    _set(node, "axis", -1)
    output = node.outputs[0]
    node.replace_input_with(0, add_node(node, "Flatten", [data], {"axis": axis}))
    _restore_shape(node, data, output)


def _restore_shape(node: onnx_ir.Node, data: onnx_ir.Value | None, output: onnx_ir.Value) -> None:
    """Let readers of `output` see it in the shape of `data`."""
    graph = graph_of(node)
    shape = add_node(node, "Shape", [data])
    result = onnx_ir.val(fresh_name(graph, output.name or "y"), shape=output.shape)
    result.type = output.type
    for user, index in tuple(output.uses()):
        user.replace_input_with(index, result)
    reshape = onnx_ir.node(
        "Reshape", [output, shape], outputs=[result], name=fresh_name(graph, "Reshape")
    )
    graph.insert_after(node, reshape)
    if output.is_graph_output():
        graph.outputs[list(graph.outputs).index(output)] = result
        name, output.name = output.name, result.name
        result.name = name
    output.shape = None


def _batch_norm_spatial(node: onnx_ir.Node) -> None:
    """Opsets 7 and 8 could normalize every element by its own statistics."""
    if attribute(node, "spatial", 1):
        node.attributes.pop("spatial", None)
        return
    x, scale, bias, mean, var = node.inputs[:5]
    epsilon = np.array(attribute(node, "epsilon", 1e-5), _float_type(node))
    eps = add_constant(graph_of(node), epsilon, "epsilon")
    std = add_node(node, "Sqrt", [add_node(node, "Add", [var, eps])])
    centred = add_node(node, "Sub", [x, mean])
    scaled = add_node(node, "Mul", [add_node(node, "Div", [centred, std]), scale])
    replace(node.outputs[0], add_node(node, "Add", [scaled, bias], like=node.outputs[0]))


def _batch_norm_14(node: onnx_ir.Node) -> None:
    if any(v.uses() or v.is_graph_output() for v in node.outputs[1:]):
        raise refuse(node, "is in training mode", "export the model for inference")
    node.resize_outputs(1)


def _roi_align_16(node: onnx_ir.Node) -> None:
    _set(node, "coordinate_transformation_mode", "output_half_pixel")


def _grid_sample_20(node: onnx_ir.Node) -> None:
    mode = attribute(node, "mode", "bilinear")
    _set(node, "mode", {"bilinear": "linear", "bicubic": "cubic"}.get(mode, mode))


def _dft_20(node: onnx_ir.Node) -> None:
    axis = attribute(node, "axis", 1)
    node.attributes.pop("axis", None)
    _set_input(node, 2, np.array(axis, np.int64), "axis")


def _group_norm_21(node: onnx_ir.Node) -> None:
    """Up to opset 20 scale and bias had one entry per group, now one per channel."""
    sizes = dims(node.inputs[0])
    channels = sizes[1] if sizes is not None and len(sizes) > 1 else None
    groups = attribute(node, "num_groups", 1)
    for index, role in ((1, "scale"), (2, "bias")):
        values = constant(input_at(node, index))
        if values is None or not isinstance(channels, int):
            raise refuse(node, "scale, bias and the number of channels must be constant")
        _set_input(node, index, np.repeat(values, channels // groups), role)


def _scan_9(node: onnx_ir.Node) -> None:
    raise refuse(node, "Scan of opset 8 has a batch axis", "export the model with opset 9 or later")


_REDUCE = ("Max", "Mean", "Min", "Prod", "L1", "L2", "LogSum", "LogSumExp", "SumSquare")

RULES: tuple[Rule, ...] = (
    Rule(9, frozenset({"Upsample"}), _upsample_7),
    Rule(9, frozenset({"BatchNormalization"}), _batch_norm_spatial),
    Rule(9, frozenset({"Scan"}), _scan_9),
    Rule(10, frozenset({"Slice"}), _slice),
    Rule(10, frozenset({"TopK"}), _top_k),
    Rule(11, frozenset({"Upsample", "Resize"}), _resize_10),
    Rule(11, frozenset({"Pad"}), _pad),
    Rule(11, frozenset({"Clip"}), _clip),
    Rule(11, frozenset({"Scatter"}), _scatter),
    Rule(12, frozenset({"Dropout"}), _dropout),
    Rule(13, frozenset({"Squeeze", "Unsqueeze", "ReduceSum"}), _axes),
    Rule(13, frozenset({"Split"}), _split_sizes),
    Rule(13, frozenset({"Softmax", "LogSoftmax", "Hardmax"}), _softmax_13),
    Rule(14, frozenset({"BatchNormalization"}), _batch_norm_14),
    Rule(16, frozenset({"RoiAlign"}), _roi_align_16),
    Rule(18, frozenset({"Split"}), _split_count),
    Rule(18, frozenset({f"Reduce{kind}" for kind in _REDUCE}), _axes),
    Rule(20, frozenset({"GridSample"}), _grid_sample_20),
    Rule(20, frozenset({"DFT"}), _dft_20),
    Rule(21, frozenset({"GroupNormalization"}), _group_norm_21),
)
"""In the order of the opsets, so that one change builds on the one before."""
