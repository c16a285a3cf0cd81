"""Finds the element type and shape of every value."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import onnx_ir

from edgekit.passes.base import DEFAULT_DOMAINS, InPlacePass, PassResult
from edgekit.passes.canonicalize.protos import stripped_proto
from edgekit.passes.canonicalize.relate_sizes import relate_sizes
from edgekit.passes.canonicalize.rewrite import dims

Dims = tuple[int | str | None, ...]


class InferShapes(InPlacePass):
    """Runs onnx's shape inference with data propagation, and keeps the names of symbolic sizes.

    ```
    before   y = Conv[pads=[1, 1, 1, 1]](x: float32[N, 3, 32, 32], w: float32[16, 3, 3, 3])
    after    y: float32[N, 16, 32, 32]
    ```

    What a file says about inner values is not believed: exporters leave shapes there that were
    true before an edit. Only values that the standard cannot infer, those made by operators of
    other domains, keep what is said of them. A declared output keeps its declared sizes and names
    where inference knows less.
    """

    def call(self, model: onnx_ir.Model) -> PassResult:
        """Infer the types of all values."""
        symbols = _symbols(model.graph)
        values = list(_inner_values(model))
        before = [(value.type, dims(value)) for value in values]
        declared = {value: dims(value) for value in model.graph.outputs}
        for value in values:
            if _inferable(value):
                value.shape = None
        inferred = _infer(model)
        for value, (dtype, old) in zip(values, before, strict=True):
            new_type, new = inferred.get(value.name or "", (None, None))
            value.type = new_type or dtype
            believed = None if new is not None and _inferable(value) else _keep(old, symbols)
            sizes = _merge(new, believed, symbols, declared=False)
            value.shape = None if sizes is None else onnx_ir.Shape(sizes)
        relate_sizes(model, symbols)
        for value, sizes in declared.items():
            merged = _merge(dims(value), sizes, symbols, declared=True)
            value.shape = None if merged is None else onnx_ir.Shape(merged)
        changed = any(
            (value.type, dims(value)) != state for value, state in zip(values, before, strict=True)
        )
        return PassResult(model, changed)


def _inner_values(model: onnx_ir.Model) -> Iterator[onnx_ir.Value]:
    for graph in model.graphs():
        for node in graph:
            yield from (value for value in node.outputs if value.name)


def _inferable(value: onnx_ir.Value) -> bool:
    node = value.producer()
    return node is not None and node.domain in DEFAULT_DOMAINS


def _symbols(graph: onnx_ir.Graph) -> frozenset[str]:
    sizes = [size for value in graph.inputs for size in dims(value) or ()]
    return frozenset(size for size in sizes if isinstance(size, str))


def _infer(
    model: onnx_ir.Model,
) -> Mapping[str, tuple[onnx_ir.TypeProtocol | None, Dims | None]]:
    from onnx import shape_inference

    proto = shape_inference.infer_shapes(stripped_proto(model), data_prop=True)
    return dict(_types(proto.graph))


def _types(
    graph: object,
) -> Iterator[tuple[str, tuple[onnx_ir.TypeProtocol | None, Dims | None]]]:
    """Types of the inner values and outputs of a GraphProto and of the bodies in it."""
    for info in (*graph.value_info, *graph.output):  # type: ignore[attr-defined]
        if not info.HasField("type"):
            continue
        parsed = onnx_ir.serde.deserialize_type_proto_for_type(info.type)
        shape = onnx_ir.serde.deserialize_type_proto_for_shape(info.type)
        sizes = None if shape is None else tuple(_size(size) for size in shape)
        yield info.name, (parsed, sizes)
    for node in graph.node:  # type: ignore[attr-defined]
        for attr in node.attribute:
            if attr.HasField("g"):
                yield from _types(attr.g)
            for body in attr.graphs:
                yield from _types(body)


def _size(size: int | onnx_ir.SymbolicDim) -> int | str | None:
    if isinstance(size, int):
        return size if size >= 0 else None
    return size.value or None


def _keep(old: Dims | None, symbols: frozenset[str]) -> Dims | None:
    """Of sizes known before, those that do not depend on the numbering of an earlier run."""
    if old is None:
        return None
    return tuple(d if isinstance(d, int) or d in symbols else None for d in old)


def _merge(
    new: Dims | None, old: Dims | None, symbols: frozenset[str], *, declared: bool
) -> Dims | None:
    if new is None or old is None or len(new) != len(old):
        return old if new is None else new
    return tuple(_better(n, o, symbols, declared) for n, o in zip(new, old, strict=True))


def _better(
    new: int | str | None, old: int | str | None, symbols: frozenset[str], declared: bool
) -> int | str | None:
    if isinstance(new, int):
        return new
    if isinstance(old, int) or new is None:
        return old
    if declared and old is not None and new not in symbols:
        return old
    return new
