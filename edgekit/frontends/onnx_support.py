"""Which ONNX operators and types a model may use, with a reason for each that it may not."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import onnx
import onnx.checker
import onnx.defs

from edgekit.errors import ModelFileError, Reason, UnsupportedError

MIN_OPSET = 7
STANDARD = ("", "ai.onnx")

_DOMAINS: Mapping[str, tuple[str, str]] = {
    "ai.onnx.training": ("is for training", "export the model for inference"),
    "ai.onnx.preview.training": ("is for training", "export the model for inference"),
    "ai.onnx.ml": (
        "belongs to classical machine learning, which no edge target runs",
        "convert the neural network alone",
    ),
    "com.microsoft": (
        "is an extension of ONNX Runtime, not standard ONNX",
        "export without ONNX Runtime's graph optimizations, or quantize with EdgeKit instead",
    ),
    "org.pytorch.aten": (
        "is a PyTorch operator without an ONNX form",
        "export with torch.onnx.export(..., dynamo=True)",
    ),
}

_CONTAINERS = frozenset(
    (
        *("SequenceAt", "SequenceConstruct", "SequenceEmpty", "SequenceErase", "SequenceInsert"),
        *("SequenceLength", "SequenceMap", "SplitToSequence", "ConcatFromSequence", "Optional"),
        *("OptionalGetElement", "OptionalHasElement"),
    )
)
_CONTAINER_HINT = "export with plain tensors as inputs and outputs"


def check_opset(model: onnx.ModelProto, label: str) -> int:
    """The opset of the standard domain.

    Raises:
        ModelFileError: if the model names none.
        UnsupportedError: if it is too old or too new.
    """
    versions = [i.version for i in model.opset_import if i.domain in STANDARD]
    if not versions:
        raise ModelFileError(f"{label} does not say which ONNX opset it uses.")
    opset, newest = int(max(versions)), onnx.defs.onnx_opset_version()
    if opset < MIN_OPSET:
        raise UnsupportedError(
            f"{label} uses ONNX opset {opset}; opset {MIN_OPSET} is the oldest that is read.",
            hint="export it again with a newer opset, or run onnx.version_converter on it",
        )
    if opset > newest:
        raise UnsupportedError(
            f"{label} uses ONNX opset {opset}; the installed onnx knows up to {newest}.",
            hint=f"pip install --upgrade onnx, or export with opset {newest}",
        )
    return opset


def check_operators(model: onnx.ModelProto, label: str) -> None:
    """Refuse operators that have no standard meaning, all at once.

    Raises:
        UnsupportedError: with a reason for each node.
    """
    functions = {(f.domain, f.name) for f in model.functions}
    versions = {i.domain: i.version for i in model.opset_import}
    nodes = [n for n, _ in walk(model.graph)]
    nodes += [n for f in model.functions for node in f.node for n in _within(node)]
    reasons = [r for n in nodes if (r := _operator_reason(n, functions, versions))]
    reasons += [r for value in model.graph.input if (r := _type_reason(value, "input"))]
    reasons += [r for value in model.graph.output if (r := _type_reason(value, "output"))]
    reasons += [
        Reason(s.values.name, "SparseTensor", "sparse constants are not read", "store it dense")
        for s in model.graph.sparse_initializer
    ]
    if model.training_info:
        reasons.append(Reason(label, "TrainingInfo", *_DOMAINS["ai.onnx.training"]))
    if reasons:
        raise UnsupportedError(f"{label} uses what EdgeKit cannot read:", reasons=reasons)


def check_nodes(model: onnx.ModelProto, label: str) -> None:
    """Check each node against its operator's schema: number of inputs, attributes, their types.

    Raises:
        ModelFileError: naming the first node that breaks its schema.
    """
    context = onnx.checker.C.CheckerContext()
    context.ir_version = model.ir_version
    context.opset_imports = {i.domain: i.version for i in model.opset_import}
    for node, has_graphs in walk(model.graph):
        if has_graphs or node.domain not in STANDARD:
            continue
        try:
            onnx.checker.check_node(node, context)
        except onnx.checker.ValidationError as e:
            raise ModelFileError(
                f"{label} is not valid ONNX: {node.op_type} '{node_name(node)}': {_first_line(e)}",
                hint="onnx.checker.check_model says more",
            ) from e


def node_name(node: onnx.NodeProto) -> str:
    """The node's name, or that of its first output when it has none."""
    return node.name or next((o for o in node.output if o), node.op_type)


def walk(graph: onnx.GraphProto) -> Iterator[tuple[onnx.NodeProto, bool]]:
    """Every node of a graph and its subgraphs, with whether it has subgraphs itself."""
    for node in graph.node:
        for inner in _within(node):
            yield inner, any(True for _ in _subgraphs(inner))


def _within(node: onnx.NodeProto) -> Iterator[onnx.NodeProto]:
    yield node
    for graph in _subgraphs(node):
        for inner in graph.node:
            yield from _within(inner)


def _subgraphs(node: onnx.NodeProto) -> Iterator[onnx.GraphProto]:
    for attribute in node.attribute:
        if attribute.HasField("g"):
            yield attribute.g
        yield from attribute.graphs


def _operator_reason(
    node: onnx.NodeProto, functions: set[tuple[str, str]], versions: Mapping[str, int]
) -> Reason | None:
    name, op, domain = node_name(node), node.op_type, node.domain
    if (domain, op) in functions:
        return None
    if domain in _DOMAINS:
        return Reason(name, f"{domain}.{op}", *_DOMAINS[domain])
    if domain not in STANDARD:
        hint = "replace it by standard operators before export"
        return Reason(name, f"{domain}.{op}", f"custom operator of the domain '{domain}'", hint)
    if op in _CONTAINERS:
        return Reason(name, op, "works on sequences or optionals of tensors", _CONTAINER_HINT)
    version = versions.get("", versions.get("ai.onnx", 0))
    if not onnx.defs.has(op):
        hint = "the exporter had no ONNX form for it; replace it in the source model"
        return Reason(name, op, "is not an ONNX operator", hint)
    if any(a.name == "training_mode" and a.i for a in node.attribute):
        return Reason(name, op, *_DOMAINS["ai.onnx.training"])
    if not onnx.defs.has(op, version, ""):
        return Reason(name, op, f"does not exist in opset {version}", "export with a newer opset")
    return None


def _type_reason(value: onnx.ValueInfoProto, kind: str) -> Reason | None:
    which = value.type.WhichOneof("value")
    if which in ("tensor_type", None):
        if value.type.tensor_type.elem_type == onnx.TensorProto.STRING:
            return Reason(value.name, kind, "is text", "do the text processing outside the model")
        return None
    word = which.removesuffix("_type").replace("_", " ")
    return Reason(value.name, kind, f"is a {word}, not a tensor", _CONTAINER_HINT)


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
