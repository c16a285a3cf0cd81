"""Strongly typed ONNX for TensorRT, with its build recipe and, where possible, an RTX engine."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import onnx_ir

from edgekit.converters.base import Converter, EmitOptions, Emitted, artifact_stem
from edgekit.converters.fp16 import compute_fp16
from edgekit.converters.onnx_file import write_onnx
from edgekit.converters.quantized import quantized_nodes
from edgekit.converters.tensorrt.build import (
    RTX_SUFFIX,
    BuildError,
    build_rtx_engine,
    parse_with_rtx,
)
from edgekit.converters.tensorrt.lint import Rule, Violation, lint
from edgekit.converters.tensorrt.one_step_lstm import spell_out_single_steps
from edgekit.converters.tensorrt.recipe import BuildRecipe, profiles_of
from edgekit.converters.tensorrt.spell_out import spell_out
from edgekit.converters.tensorrt.support import unsupported
from edgekit.converters.tensorrt.vectors import widen_vectors
from edgekit.errors import Reason
from edgekit.ir import Model
from edgekit.packages import version_of
from edgekit.vocabulary import Precision, Target

if TYPE_CHECKING:
    from edgekit.passes.quantize.rules import LegalOps

BUILD_JSON = "build.json"


class TensorRTConverter(Converter):
    """Writes ONNX whose types TensorRT follows to the letter.

    Args:
        rtx: whether to build a TensorRT-RTX engine too, and so prove the INT8 layers; None does
            it where TensorRT-RTX is installed (seconds for most models).
    """

    target = Target.TENSORRT

    def __init__(self, rtx: bool | None = None) -> None:
        self._rtx = bool(version_of("tensorrt-rtx")) if rtx is None else rtx

    @property
    def legal_ops(self) -> LegalOps:
        """What may be quantized on TensorRT."""
        from edgekit.converters.tensorrt.legal import LEGAL

        return LEGAL

    def _explain(self, model: Model) -> Sequence[Reason]:
        reasons = tuple(unsupported(model.graph))
        if reasons or not self._rtx:
            return reasons
        graph = model.ir.clone()
        widen_vectors(graph)
        with tempfile.TemporaryDirectory(prefix="edgekit-") as scratch:
            path = write_onnx(graph, Path(scratch) / "model.onnx")[0]
            try:
                return parse_with_rtx(path)
            except BuildError as e:
                return (Reason(model.graph.name or "graph", "graph", e.message),)

    def _emit(self, model: Model, folder: Path, options: EmitOptions) -> Emitted:
        if reasons := tuple(unsupported(model.graph)):
            raise self.refuse(model, reasons)
        graph, kept = self._typed(model, options)
        _name_nodes(graph.graph)
        profiles = profiles_of(v for v in graph.graph.inputs if v.const_value is None)
        if violations := lint(graph, profiles):
            raise self.refuse(model, _broken(violations, options.precision))
        path = folder / f"{artifact_stem(model, options)}.onnx"
        files = write_onnx(graph, path)
        expected = {node.name or "": node.op_type for node in quantized_nodes(graph.graph)}
        recipe = BuildRecipe(path.name, str(options.precision), profiles, tuple(expected))
        recipe.save(folder / BUILD_JSON)
        emitted = Emitted(path, (), (), (_NOT_BUILT,))
        if self._rtx:
            emitted = self._built(path, recipe, expected)
        return replace(
            emitted,
            files=(*files, folder / BUILD_JSON, *emitted.files),
            float_nodes=(*kept, *emitted.float_nodes),
        )

    @staticmethod
    def _typed(model: Model, options: EmitOptions) -> tuple[onnx_ir.Model, tuple[Reason, ...]]:
        graph = model.ir.clone()
        spell_out_single_steps(graph)
        widen_vectors(graph)
        if options.precision is not Precision.INT8:
            spell_out(graph)
        if options.precision is not Precision.FP16:
            return graph, ()
        half = compute_fp16(graph, options.keep_float32)
        return half.model, half.float_nodes

    @staticmethod
    def _built(path: Path, recipe: BuildRecipe, ops: Mapping[str, str]) -> Emitted:
        """Build the RTX engine; where that fails, the ONNX file is as good as before."""
        out = path.with_suffix(RTX_SUFFIX)
        try:
            engine = build_rtx_engine(path, recipe, out)
        except BuildError as e:
            return Emitted(path, (), (), (f"no RTX engine: {e.message}",))
        recipe.with_engine(engine).save(path.with_name(BUILD_JSON))
        missing = tuple(
            Reason(name, ops[name], _IN_FLOAT, _IN_FLOAT_HINT) for name in engine.int8_missing
        )
        notes = [f"'{engine.file}' by {engine.builder} is for {engine.serves}; it is no plan"]
        if recipe.int8_layers:
            count = f"{len(engine.int8_proven)} of {len(recipe.int8_layers)}"
            notes.append(f"{count} quantized nodes are INT8 layers, by {engine.builder}'s log")
        return Emitted(path, (out,), missing, tuple(notes))


_NOT_BUILT = "not built: no engine was made, and which layers are INT8 is not proven"
_IN_FLOAT = "TensorRT-RTX's build log shows it as a float layer"
_IN_FLOAT_HINT = "leave it out of the quantization plan, since Q/DQ around it only cost time"


def _broken(violations: Sequence[Violation], precision: Precision) -> tuple[Reason, ...]:
    """One reason per violation, or one for all where the source's own quantization is at fault.

    EdgeKit's pairs for TensorRT are symmetric, so that zero points are the source's.
    """
    shifted = [v for v in violations if v.rule is Rule.SYMMETRIC]
    if precision is Precision.INT8 and shifted:
        why = f"{_ASYMMETRIC} ({len(shifted)} nodes, this one first)"
        return (Reason(shifted[0].node, shifted[0].op, why, _ASYMMETRIC_HINT),)
    return tuple(Reason(v.node, v.op, f"{v.rule}: {v.message}") for v in violations)


_ASYMMETRIC = (
    "the source is already quantized asymmetrically, with zero points other than 0, "
    "which TensorRT does not take"
)
_ASYMMETRIC_HINT = "convert the float model it was made from, or use -p fp32 or -p fp16"


def _name_nodes(graph: onnx_ir.Graph) -> None:
    """Give every node a name of its own, by which the build log can be searched."""
    taken: set[str] = set()
    for index, node in enumerate(graph):
        name = node.name or f"{node.op_type}_{index}"
        node.name = name if name not in taken else f"{name}_{index}"
        taken.add(node.name)
