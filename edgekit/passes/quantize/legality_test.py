"""Every plan, on random graphs, obeys its target's rules, checked on the graph that comes out."""

import json
from importlib import import_module

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edgekit.calibration import calibrate
from edgekit.ir import Oracle
from edgekit.passes.canonicalize.infer_shapes import InferShapes
from edgekit.passes.canonicalize.remove_dead_code import RemoveDeadCode
from edgekit.passes.quantize.apply import apply
from edgekit.passes.quantize.decide import decide, wanted_tensors
from edgekit.passes.quantize.plan import QuantPlan
from edgekit.testing.graphs import GraphBuilder
from edgekit.vocabulary import CpuPolicy

TARGETS = ("tflite", "openvino", "onnxruntime", "tensorrt")
SIZE = 6
UNARY = ("Relu", "Sigmoid", "HardSwish", "Erf", "LeakyRelu", "Tanh")


def legal_ops(target):
    return import_module(f"edgekit.converters.{target}.legal").LEGAL


def one_more(b, rng, pool, kind):
    """Append a random op on [N, C, 6, 6] tensors; `pool` is (value, channels) of those made."""
    x, c = pool[rng.integers(len(pool))]
    if kind == "Conv":
        out = int(rng.integers(1, 5))
        weight = rng.normal(size=(out, c, 3, 3)) * rng.choice([0, 1e-6, 0.3], (out, 1, 1, 1))
        return b.op("Conv", x, weight, rng.normal(size=out), pads=[1, 1, 1, 1]), out
    if kind == "ConvTranspose":
        return b.op("ConvTranspose", x, rng.normal(size=(c, 2, 1, 1))), 2
    if kind == "MaxPool":
        return b.op(kind, x, kernel_shape=[3, 3], pads=[1, 1, 1, 1]), c
    if kind == "AveragePool":
        return b.op(kind, x, kernel_shape=[3, 3], pads=[1, 1, 1, 1], count_include_pad=1), c
    if kind == "Clip":
        low, high = [(0.0, 6.0), (-1.0, 1.0), (-0.25, 0.5)][rng.integers(3)]
        return b.op("Clip", x, np.float32(low), np.float32(high)), c
    if kind in ("Add", "Mul", "Max"):
        same = [v for v, n in pool if n == c]
        constant = rng.normal(size=(1, c, 1, 1)).astype(np.float32)
        y = same[rng.integers(len(same))] if rng.random() < 0.7 else constant
        return b.op(kind, x, y), c
    if kind == "Concat":
        y, d = pool[rng.integers(len(pool))]
        return b.op("Concat", x, y, axis=1), c + d
    if kind == "Transpose":
        return b.op("Transpose", x, perm=[0, 1, 3, 2]), c
    if kind == "Pad":
        padded = b.op("Pad", x, [0, 0, 1, 1, 0, 0, 1, 1])
        return b.op("Slice", padded, [1, 1], [7, 7], [2, 3]), c
    return b.op(kind, x), c


KINDS = [
    *("Conv", "Conv", "Conv", "ConvTranspose", "MaxPool", "AveragePool", "Clip", "Add", "Add"),
    *("Mul", "Max", "Concat", "Transpose", "Pad", *UNARY),
]


def random_model(seed, kinds, head):
    rng, b = np.random.default_rng(seed), GraphBuilder()
    pool = [(b.input("x", ("N", 2, SIZE, SIZE)), 2)]
    for kind in kinds:
        pool.append(one_more(b, rng, pool[-4:], kind))
    x, c = pool[-1]
    outputs = [x]
    if head:
        flat = b.op("Flatten", b.op("GlobalAveragePool", x))
        logits = b.op("Gemm", flat, rng.normal(size=(c, 3)), rng.normal(size=3))
        outputs = [b.op("Softmax", logits, axis=-1), *([pool[-2][0]] if len(pool) > 2 else [])]
    model = b.build(*outputs)
    RemoveDeadCode()(model.ir)
    InferShapes()(model.ir)
    return model


MODELS = st.builds(
    random_model,
    st.integers(0, 10_000),
    st.lists(st.sampled_from(KINDS), min_size=1, max_size=9),
    st.booleans(),
)


def quantized(model, target, cpu=CpuPolicy.PORTABLE):
    legal = legal_ops(target)
    data = np.random.default_rng(1).normal(size=(4, 2, SIZE, SIZE)).astype(np.float32)
    ranges = calibrate(model, data, tensors=wanted_tensors(model, legal))
    plan = decide(model, ranges, legal, cpu=cpu)
    plan = QuantPlan.from_json(json.loads(json.dumps(plan.to_json())))
    return plan, apply(model, plan), data


def source(value):
    """The DQ that makes a value, or None."""
    node = value.producer() if value is not None else None
    return node if node is not None and node.op_type == "DequantizeLinear" else None


def carried_source(value):
    """The same through MaxPool, which carries integers."""
    node = value.producer()
    while node is not None and node.op_type == "MaxPool":
        value, node = node.inputs[0], node.inputs[0].producer()
    return source(value)


def parameters(dq):
    return tuple(dq.inputs[i].const_value.numpy() for i in (1, 2))


def is_same(first, second):
    return all(
        np.array_equal(a, b) for a, b in zip(parameters(first), parameters(second), strict=True)
    )


def check_pairs(graph):
    """One Q per tensor, every Q is read by a DQ with its own parameters."""
    quantized_values = []
    for node in graph:
        if node.op_type != "QuantizeLinear":
            continue
        quantized_values.append((node.inputs[0].name, *(v.name for v in node.inputs[1:])))
        if source(node.inputs[0]) is None:
            quantized_values[-1] = node.inputs[0].name
        for use in node.outputs[0].uses():
            assert use.node.op_type == "DequantizeLinear"
            assert is_same(use.node, node)
    assert len(set(quantized_values)) == len(quantized_values)


def check_weights(node, rule, bits, int32_bias):
    dq = source(node.inputs[1])
    integers, (scale, zero) = dq.inputs[0].const_value.numpy(), parameters(dq)
    assert integers.dtype == np.int8
    assert np.abs(integers.astype(int)).max() <= 2 ** (bits - 1) - 1
    assert not zero.any()
    assert (scale > 0).all()
    if node.op_type == "Conv":
        assert dq.attributes["axis"].as_int() == 0
    bias = source(node.inputs[2]) if len(node.inputs) > 2 else None
    assert (bias is not None) == (int32_bias and len(node.inputs) > 2)
    if bias is not None:
        assert bias.inputs[0].const_value.numpy().dtype == np.int32
        expected = np.float32(parameters(source(node.inputs[0]))[0]) * scale
        assert np.array_equal(parameters(bias)[0], expected)
        assert not parameters(bias)[1].any()


def check_closed(graph, plan, legal):
    """An INT8 node reads DQ only and is read by Q only, or is fused with one that is."""
    for node in graph:
        entry = plan.nodes.get(node.name)
        if entry is None or not entry.int8:
            continue
        fused = entry.reason.startswith("fused")
        rule = legal.rule(node.op_type)
        (value,) = node.outputs
        uses = list(value.uses())
        inner = len(uses) == 1 and plan.nodes.get(uses[0].node.name) is not None
        if inner:
            follower = plan.nodes[uses[0].node.name]
            assert follower.reason.startswith("fused")
            assert follower.int8
        else:
            assert [use.node.op_type for use in uses] == ["QuantizeLinear"]
        reads = [v for i, v in enumerate(node.inputs) if rule.inputs is None or i in rule.inputs]
        if not fused:
            assert all(source(v) is not None for v in reads)
        if rule.same_scale and not fused and not inner:
            after = next(iter(uses)).node
            assert all(is_same(source(v), after) for v in reads)
        if rule.output is not None and not inner:
            scale, zero = parameters(next(iter(uses)).node)
            assert (scale, zero) == (np.float32(rule.output.scale), rule.output.zero_point)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@pytest.mark.parametrize("target", TARGETS)
@given(MODELS)
def test_plans_obey_the_targets_rules(target, model):
    legal = legal_ops(target)
    plan, result, data = quantized(model, target)
    check_pairs(result.graph)
    if legal.closed:
        check_closed(result.graph, plan, legal)
    int32_bias = target in ("tflite", "onnxruntime")
    for node in result.graph:
        entry = plan.nodes.get(node.name)
        if entry is not None and entry.int8 and entry.op in ("Conv", "Gemm"):
            check_weights(node, legal.rule(entry.op), legal.bits(plan.cpu), int32_bias)
    assert set(plan.nodes) == {node.name for node in model.graph}
    assert all(reason.reason for reason in plan.float_nodes)
    assert result.signature == model.signature
    with Oracle(result.ir, exact=True, threads=1) as oracle:
        assert all(np.isfinite(v).all() for v in oracle.run({"x": data}).values())


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(MODELS)
def test_tensorrt_takes_symmetric_pairs_only(model):
    plan, result, _ = quantized(model, "tensorrt")
    for node in result.graph:
        if node.op_type in ("QuantizeLinear", "DequantizeLinear"):
            zero = node.inputs[2].const_value.numpy()
            assert zero.dtype == np.int8
            assert not zero.any()
        if node.op_type == "QuantizeLinear":
            assert node.inputs[1].const_value.size == 1
        if node.op_type == "Conv":
            integer = carried_source(node.inputs[0]) is not None
            assert integer == (source(node.inputs[1]) is not None) == plan.nodes[node.name].int8
        if node.op_type == "ConvTranspose":
            assert not plan.nodes[node.name].int8


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@pytest.mark.parametrize("target", ["onnxruntime", "openvino"])
@given(MODELS)
def test_full_range_weights_only_where_the_cpu_allows(target, model):
    plan, _, _ = quantized(model, target, CpuPolicy.VNNI)
    weights = [t for t in plan.tensors.values() if t.constant and "channel" in t.why]
    assert all(t.high == 127 for t in weights)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@pytest.mark.parametrize("target", TARGETS)
@given(MODELS)
def test_an_unquantized_graph_comes_out_of_keeping_everything_float(target, model):
    legal = legal_ops(target)
    data = np.ones((2, 2, SIZE, SIZE), np.float32)
    plan = decide(model, calibrate(model, data), legal, keep_float=["*"])
    result = apply(model, plan)
    assert not any("Quantize" in node.op_type for node in result.graph)
    assert not plan.tensors
