"""The TFLite target: canonical IR in, `.tflite` file out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import onnx_ir

from edgekit.converters.base import Converter, EmitOptions, Emitted, artifact_stem
from edgekit.converters.fp16 import FP16_NOTE
from edgekit.converters.tflite.einsum import write_out_einsums
from edgekit.converters.tflite.fuse import fuse_activations, reorder_channels
from edgekit.converters.tflite.graph import Graph, Operator, Tensor
from edgekit.converters.tflite.half import store_half
from edgekit.converters.tflite.layout import channels_last
from edgekit.converters.tflite.lowering import CannotLower, Lowering, dtype_of, shape_of
from edgekit.converters.tflite.metadata import metadata_of
from edgekit.converters.tflite.quantized import absorb
from edgekit.converters.tflite.table import LOWERINGS
from edgekit.converters.tflite.tidy import tidy
from edgekit.errors import EdgeKitError, Reason
from edgekit.ir import Model
from edgekit.passes.base import DEFAULT_DOMAINS
from edgekit.passes.canonicalize.transposes import NHWC_DOMAIN, SinkTransposes
from edgekit.vocabulary import Precision, Target

if TYPE_CHECKING:
    from edgekit.passes.quantize.rules import LegalOps


class TFLiteConverter(Converter):
    """Writes TFLite flatbuffers without TensorFlow."""

    target = Target.TFLITE

    @property
    def legal_ops(self) -> LegalOps:
        """TFLite's 8-bit quantization specification."""
        from edgekit.converters.tflite.legal import LEGAL

        return LEGAL

    def _explain(self, model: Model) -> Sequence[Reason]:
        return lower_graph(model).reasons

    def _emit(self, model: Model, folder: Path, options: EmitOptions) -> Emitted:
        from edgekit.converters.tflite.writer import write

        lowered = lower_graph(model)
        if lowered.reasons:
            raise self.refuse(model, lowered.reasons)
        notes: tuple[str, ...] = ()
        if options.precision is Precision.FP16:
            store_half(lowered.graph, options.keep_float32)
            notes = (FP16_NOTE,)
        path = folder / f"{artifact_stem(model, options)}.tflite"
        description = f"{model.name} ({options.precision}), written by edgekit"
        metadata = metadata_of(model, lowered.graph, options)
        write(lowered.graph, path, description=description, metadata=metadata)
        return Emitted(path, (path,), lowered.float_nodes, notes)


_DOMAINS = frozenset({*DEFAULT_DOMAINS, NHWC_DOMAIN})
"""Domains whose operators mean what their lowering takes them for."""


@dataclass(frozen=True)
class Lowered:
    """What became of a graph.

    Attributes:
        graph: the operators; complete only when there are no `reasons`.
        reasons: nodes that cannot be lowered.
        float_nodes: nodes of a quantized graph that stay in float.
    """

    graph: Graph
    reasons: tuple[Reason, ...]
    float_nodes: tuple[Reason, ...]


def prepare(graph: onnx_ir.Model) -> None:
    """Bring a working copy of a canonical graph to the form that lowerings expect, in place."""
    write_out_einsums(graph)
    channels_last(graph)
    SinkTransposes()(graph)
    fuse_activations(graph)
    reorder_channels(graph)


def lower_graph(model: Model) -> Lowered:
    """Lower every node."""
    working = model.clone()
    prepare(working.ir)
    ctx = Lowering(Graph(model.name))
    reasons: list[Reason] = []
    for value in working.graph.inputs:
        name = value.name or ""
        try:
            tensor = Tensor(name, dtype_of(value), shape_of(value))
        except CannotLower as e:
            reasons.append(Reason(name, "input", e.reason, e.hint))
            tensor = Tensor(name, "float32", ())
        ctx.bind(value, tensor)
        ctx.graph.inputs.append((name, tensor))
    float_nodes = absorb(working.ir, ctx)
    for node in working.graph:
        function = LOWERINGS.get(node.op_type) if node.domain in _DOMAINS else None
        try:
            if function is None:
                raise CannotLower("TFLite has no lowering for this operator")
            before = len(ctx.graph.operators)
            ctx.lower(node, function)
            _check_doubles(ctx.graph.operators[before:])
        except CannotLower as e:
            reasons.append(Reason(node.name or "", node.op_type, e.reason, e.hint))
            _stand_in(ctx, node)
        except (LookupError, TypeError, ValueError) as e:
            raise EdgeKitError(f"lowering {node.op_type} '{node.name}' failed: {e}") from e
    for value in working.graph.outputs:
        ctx.graph.outputs.append((value.name or "", ctx.tensor(value)))
    tidy(ctx.graph)
    return Lowered(ctx.graph, tuple(reasons), float_nodes)


_TAKES_DOUBLES = frozenset(
    {"BROADCAST_TO", "CAST", "RESHAPE", "SHAPE", "SLICE", "STRIDED_SLICE", "TILE", "TRANSPOSE"}
)
"""Operators with a float64 kernel, as found by running them; all others lack one."""


def _check_doubles(operators: Sequence[Operator]) -> None:
    """Refuse operators that the runtime would refuse for their type."""
    for op in operators:
        tensors = [t for t in (*op.inputs, *op.outputs) if t is not None and t.dtype == "float64"]
        if tensors and op.builtin not in _TAKES_DOUBLES:
            raise CannotLower(
                f"{op.builtin} has no float64 kernel ('{tensors[0].name}')",
                "cast the model to float32",
            )


def _stand_in(ctx: Lowering, node: onnx_ir.Node) -> None:
    """Give a node that was not lowered some outputs, so that those behind it can be looked at."""
    for index, value in enumerate(node.outputs):
        try:
            ctx.output(node, index)
        except CannotLower:
            ctx.bind(value, Tensor(value.name or "unknown", "float32", ()))
