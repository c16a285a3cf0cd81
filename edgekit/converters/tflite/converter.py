"""The TFLite target: canonical IR in, `.tflite` file out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import onnx_ir

from edgekit.converters.base import Converter, EmitOptions, Emitted, artifact_stem
from edgekit.converters.tflite.fuse import fuse_activations
from edgekit.converters.tflite.graph import Graph, Tensor
from edgekit.converters.tflite.layout import channels_last
from edgekit.converters.tflite.lowering import CannotLower, Lowering, dtype_of, shape_of
from edgekit.converters.tflite.table import LOWERINGS
from edgekit.errors import Reason
from edgekit.ir import Model
from edgekit.passes.canonicalize.transposes import SinkTransposes
from edgekit.vocabulary import Target

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
        return lower_graph(model)[1]

    def _emit(self, model: Model, folder: Path, options: EmitOptions) -> Emitted:
        from edgekit.converters.tflite.writer import serialize

        graph, reasons = lower_graph(model)
        if reasons:
            raise self.refuse(model, reasons)
        path = folder / f"{artifact_stem(model, options)}.tflite"
        path.write_bytes(serialize(graph, description="edgekit", metadata={}))
        return Emitted(path, (path,))


def prepare(graph: onnx_ir.Model) -> None:
    """Bring a working copy of a canonical graph to the form that lowerings expect, in place."""
    channels_last(graph)
    SinkTransposes()(graph)
    fuse_activations(graph)


def lower_graph(model: Model) -> tuple[Graph, tuple[Reason, ...]]:
    """Lower every node; the graph is complete only when there are no reasons."""
    working = model.clone()
    prepare(working.ir)
    ctx = Lowering(Graph(model.name))
    for value in working.graph.inputs:
        tensor = Tensor(value.name or "", dtype_of(value), shape_of(value))
        ctx.bind(value, tensor)
        ctx.graph.inputs.append((tensor.name, tensor))
    reasons: list[Reason] = []
    for node in working.graph:
        function = LOWERINGS.get(node.op_type)
        try:
            if function is None:
                raise CannotLower("TFLite has no lowering for this operator")
            ctx.lower(node, function)
        except CannotLower as e:
            reasons.append(Reason(node.name or "", node.op_type, e.reason, e.hint))
            for index in range(len(node.outputs)):
                ctx.output(node, index)
    for value in working.graph.outputs:
        ctx.graph.outputs.append((value.name or "", ctx.tensor(value)))
    return ctx.graph, tuple(reasons)
