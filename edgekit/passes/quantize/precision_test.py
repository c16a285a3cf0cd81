"""What keeps integers precise: saturation, scales that are not shared, chains left in float."""

from importlib import import_module

import numpy as np
import pytest

from edgekit.calibration import calibrate
from edgekit.ir import Oracle
from edgekit.passes.canonicalize.infer_shapes import InferShapes
from edgekit.passes.quantize.apply import apply
from edgekit.passes.quantize.decide import decide, wanted_tensors
from edgekit.passes.quantize.dynamic_range import wide_nodes
from edgekit.passes.quantize.saturation import Interval, useful_intervals
from edgekit.testing.graphs import GraphBuilder

TARGETS = ("onnxruntime", "openvino", "tensorrt", "tflite")
RNG = np.random.default_rng(0)
IMAGES = RNG.normal(size=(8, 4, 8, 8)).astype(np.float32)


def legal_ops(target):
    return import_module(f"edgekit.converters.{target}.legal").LEGAL


def build(body, shape=("N", 4, 8, 8)):
    b = GraphBuilder()
    model = b.build(body(b, b.input("x", shape)))
    InferShapes()(model.ir)
    return model


def conv(b, x, scale=0.3, bias=True):
    weight = RNG.normal(size=(4, 4, 1, 1)) * scale
    return b.op("Conv", x, weight, *([RNG.normal(size=4) * scale] if bias else []))


def plan_for(model, target="tflite", data=IMAGES):
    legal = legal_ops(target)
    ranges = calibrate(model, data, observer="minmax", tensors=wanted_tensors(model, legal))
    return decide(model, ranges, legal)


def float_ops(plan):
    return sorted(reason.op for reason in plan.float_nodes)


def noise_ratio(model, plan, data=IMAGES):
    """Signal over noise in dB of a plan, by exact Q/DQ arithmetic."""
    (real,) = run(model, data)
    (made,) = run(apply(model, plan), data)
    return 10 * np.log10(np.square(real).sum() / np.square(real - made).sum())


def run(model, data):
    with Oracle(model.ir, exact=True, threads=1) as oracle:
        return list(oracle.run({"x": data}).values())


@pytest.mark.parametrize("target", ["onnxruntime", "tflite"])
@pytest.mark.parametrize("op", ["Sigmoid", "Tanh", "HardSwish"])
def test_values_that_saturate_take_no_integers(op, target):
    model = build(lambda b, x: b.op(op, conv(b, x, scale=40.0)))
    plan = plan_for(model, target)
    entry = plan.tensors[next(iter(model.graph)).outputs[0].name]
    low = (entry.low - entry.zero_point[0]) * entry.scale[0]
    assert -8.1 <= low <= (-2.9 if op == "HardSwish" else -3.9)
    assert noise_ratio(model, plan) > 22


def test_saturation_reaches_back_through_moves_but_not_past_another_reader():
    def alone(b, x):
        return b.op("Sigmoid", b.op("Flatten", conv(b, x)))

    def observed(b, x):
        made = conv(b, x)
        return b.op("Add", b.op("Sigmoid", made), made)

    first = next(iter(build(alone).graph)).outputs[0].name
    assert useful_intervals(build(alone).graph)[first] == Interval(-8.0, 8.0)
    first = next(iter(build(observed).graph)).outputs[0].name
    assert first not in useful_intervals(build(observed).graph)


@pytest.mark.parametrize("target", ["onnxruntime", "tflite"])
def test_swish_takes_no_integers_where_it_is_flat(target):
    def body(b, x):
        made = conv(b, x, scale=40.0)
        return b.op("Mul", b.op("Sigmoid", made), made)

    model = build(body)
    entry = plan_for(model, target).tensors[next(iter(model.graph)).outputs[0].name]
    assert (entry.low - entry.zero_point[0]) * entry.scale[0] >= -10.5


def test_a_clip_bounds_what_comes_before_it():
    model = build(lambda b, x: b.op("Clip", conv(b, x, scale=50.0), -2.5, 2.5))
    assert noise_ratio(model, plan_for(model)) > 25


@pytest.mark.parametrize("target", TARGETS)
def test_what_a_logarithm_reads_stays_float_back_to_where_scale_is_lost(target):
    dft, mel = RNG.normal(size=(16, 12)), np.abs(RNG.normal(size=(12, 6)))

    def body(b, x):
        spectrum = b.op("MatMul", b.op("Relu", b.op("MatMul", x, np.eye(16))), dft)
        power = b.op("Mul", spectrum, spectrum)
        energies = b.op("Clip", b.op("MatMul", power, mel), 1e-9)
        return b.op("MatMul", b.op("Log", energies), RNG.normal(size=(6, 5)))

    model = build(body, ("N", 16))
    loudness = np.logspace(-3, 1, 32).reshape(-1, 1)
    data = (RNG.normal(size=(32, 16)) * loudness).astype(np.float32)
    plan = plan_for(model, target, data)
    assert {"Clip", "Log", "MatMul", "Mul"} <= set(float_ops(plan))
    assert next(n for n in reversed(plan.nodes.values()) if n.op == "MatMul").int8
    assert next(n for n in plan.nodes.values() if n.op == "MatMul").reason != ""
    assert noise_ratio(model, plan, data) > 20


def test_a_norm_needs_its_sum_of_squares_but_not_what_it_squares():
    def body(b, x):
        made = conv(b, x)
        total = b.op("ReduceSum", b.op("Mul", made, made), np.array([1]), keepdims=1)
        return b.op("Div", made, b.op("Sqrt", b.op("Add", total, 1e-6)))

    model = build(body)
    wide = wide_nodes(model.graph)
    made = {n.op_type: n in wide for n in model.graph}
    assert made == {
        "Conv": False,
        "Mul": True,
        "ReduceSum": True,
        "Add": True,
        "Sqrt": True,
        "Div": False,
    }


def test_a_layer_with_a_bias_ends_what_a_logarithm_asks_for():
    model = build(lambda b, x: b.op("Log", b.op("Softmax", conv(b, b.op("Relu", conv(b, x))))))
    assert float_ops(plan_for(model)) == ["Log", "Softmax"]


def chained_concats(b, x):
    """Narrow tensors that meet a wide one at the end of a chain of Concats."""
    first = b.op("Concat", conv(b, x), conv(b, x), axis=1)
    half = b.op("Slice", first, np.array([0]), np.array([4]), np.array([1]))
    wide = b.op("Concat", half, conv(b, x, scale=30.0), axis=1)
    reads = b.op("GlobalAveragePool", b.op("Slice", wide, *(np.array([n]) for n in (4, 8, 1))))
    return b.op("Mul", conv(b, half), reads)


@pytest.mark.parametrize("target", ["openvino", "tflite"])
def test_a_wide_member_does_not_coarsen_a_chain_of_concats(target):
    model = build(chained_concats)
    first, last = (n for n in model.graph if n.op_type == "Concat")
    legal = legal_ops(target)
    ranges = calibrate(model, IMAGES, observer="minmax")
    plan = decide(model, ranges, legal)
    keys = [plan.nodes[n.name].inputs for n in (first, last)]
    narrow, wide = (plan.tensors[k[0]] for k in keys)
    if target == "openvino" and not plan.nodes[last.name].int8:
        return
    assert narrow.scale[0] * 10 < wide.scale[0]
    assert wide.same_parameters(plan.tensors[keys[1][1]])


def test_concat_rescales_its_operands_on_onnx_runtime():
    model = build(lambda b, x: b.op("Concat", conv(b, x), conv(b, x, scale=30.0), axis=1))
    plan = plan_for(model, "onnxruntime")
    node = next(n for n in model.graph if n.op_type == "Concat")
    a, c = (plan.tensors[key] for key in plan.nodes[node.name].inputs.values())
    assert a.scale[0] * 10 < c.scale[0]


def test_elementwise_work_between_float_nodes_stays_float():
    model = build(lambda b, x: b.op("Erf", b.op("Add", b.op("Erf", x), b.op("Sin", x))))
    plan = plan_for(model)
    assert "Add" in float_ops(plan)
    assert not plan.tensors


@pytest.mark.parametrize("target", ["onnxruntime", "tflite"])
def test_scores_beside_boxes_keep_their_scale(target):
    def body(b, x):
        boxes = b.op("Mul", b.op("Sigmoid", conv(b, x)), 320.0)
        joined = b.op("Concat", boxes, b.op("Sigmoid", conv(b, x)), axis=1)
        return b.op("Transpose", joined, perm=[0, 2, 3, 1])

    model = build(body)
    plan = plan_for(model, target)
    assert {"Concat", "Transpose"} <= set(float_ops(plan))
    (real,), (made,) = run(model, IMAGES), run(apply(model, plan), IMAGES)
    assert np.abs(real - made)[..., 4:].max() < 0.05


def test_members_alike_are_joined_in_integers():
    model = build(lambda b, x: b.op("Concat", conv(b, x), conv(b, x), axis=1))
    assert float_ops(plan_for(model)) == []
