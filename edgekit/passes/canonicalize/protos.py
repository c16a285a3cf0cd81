"""Runs onnx's own tools, which work on protobuf, without ever serializing big constants."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import onnx_ir

if TYPE_CHECKING:
    import onnx

SMALL = 1000
"""Bytes up to which a constant is serialized: enough for shapes, axes and sizes."""


def stripped_proto(model: onnx_ir.Model) -> onnx.ModelProto:
    """The model as protobuf, with its big constants turned into inputs.

    Protobuf stops at 2 GB, and the tools only want to know the shape of a weight anyway.
    """
    with _without_big_constants(model):
        proto = onnx_ir.serde.serialize_model(model)
    _declare_scalars(model, proto)
    return proto


def _declare_scalars(model: onnx_ir.Model, proto: onnx.ModelProto) -> None:
    """Say of scalars that their shape is known: `serialize_model` leaves an empty shape out."""
    scalars = {
        value.name
        for value in (*model.graph.inputs, *model.graph.initializers.values())
        if value.shape is not None and len(value.shape) == 0
    }
    for info in (*proto.graph.input, *proto.graph.value_info):
        if info.name in scalars and info.type.HasField("tensor_type"):
            info.type.tensor_type.shape.SetInParent()


@contextmanager
def _without_big_constants(model: onnx_ir.Model) -> Iterator[None]:
    graph = model.graph
    inputs = list(graph.inputs)
    present = set(inputs)
    order = tuple(graph.initializers.values())
    tensors = [value.const_value for value in order]
    try:
        for value in order:
            tensor = value.const_value
            if tensor is None or tensor.nbytes <= SMALL:
                continue
            if value not in present:
                graph.inputs.append(value)
            graph.initializers.pop(value.name or "")
            value.const_value = None
        yield
    finally:
        graph.inputs.clear()
        graph.inputs.extend(inputs)
        graph.initializers.clear()
        for value, tensor in zip(order, tensors, strict=True):
            value.const_value = tensor
            graph.initializers.add(value)
