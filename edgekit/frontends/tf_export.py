"""Turns a TensorFlow function or a Keras model into ONNX.

Needs TensorFlow, so only the worker process imports this, and `load` when it is handed a Keras
model by someone who has imported TensorFlow already.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import onnx_ir
import tensorflow as tf
import tf2onnx
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2
from tf2onnx.tf_loader import fix_freezing_errors_part2

from edgekit.errors import EdgeKitError, Reason, UnsupportedError
from edgekit.frontends.graph_edges import Port, forget_unknown_sizes, name_edges, unique
from edgekit.frontends.tf_graph_safety import refuse_unsafe
from edgekit.frontends.tf_layers import plain_call
from edgekit.frontends.tf_operators import HANDLERS
from edgekit.frontends.tf_recurrent import Carrier, carried
from edgekit.vocabulary import Layout

EXPORT_OPSET = 18
"""The newest opset that tf2onnx writes."""

_IMAGE_RANK = 4
T = TypeVar("T")


@dataclass(frozen=True)
class Exported:
    """An ONNX model with what ONNX does not say about it.

    Attributes:
        ir: the model, its inputs and outputs named as in the source.
        layouts: layout of the 4-D inputs and outputs, by name.
    """

    ir: onnx_ir.Model
    layouts: dict[str, Layout]


def export_keras(model: Any, label: str, example_inputs: Any = None) -> Exported:
    """Export the inference form of a built Keras model (Keras 3 or tf-keras).

    Args:
        model: the model.
        label: what messages call it.
        example_inputs: one array or a list; only for a model that does not know its inputs.

    Raises:
        UnsupportedError: with a reason for each layer or operator without an ONNX form.
    """
    if example_inputs is not None and not getattr(model, "inputs", None):
        _guarded("called", label, lambda: model(example_inputs))
    layers = list(_layers(model))
    _refuse_stateful(layers, label)
    inputs = _inputs(model, label, example_inputs)

    def infer(*tensors: Any) -> list[Any]:
        return list(tf.nest.flatten(model(_pack(model, tensors), training=False)))

    first = any(getattr(layer, "data_format", "") == "channels_first" for layer in layers)
    layout = Layout.NCHW if first else Layout.NHWC
    with carried(layers, plain_call) as carrier:
        return export_function(infer, inputs, _output_names(model), label, layout, carrier)


def export_function(
    function: Callable[..., Sequence[Any]],
    inputs: Sequence[Port],
    outputs: Sequence[str] | None,
    label: str,
    layout: Layout,
    carrier: Carrier | None = None,
) -> Exported:
    """Trace a Python function over tensors and export it.

    Args:
        function: takes one tensor per input, returns a flat list of tensors.
        inputs: what it takes; `dtype` is TensorFlow's.
        outputs: names for what it returns; None names them `output`, `output_1`, ...
        label: what messages call it.
        layout: layout of 4-D inputs and outputs.
        carrier: recurrent layers that the trace carries as markers.

    Raises:
        UnsupportedError: if the function cannot be traced or exported.
    """
    specs = [tf.TensorSpec(p.shape, p.dtype, name=f"edgekit_in_{i}") for i, p in enumerate(inputs)]

    def call(*tensors: Any) -> list[Any]:
        return [tf.identity(t) for t in function(*tensors)]

    traced = tf.function(call, autograph=False)
    with _inlined():
        concrete = _guarded("traced", label, lambda: traced.get_concrete_function(*specs))
    refuse_unsafe([concrete.graph.as_graph_def()], label)
    handlers = {**HANDLERS, **(carrier.handlers() if carrier else {})}
    proto = _guarded("exported to ONNX", label, lambda: _convert(concrete, len(specs), handlers))
    results = [t for t in concrete.outputs if t.dtype != tf.resource]
    names = unique(outputs or [f"output_{i}" if i else "output" for i in range(len(results))])
    ports = [Port(n, _sizes(t)) for n, t in zip(names, results, strict=True)]
    ir = onnx_ir.from_proto(proto)
    forget_unknown_sizes(ir.graph)
    name_edges(
        ir,
        [(f"edgekit_in_{i}", port) for i, port in enumerate(inputs)],
        [(t.name, port) for t, port in zip(results, ports, strict=True)],
    )
    _type_unread(ir, inputs)
    images = [p.name for p in (*inputs, *ports) if p.shape and len(p.shape) == _IMAGE_RANK]
    return Exported(ir, dict.fromkeys(images, layout))


def _convert(concrete: Any, arguments: int, handlers: dict[str, Any]) -> Any:
    """Freeze variables and captured constants, and have tf2onnx convert the rest."""
    frozen = convert_variables_to_constants_v2(
        concrete, lower_control_flow=False, aggressive_inlining=True
    )
    graph = fix_freezing_errors_part2(frozen.graph.as_graph_def(add_shapes=True))
    present = {node.name for node in graph.node}
    names = [t.name for t in concrete.inputs[:arguments] if t.op.name in present]
    results = [t.name for t in concrete.outputs]
    proto, _ = tf2onnx.convert.from_graph_def(
        graph,
        input_names=names,
        output_names=results,
        opset=EXPORT_OPSET,
        tensors_to_rename={name: name.partition(":")[0] for name in names},
        custom_op_handlers=handlers,
    )
    return proto


@contextmanager
def _inlined() -> Iterator[None]:
    """Trace through inner functions, even those meant for XLA (grouped convolutions in Keras)."""
    before = tf.config.functions_run_eagerly()
    tf.config.run_functions_eagerly(True)
    try:
        yield
    finally:
        tf.config.run_functions_eagerly(before)


def _guarded(step: str, label: str, action: Callable[[], T]) -> T:
    try:
        return action()
    except EdgeKitError:
        raise
    except Exception as e:
        # TensorFlow and tf2onnx raise whatever an operator without a conversion leads them to.
        lines = [line for line in str(e).splitlines() if line.strip()] or [""]
        raise UnsupportedError(
            f"{label} cannot be {step}: {type(e).__name__}: {lines[0][:500]}",
            hint="replace the layer it names, or export the model to ONNX or TFLite yourself",
        ) from e


def _layers(model: Any) -> Iterable[Any]:
    flatten = getattr(model, "_flatten_layers", None)
    return flatten(include_self=False, recursive=True) if flatten else ()


def _refuse_stateful(layers: Iterable[Any], label: str) -> None:
    reasons = [
        Reason(
            layer.name,
            type(layer).__name__,
            "keeps its state between calls, which an ONNX graph cannot",
            "build it with stateful=False and make the state an input and an output",
        )
        for layer in layers
        if getattr(layer, "stateful", False) and hasattr(layer, "go_backwards")
    ]
    if reasons:
        raise UnsupportedError(f"{label} has layers that cannot be exported:", reasons=reasons)


def _inputs(model: Any, label: str, example_inputs: Any) -> list[Port]:
    tensors = getattr(model, "inputs", None)
    if not tensors and example_inputs is not None:
        return _example_ports(example_inputs)
    if not tensors:
        raise UnsupportedError(
            f"{label} does not say what its inputs are.",
            hint="call it once on data, pass example_inputs, or build it with keras.Input",
        )
    names = getattr(model, "input_names", None)
    if not names or len(names) != len(tensors):
        names = [t.name for t in tensors]
    named = unique(name.partition(":")[0] for name in names)
    return [
        Port(name, _sizes(t), tf.as_dtype(t.dtype)) for name, t in zip(named, tensors, strict=True)
    ]


def _example_ports(example_inputs: Any) -> list[Port]:
    """Ports for a model without declared inputs: the shapes of an example, the batch free."""
    tensors = [tf.convert_to_tensor(t) for t in tf.nest.flatten(example_inputs)]
    return [
        Port(f"input_{i}" if i else "input", (None, *t.shape[1:]), t.dtype)
        for i, t in enumerate(tensors)
    ]


def _output_names(model: Any) -> list[str] | None:
    functional = getattr(model, "_functional", None) or model
    names = getattr(functional, "output_names", None)
    count = len(getattr(model, "outputs", None) or ())
    return list(names) if names and len(names) == count else None


def _pack(model: Any, tensors: Sequence[Any]) -> Any:
    """The inputs in the structure that the model's `call` takes."""
    functional = getattr(model, "_functional", None) or model
    for attribute in ("_inputs_struct", "_nested_inputs"):
        structure = getattr(functional, attribute, None)
        if structure is not None:
            return tf.nest.pack_sequence_as(structure, list(tensors))
    return tensors[0] if len(tensors) == 1 else list(tensors)


def _sizes(tensor: Any) -> tuple[int | None, ...] | None:
    shape = tf.TensorShape(tensor.shape)
    return None if shape.rank is None else tuple(shape.as_list())


def _type_unread(ir: onnx_ir.Model, inputs: Sequence[Port]) -> None:
    """Give a type to inputs that the exporter had dropped."""
    for value, port in zip(ir.graph.inputs, inputs, strict=True):
        if value.dtype is None:
            value.dtype = onnx_ir.DataType.from_numpy(tf.as_dtype(port.dtype).as_numpy_dtype)
