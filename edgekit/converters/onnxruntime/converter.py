"""ONNX files for ONNX Runtime: float32, float16 weights, or INT8 as Q/DQ.

float16 means that the weights are stored in float16 and computed with in float32: the CPU
provider has few float16 kernels and would surround every other node with Casts, which is slower
and less exact than float32, and no smaller.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import onnx_ir

from edgekit.converters.base import Converter, EmitOptions, Emitted, artifact_stem
from edgekit.converters.fp16 import FP16_NOTE, store_fp16
from edgekit.converters.onnx_file import write_onnx
from edgekit.errors import Reason, UnsupportedError
from edgekit.ir import Model, Oracle
from edgekit.vocabulary import Precision, Target

if TYPE_CHECKING:
    from edgekit.passes.quantize.rules import LegalOps

DOMAINS = frozenset({"", "ai.onnx", "ai.onnx.ml", "com.microsoft"})
"""Operator domains that the CPU provider implements, at least in part."""

_NODE_NAMED = re.compile(r"(?:node with name '|Node \(|node:? ?name[: ]+')([^')]+)['\)]", re.I)


class OnnxRuntimeConverter(Converter):
    """Writes the canonical graph as it is; ONNX is what ONNX Runtime runs."""

    target = Target.ONNXRUNTIME

    @property
    def legal_ops(self) -> LegalOps:
        """What may be quantized on ONNX Runtime."""
        from edgekit.converters.onnxruntime.legal import LEGAL

        return LEGAL

    def _explain(self, model: Model) -> Sequence[Reason]:
        strangers = _strangers(model.graph)
        if strangers:
            return strangers
        try:
            Oracle(model.ir, threads=1).close()
        except UnsupportedError as e:
            return (reason_of(model.ir, e.message),)
        return ()

    def _emit(self, model: Model, folder: Path, options: EmitOptions) -> Emitted:
        if reasons := _strangers(model.graph):
            raise self.refuse(model, reasons)
        path = folder / f"{artifact_stem(model, options)}.onnx"
        if options.precision is not Precision.FP16:
            return Emitted(path, write_onnx(model.ir, path))
        half = store_fp16(model.ir, options.keep_float32)
        notes = (FP16_NOTE, *map(str, half.float_nodes))
        return Emitted(path, write_onnx(half.model, path), notes=notes)


def _strangers(graph: onnx_ir.Graph) -> tuple[Reason, ...]:
    return tuple(
        Reason(
            node.name or "",
            f"{node.domain}.{node.op_type}",
            "a custom operator, which ONNX Runtime does not know",
            "replace it by standard ONNX operators when exporting",
        )
        for node in graph
        if node.domain not in DOMAINS
    )


def reason_of(model: onnx_ir.Model, message: str) -> Reason:
    """The reason in an error message of ONNX Runtime, with its node where it names one."""
    known = {node.name: node.op_type for node in model.graph}
    words = " ".join(message.split())
    for name in _NODE_NAMED.findall(message):
        if name in known:
            return Reason(name, known[name], words)
    return Reason(model.graph.name or "graph", "graph", words)
