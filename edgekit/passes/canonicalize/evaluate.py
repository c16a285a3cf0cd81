"""Computes one node on constants: small things with NumPy, the rest with ONNX Runtime."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnx_ir
from numpy.typing import NDArray

from edgekit.passes.canonicalize.rewrite import attribute

logger = logging.getLogger(__name__)

Array = NDArray[Any]
Inputs = Sequence[Array | None]


def evaluate(node: onnx_ir.Node, inputs: Inputs, opset: int) -> list[Array] | None:
    """Outputs of a node for constant inputs.

    Args:
        node: a node without subgraphs.
        inputs: one array per input; None for an input that is left out.
        opset: the opset the node is written in.

    Returns:
        One array per output; None if the node cannot be computed (it is left to the runtime, which
        has the last word on whether the model is valid).
    """
    quick = _NUMPY.get(node.op_type)
    try:
        if quick is not None:
            return [np.asarray(quick(node, inputs))]
        return _onnxruntime(node, inputs, opset)
    except Exception as e:
        logger.debug("%s '%s' is not folded: %s", node.op_type, node.name, e)
        return None


def _onnxruntime(node: onnx_ir.Node, inputs: Inputs, opset: int) -> list[Array]:
    import onnxruntime

    names = [f"i{k}" if array is not None else None for k, array in enumerate(inputs)]
    given = {name: a for name, a in zip(names, inputs, strict=True) if name and a is not None}
    values = {name: _typed(name, array) for name, array in given.items()}
    outputs = [onnx_ir.val(f"o{k}") for k in range(len(node.outputs))]
    copy = onnx_ir.Node(
        node.domain,
        node.op_type,
        [values[name] if name else None for name in names],
        node.attributes.values(),
        outputs=outputs,
    )
    graph = onnx_ir.Graph(
        list(values.values()), outputs, nodes=[copy], opset_imports={"": opset}, name="fold"
    )
    proto = onnx_ir.serde.serialize_model(onnx_ir.Model(graph, ir_version=10))
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(
        proto.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    return [np.asarray(array) for array in session.run(None, given)]


def _typed(name: str, array: Array) -> onnx_ir.Value:
    return onnx_ir.val(name, onnx_ir.DataType.from_numpy(array.dtype), array.shape)


def _given(inputs: Inputs) -> list[Array]:
    return [array for array in inputs if array is not None]


def _ints(array: Array | None) -> tuple[int, ...]:
    return () if array is None else tuple(int(v) for v in array.reshape(-1))


def _reshape(node: onnx_ir.Node, inputs: Inputs) -> Array:
    data, shape = _given(inputs)
    wanted = list(_ints(shape))
    if not attribute(node, "allowzero", 0):
        wanted = [data.shape[i] if size == 0 else size for i, size in enumerate(wanted)]
    return data.reshape(wanted)


def _squeeze(node: onnx_ir.Node, inputs: Inputs) -> Array:
    data = _given(inputs)[0]
    return data.squeeze(_ints(inputs[1])) if len(inputs) > 1 else data.squeeze()


def _unsqueeze(node: onnx_ir.Node, inputs: Inputs) -> Array:
    data, axes = _given(inputs)
    return np.expand_dims(data, _ints(axes))


def _slice(node: onnx_ir.Node, inputs: Inputs) -> Array:
    data, starts, ends = _given(inputs)[:3]
    axes = _ints(inputs[3]) if len(inputs) > 3 and inputs[3] is not None else range(len(starts))
    steps = _ints(inputs[4]) if len(inputs) > 4 else (1,) * len(starts)
    cut = [slice(None)] * data.ndim
    for axis, start, end, step in zip(axes, _ints(starts), _ints(ends), steps, strict=True):
        # A negative step that runs past the first element has no end in NumPy's notation.
        size = data.shape[axis]
        cut[axis] = slice(start, None if step < 0 and end < -size else end, step)
    return data[tuple(cut)]


def _cast(node: onnx_ir.Node, inputs: Inputs) -> Array:
    data = _given(inputs)[0]
    to = onnx_ir.DataType(attribute(node, "to")).numpy()
    if data.dtype.kind not in "fiub" or to.kind not in "fiub":
        raise TypeError(f"a cast from {data.dtype} to {to} is left to the runtime")
    return data.astype(to)


def _div(node: onnx_ir.Node, inputs: Inputs) -> Array:
    a, b = _given(inputs)
    if a.dtype.kind == "f":
        with np.errstate(all="ignore"):
            return np.asarray(a / b)
    if not b.all():
        raise ZeroDivisionError("integer division by zero")
    return np.asarray((a - np.fmod(a, b)) // b)


def _mod(node: onnx_ir.Node, inputs: Inputs) -> Array:
    a, b = _given(inputs)
    if a.dtype.kind != "f" and not b.all():
        raise ZeroDivisionError("integer remainder of a division by zero")
    return np.asarray(np.fmod(a, b) if attribute(node, "fmod", 0) else np.mod(a, b))


def _constant_of_shape(node: onnx_ir.Node, inputs: Inputs) -> Array:
    value = node.attributes.get("value")
    fill = np.zeros(1, np.float32) if value is None else value.as_tensor().numpy()
    return np.full(_ints(inputs[0]), fill.reshape(-1)[0], fill.dtype)


def _expand(node: onnx_ir.Node, inputs: Inputs) -> Array:
    data, shape = _given(inputs)
    return np.broadcast_to(data, np.broadcast_shapes(data.shape, _ints(shape)))


def _gather(node: onnx_ir.Node, inputs: Inputs) -> Array:
    data, indices = _given(inputs)
    return np.take(data, indices, axis=attribute(node, "axis", 0))


def _transpose(node: onnx_ir.Node, inputs: Inputs) -> Array:
    return np.transpose(_given(inputs)[0], attribute(node, "perm"))


def _binary(function: Callable[[Array, Array], Array]) -> Callable[[onnx_ir.Node, Inputs], Array]:
    def run(node: onnx_ir.Node, inputs: Inputs) -> Array:
        with np.errstate(all="ignore"):
            return function(*_given(inputs))

    return run


_NUMPY: dict[str, Callable[[onnx_ir.Node, Inputs], Array]] = {
    "Add": _binary(np.add),
    "Cast": _cast,
    "Concat": lambda node, inputs: np.concatenate(_given(inputs), attribute(node, "axis")),
    "ConstantOfShape": _constant_of_shape,
    "Div": _div,
    "Equal": _binary(np.equal),
    "Expand": _expand,
    "Gather": _gather,
    "Identity": lambda node, inputs: _given(inputs)[0],
    "Mod": _mod,
    "Mul": _binary(np.multiply),
    "Reshape": _reshape,
    "Slice": _slice,
    "Squeeze": _squeeze,
    "Sub": _binary(np.subtract),
    "Transpose": _transpose,
    "Unsqueeze": _unsqueeze,
}
