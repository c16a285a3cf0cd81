"""OpenVINO IR from the canonical graph: float32, float16 weights, or INT8 from Q/DQ."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx_ir

from edgekit.converters.base import Converter, EmitOptions, Emitted, artifact_stem
from edgekit.converters.fp16 import FP16_NOTE, store_fp16
from edgekit.converters.onnx_file import SINGLE_FILE_LIMIT, constant_bytes, portable, write_onnx
from edgekit.converters.openvino.recurrent import separate_layouts
from edgekit.converters.openvino.reductions import lift_reductions
from edgekit.converters.openvino.support import misread
from edgekit.converters.quantized import quantized_nodes
from edgekit.errors import OutputError, Reason, UnsupportedError
from edgekit.ir import Model
from edgekit.ir.model import shape_of
from edgekit.ir.opset import written_opset
from edgekit.packages import import_openvino
from edgekit.vocabulary import Precision, Target

if TYPE_CHECKING:
    from edgekit.passes.quantize.rules import LegalOps

_NO_RULE = re.compile(r"No conversion rule found for operations: ([^\n]+)")
_FAILED = re.compile(r"-- \S+ with a message:\n(.*?)(?=\n-- |\nSummary:|\Z)", re.DOTALL)
_NODE = re.compile(r"<Node\(\w+\): (.*?)>'")
_INT8_TYPES = frozenset({"i8", "u8"})
_HINT = "rewrite it with other ONNX operators, or leave openvino out of the targets"


class OpenVINOConverter(Converter):
    """Reads the graph with OpenVINO's ONNX frontend and saves it as IR."""

    target = Target.OPENVINO

    @property
    def legal_ops(self) -> LegalOps:
        """What may be quantized on OpenVINO."""
        from edgekit.converters.openvino.legal import LEGAL

        return LEGAL

    def _explain(self, model: Model) -> Sequence[Reason]:
        try:
            with _read(model):
                return tuple(misread(model.graph))
        except UnsupportedError as e:
            return (*e.reasons, *misread(model.graph))

    def _emit(self, model: Model, folder: Path, options: EmitOptions) -> Emitted:
        openvino = import_openvino("the openvino converter")
        if wrong := tuple(misread(model.graph)):
            raise self.refuse(model, wrong)
        path = folder / f"{artifact_stem(model, options)}.xml"
        notes: tuple[str, ...] = ()
        found: tuple[Reason, ...] = ()
        if options.precision is Precision.FP16:
            half = store_fp16(model.ir, options.keep_float32)
            model = replace(model, ir=half.model)
            notes = (FP16_NOTE, *map(str, half.float_nodes))
        with _read(model) as read:
            graph = _with_ports(model, read)
            # OpenVINO's own compression would round biases too, and shift every output.
            _save(openvino, graph, path)
            if options.precision is Precision.INT8:
                found, notes = _int8_evidence(model, graph)
        files = (path, path.with_suffix(".bin"))
        return Emitted(path, tuple(f for f in files if f.is_file()), found, notes)


@contextmanager
def _read(model: Model) -> Iterator[Any]:
    """The graph as an OpenVINO model; files behind it live as long as the block."""
    core = import_openvino("the openvino converter").Core()
    with tempfile.TemporaryDirectory(prefix="edgekit-") as scratch:
        ir = lift_reductions(separate_layouts(model.ir))
        if constant_bytes(ir) <= SINGLE_FILE_LIMIT:
            source: str | bytes = onnx_ir.to_proto(portable(ir)).SerializeToString()
        else:
            source = str(write_onnx(ir, Path(scratch) / "model.onnx")[0])
        try:
            graph = core.read_model(model=source)
        except RuntimeError as e:
            raise UnsupportedError(
                f"'{model.name}' cannot be converted to openvino:",
                reasons=reasons_of(model.ir, str(e)),
            ) from e
        yield graph


def _save(openvino: Any, graph: Any, path: Path) -> None:
    try:
        openvino.save_model(graph, str(path), compress_to_fp16=False)
    except RuntimeError as e:
        # The graph was checked when it was read: what fails now is the file.
        raise OutputError(
            f"OpenVINO cannot write '{path.name}': {_last_line(str(e))}",
            hint="free some space, or choose a folder on another disk",
        ) from e


def reasons_of(model: onnx_ir.Model, message: str) -> tuple[Reason, ...]:
    """One reason for each node that a message of OpenVINO's ONNX frontend is about.

    Args:
        model: the graph that was read.
        message: the text of the frontend's error.
    """
    named = set(", ".join(_NO_RULE.findall(message)).split(", "))
    reasons = [
        _reason(node, "OpenVINO has no such operator")
        for node in model.graph
        if _called(node) in named or f"{node.op_type}-{written_opset(model)}" in named
    ]
    nodes = {node.name: node for node in model.graph}
    for section in _FAILED.findall(message):
        match = _NODE.search(section)
        if match and match[1] in nodes:
            reasons.append(_reason(nodes[match[1]], f"OpenVINO says: {_last_line(section)}"))
    name = model.graph.name or "graph"
    return tuple(reasons) or (Reason(name, "graph", f"OpenVINO says: {_last_line(message)}"),)


def _called(node: onnx_ir.Node) -> str:
    return f"{node.domain}.{node.op_type}" if node.domain else node.op_type


def _reason(node: onnx_ir.Node, why: str) -> Reason:
    return Reason(node.name or "", _called(node), why, _HINT)


def _last_line(message: str) -> str:
    lines = [line.strip() for line in message.splitlines() if line.strip()]
    return lines[-1][:_LONGEST] if lines else "nothing"


_LONGEST = 300


def _with_ports(model: Model, graph: Any) -> Any:
    """The graph with the source's inputs and outputs, under their names and nothing but those.

    OpenVINO drops inputs that nothing reads; here they come back.
    """
    openvino = import_openvino()
    parameters = {node.get_friendly_name(): node for node in graph.get_parameters()}
    ordered = [
        parameters.get(value.name) or _parameter(value)
        for value in model.graph.inputs
        if value.name not in model.graph.initializers
    ]
    whole = openvino.Model(graph.get_results(), graph.get_sinks(), ordered, model.name)
    names = {spec.name for spec in (*model.signature.inputs, *model.signature.outputs)}
    for specs, ports in (
        (model.signature.inputs, whole.inputs),
        (model.signature.outputs, whole.outputs),
    ):
        for spec, port in zip(specs, ports, strict=True):
            tensor = port.get_tensor()
            # An output that is an input, or two outputs in one, share a tensor and its names.
            tensor.set_names((tensor.get_names() & names) | {spec.name})
            port.get_node().set_friendly_name(spec.name)
    return whole


def _parameter(value: onnx_ir.Value) -> Any:
    """An input that nothing reads."""
    from openvino import opset13

    dtype = value.dtype.numpy() if value.dtype is not None else np.dtype(np.float32)
    sizes = [d if isinstance(d, int) else -1 for d in shape_of(value)]
    return opset13.parameter(sizes, dtype)


def _int8_evidence(model: Model, graph: Any) -> tuple[tuple[Reason, ...], tuple[str, ...]]:
    """Compile for this CPU and look which nodes the plugin really runs in INT8."""
    expected = quantized_nodes(model.graph)
    core = import_openvino().Core()
    compiled = core.compile_model(graph, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    running = set(_int8_layers(compiled.get_runtime_model()))
    missing = [node for node in expected if node.name not in running]
    reasons = tuple(
        Reason(
            node.name or "",
            node.op_type,
            "OpenVINO's CPU plugin runs it in float on this machine",
            "its kernels for this CPU have no INT8 form of it",
        )
        for node in missing
    )
    done = len(expected) - len(missing)
    return reasons, (f"{done} of {len(expected)} quantized compute nodes run in INT8 on this CPU",)


def _int8_layers(runtime_model: Any) -> Iterator[str]:
    """Names of the original layers behind the executed nodes that are INT8."""
    for op in runtime_model.get_ops():
        info = op.get_rt_info()
        primitive = info["primitiveType"].astype(str).lower()
        precision = info["runtimePrecision"].astype(str).lower()
        if precision in _INT8_TYPES or primitive.endswith("i8"):
            for layer in info["originalLayersNames"].astype(str).split(","):
                yield layer.removesuffix("/WithoutBiases")
                yield layer.partition("/WithoutBiases")[0]
