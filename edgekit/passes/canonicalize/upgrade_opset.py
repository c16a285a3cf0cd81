"""Brings a model of any opset from 7 on to the opset of the IR."""

from __future__ import annotations

import onnx_ir

from edgekit.errors import UnsupportedError
from edgekit.ir.model import OPSET
from edgekit.passes.base import DEFAULT_DOMAINS, InPlacePass, PassResult, nodes_of
from edgekit.passes.canonicalize.infer_shapes import InferShapes
from edgekit.passes.canonicalize.lift_constants import LiftConstants
from edgekit.passes.canonicalize.protos import SMALL, stripped_proto
from edgekit.passes.canonicalize.rewrite import attribute
from edgekit.passes.canonicalize.upgrade_rules import RULES, Rule, refuse

OLDEST = 7
"""Opset 7 brought broadcasting as it is today; models before it have other rules everywhere."""

IR_VERSION = 10
"""The version of the ONNX file format that belongs to opset 21."""


class UpgradeOpset(InPlacePass):
    """Rewrites what changed its meaning, then declares opset 21.

    ```
    before (opset 9)   y = Upsample[mode=nearest](x, scales)
    after  (opset 21)  y = Resize[mode=nearest, asymmetric, floor](x, , scales)
    ```

    Models above opset 21 come down: operators that are newer are replaced by the body that the
    ONNX standard gives for them; the others only gained types.

    Raises:
        UnsupportedError: for opsets before 7, and for nodes that opset 21 cannot express.
    """

    def call(self, model: onnx_ir.Model) -> PassResult:
        """Bring the model to opset 21."""
        version = _version(model.graph.opset_imports)
        others = {
            domain: number
            for domain, number in model.graph.opset_imports.items()
            if domain not in DEFAULT_DOMAINS
        }
        model.graph.opset_imports.pop("ai.onnx", None)
        model.graph.opset_imports[""] = version
        modified = version != OPSET or model.ir_version != IR_VERSION
        _normalize_nodes(model)
        if version < OPSET:
            _upgrade(model, version)
        elif version > OPSET:
            _downgrade(model)
        model.graph.opset_imports.clear()  # the graph may be another one after a downgrade
        model.graph.opset_imports.update({"": OPSET, **others})
        model.ir_version = IR_VERSION
        return PassResult(model, modified)


def _version(imports: dict[str, int]) -> int:
    versions = [imports[alias] for alias in DEFAULT_DOMAINS if alias in imports]
    version = max(versions, default=OPSET)
    if version < OLDEST:
        raise UnsupportedError(
            f"the model is of ONNX opset {version}; EdgeKit reads opset {OLDEST} and up.",
            hint="export it again, or convert it with onnx.version_converter",
        )
    return version


def _normalize_nodes(model: onnx_ir.Model) -> None:
    for graph in model.graphs():
        for node in graph:
            node.version = None
            if node.domain == "ai.onnx":
                node.domain = ""


def _upgrade(model: onnx_ir.Model, version: int) -> None:
    rules = [rule for rule in RULES if rule.since > version and _applies(model, rule)]
    if not rules:
        return
    InferShapes()(model)
    for rule in rules:
        for node in nodes_of(model, rule.ops):
            rule.apply(node)


def _applies(model: onnx_ir.Model, rule: Rule) -> bool:
    return any(True for _ in nodes_of(model, rule.ops))


def _downgrade(model: onnx_ir.Model) -> None:
    from onnx import defs

    newer = {
        node.op_type
        for graph in model.graphs()
        for node in graph
        if node.domain == "" and not _known(node.op_type)
    }
    if newer:
        _inline_schema_functions(model, newer)
    for graph in model.graphs():
        for node in graph:
            if node.domain != "":
                continue
            if not _known(node.op_type):
                raise refuse(node, "is newer than opset 21", "export with opset 21 or lower")
            _drop_newer_attributes(node, defs.get_schema(node.op_type, OPSET, ""))


def _known(op_type: str) -> bool:
    from onnx import defs

    return defs.has(op_type, max_inclusive_version=OPSET) if op_type else False


def _drop_newer_attributes(node: onnx_ir.Node, schema: object) -> None:
    known = getattr(schema, "attributes", {})
    for name in tuple(node.attributes):
        if name in known:
            continue
        if attribute(node, name):
            raise refuse(node, f"its attribute '{name}' is newer than opset 21")
        node.attributes.pop(name)


def _inline_schema_functions(model: onnx_ir.Model, op_types: set[str]) -> None:
    """Replace operators by the bodies that the standard defines them with."""
    from onnx import inliner

    weights = {
        name: value.const_value
        for name, value in model.graph.initializers.items()
        if value.const_value is not None and value.const_value.nbytes > SMALL
    }
    for node in nodes_of(model, frozenset(op_types)):
        _add_defaults(node)
    InferShapes()(model)
    inlined = onnx_ir.serde.deserialize_model(
        inliner.inline_selected_functions(
            stripped_proto(model), [("", op) for op in op_types], inline_schema_functions=True
        )
    )
    graph = inlined.graph
    kept = [value for value in graph.inputs if value.name not in weights]
    restored = [value for value in graph.inputs if value.name in weights]
    graph.inputs.clear()
    graph.inputs.extend(kept)
    for value in restored:
        value.const_value = weights[value.name or ""]
        graph.register_initializer(value)
    model.graph = graph
    LiftConstants()(model)


def _add_defaults(node: onnx_ir.Node) -> None:
    """Write out the default attributes, which the bodies refer to."""
    from onnx import defs

    for name, attr in defs.get_schema(node.op_type).attributes.items():
        if name not in node.attributes and attr.default_value.name:
            node.attributes[name] = onnx_ir.serde.deserialize_attribute(attr.default_value)
