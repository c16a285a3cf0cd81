"""Spells out ONNX Runtime's own operators in standard ONNX, where they are just that in short.

Graphs saved by ONNX Runtime's optimizer and quantizer hold operators of the domain `com.microsoft`.
The meaning of each one here is ONNX Runtime's documentation of it (ContribOperators).
"""

from __future__ import annotations

from collections.abc import Mapping

import onnx
import onnx.helper
import onnx.parser

DOMAIN = "com.microsoft"

_BINARY = """(A, as, az, B, bs, bz, ys, yz) => (Y) {
    a = DequantizeLinear(A, as, az)  b = DequantizeLinear(B, bs, bz)
    y = %s(a, b)  Y = QuantizeLinear(y, ys, yz) }"""
_UNARY = """(X, xs, xz, ys, yz) => (Y) {
    x = DequantizeLinear(X, xs, xz)  y = %s(x)  Y = QuantizeLinear(y, ys, yz) }"""
_GELU = """ root = Constant<value = float {1.4142135}>()  half = Constant<value = float {0.5}>()
    one = Constant<value = float {1.0}>()
    r = CastLike(root, x)  h = CastLike(half, x)  o = CastLike(one, x)
    d = Div(x, r)  e = Erf(d)  s = Add(e, o)  p = Mul(x, s)  Y = Mul(p, h) }"""
_TANH_GELU = """ c0 = Constant<value = float {0.044715}>()  half = Constant<value = float {0.5}>()
    c1 = Constant<value = float {0.7978846}>()  one = Constant<value = float {1.0}>()
    a = CastLike(c0, x)  b = CastLike(c1, x)  h = CastLike(half, x)  o = CastLike(one, x)
    q = Mul(x, x)  k = Mul(q, x)  l = Mul(k, a)  m = Add(x, l)  n = Mul(m, b)
    t = Tanh(n)  s = Add(t, o)  p = Mul(x, s)  Y = Mul(p, h) }"""

_BODIES: Mapping[str, str] = {
    "QLinearAdd": _BINARY % "Add",
    "QLinearMul": _BINARY % "Mul",
    "QLinearSigmoid": _UNARY % "Sigmoid",
    "QLinearLeakyRelu": "<alpha> " + _UNARY % "LeakyRelu<alpha = @alpha>",
    "QLinearGlobalAveragePool": _UNARY % "GlobalAveragePool",
    "Gelu": "(X) => (Y) { x = Identity(X)" + _GELU,
    "BiasGelu": "(A, B) => (Y) { x = Add(A, B)" + _GELU,
    "FastGelu": "(X) => (Y) { x = Identity(X)" + _TANH_GELU,
    "QuickGelu": "<alpha: float = 1.702> (X) => (Y) {"
    " c = Constant<value_float = @alpha>()  a = CastLike(c, X)"
    " m = Mul(X, a)  s = Sigmoid(m)  Y = Mul(X, s) }",
}

_FUSED: Mapping[str, str] = {"FusedConv": "Conv", "FusedGemm": "Gemm"}
_ACTIVATIONS: Mapping[str, tuple[str, ...]] = {
    "": (),
    "Relu": (),
    "Sigmoid": (),
    "Tanh": (),
    "LeakyRelu": ("alpha",),
    "HardSigmoid": ("alpha", "beta"),
}
"""Activations of fused operators, with the attributes that their parameters are."""

_OPERANDS = 3
"""Inputs of a fused operator that are not a second summand."""


def spell_out(model: onnx.ModelProto) -> None:
    """Replace the operators of ONNX Runtime that are known here, in place.

    Fused convolutions and products become two nodes; the others become local functions, which
    inlining resolves. Operators with options that standard ONNX has not are left as they are.

    Args:
        model: the model; its main graph is changed.
    """
    if not any(node.domain == DOMAIN for node in model.graph.node):
        return
    nodes = [made for node in model.graph.node for made in _unfused(node)]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    needed = {n.op_type for n in nodes if n.domain == DOMAIN and _has_body(n)}
    known = {f.name for f in model.functions if f.domain == DOMAIN}
    opset = next((i.version for i in model.opset_import if i.domain in ("", "ai.onnx")), 0)
    for name in sorted(needed - known):
        head = f'<opset_import: ["" : {opset}], domain: "{DOMAIN}">'
        model.functions.append(onnx.parser.parse_function(f"{head} {name} {_BODIES[name]}"))


def _has_body(node: onnx.NodeProto) -> bool:
    if any(a.name in ("channels_last", "nhwc") and a.i for a in node.attribute):
        return False
    bias = node.op_type == "FastGelu" and len(node.input) > 1
    return node.op_type in _BODIES and not bias


def _unfused(node: onnx.NodeProto) -> list[onnx.NodeProto]:
    if node.domain != DOMAIN or node.op_type not in _FUSED:
        return [node]
    options = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
    activation = bytes(options.get("activation", b"")).decode("utf-8", "replace")
    parameters = [float(v) for v in options.get("activation_params", ())] or [
        float(options[key]) for key in ("activation_alpha", "activation_beta") if key in options
    ]
    names = _ACTIVATIONS.get(activation)
    if names is None or len(node.input) > _OPERANDS or len(parameters) < len(names):
        return [node]
    plain = onnx.NodeProto()
    plain.CopyFrom(node)
    plain.domain, plain.op_type = "", _FUSED[node.op_type]
    kept = [a for a in node.attribute if not a.name.startswith("activation")]
    del plain.attribute[:]
    plain.attribute.extend(kept)
    if not activation:
        return [plain]
    plain.output[0] = f"{node.output[0]}_before_{activation}"
    name = f"{node.name or node.output[0]}_{activation}"
    after = onnx.helper.make_node(activation, [plain.output[0]], [node.output[0]], name=name)
    after.attribute.extend(
        onnx.helper.make_attribute(key, value)
        for key, value in zip(names, parameters, strict=False)
    )
    return [plain, after]
