from importlib import import_module

import numpy as np
import pytest

from edgekit.calibration import Ranges, TensorRange, calibrate
from edgekit.errors import InputError, UsageError
from edgekit.ir import Model, Oracle
from edgekit.passes.canonicalize.infer_shapes import InferShapes
from edgekit.passes.quantize.apply import apply
from edgekit.passes.quantize.decide import decide, wanted_tensors
from edgekit.passes.quantize.io import quantized_io
from edgekit.testing.data import shared
from edgekit.testing.graphs import GraphBuilder
from edgekit.vocabulary import CpuPolicy


def legal_ops(target):
    return import_module(f"edgekit.converters.{target}.legal").LEGAL


TFLITE = legal_ops("tflite")
RNG = np.random.default_rng(0)
IMAGES = RNG.normal(size=(8, 3, 8, 8)).astype(np.float32)


def build(body, outputs=1):
    b = GraphBuilder()
    results = body(b, b.input("x", ("N", 3, 8, 8)))
    model = b.build(*(results if outputs > 1 else [results]))
    InferShapes()(model.ir)
    return model


def conv(b, x, out=4, scale=0.3):
    """A Conv of the input, which has 3 channels, or of another one's 4."""
    weight = RNG.normal(size=(out, 3 if x.name == "x" else 4, 1, 1)) * scale
    return b.op("Conv", x, weight, RNG.normal(size=out))


def plan_for(model, legal=TFLITE, data=IMAGES, **options):
    return decide(model, calibrate(model, data, observer="minmax"), legal, **options)


def ops_of(plan, precision="float"):
    return sorted(node.op for node in plan.nodes.values() if str(node.precision) == precision)


def entry_of(plan, model, op, operand=0):
    node = next(n for n in model.graph if n.op_type == op)
    return plan.tensors[plan.nodes[node.name].inputs[operand]]


def test_a_fused_activation_leaves_the_inner_tensor_alone():
    model = build(lambda b, x: conv(b, b.op("Relu", conv(b, x))))
    plan = plan_for(model)
    first = next(iter(model.graph))
    assert first.outputs[0].name not in plan.tensors
    assert next(n for n in plan.nodes.values() if n.op == "Relu").reason.startswith(
        "fused into Conv"
    )


def test_an_activation_that_is_not_alone_is_not_fused():
    def body(b, x):
        made = conv(b, x)
        return b.op("Add", b.op("Relu", made), made)

    model = build(body)
    assert next(iter(model.graph)).outputs[0].name in plan_for(model).tensors


def test_concat_shares_the_widest_range():
    def body(b, x):
        joined = b.op("Concat", conv(b, x, scale=5.0), conv(b, x, scale=0.01), axis=1)
        return b.op("GlobalAveragePool", joined)

    model = build(body)
    plan = plan_for(model)
    a, c = entry_of(plan, model, "Concat", 0), entry_of(plan, model, "Concat", 1)
    out = entry_of(plan, model, "GlobalAveragePool")
    assert a.same_parameters(c)
    assert a.same_parameters(out)
    ranges = calibrate(model, IMAGES, observer="minmax").tensors[a.tensor]
    assert (a.scale[0] * 255) >= ranges.high - ranges.low


def test_a_fixed_range_is_requantized_where_it_meets_another():
    def body(b, x):
        joined = b.op("Concat", b.op("Sigmoid", conv(b, x)), conv(b, x, scale=5.0), axis=1)
        return b.op("GlobalAveragePool", joined)

    model = build(body)
    plan = plan_for(model)
    node = next(n for n in model.graph if n.op_type == "Concat")
    sigmoid = node.inputs[0].name
    assert plan.tensors[sigmoid].scale == (1 / 256,)
    assert plan.tensors[sigmoid].zero_point == (-128,)
    variant = entry_of(plan, model, "Concat", 0)
    assert variant.tensor == sigmoid
    assert variant.same_parameters(entry_of(plan, model, "Concat", 1))
    result = apply(model, plan)
    q = (
        next(n for n in result.graph if n.op_type == "Concat")
        .inputs[0]
        .producer()
        .inputs[0]
        .producer()
    )
    assert q.op_type == "QuantizeLinear"
    assert q.inputs[0].producer().op_type == "DequantizeLinear"


def test_a_fixed_range_flows_through_reshapes():
    def body(b, x):
        return b.op("Flatten", b.op("Transpose", b.op("Sigmoid", conv(b, x)), perm=[0, 2, 3, 1]))

    model = build(body)
    plan = plan_for(model)
    assert plan.tensors[model.graph.outputs[0].name].scale == (1 / 256,)


def test_moves_between_float_nodes_stay_float():
    model = build(lambda b, x: b.op("Erf", b.op("Flatten", b.op("Erf", x))))
    plan = plan_for(model)
    assert ops_of(plan) == ["Erf", "Erf", "Flatten"]
    assert not plan.tensors


def test_shape_arithmetic_is_neither_int8_nor_a_float_node():
    def body(b, x):
        return b.op("Reshape", conv(b, x, out=3), b.op("Gather", b.op("Shape", x), [0, 2, 3, 1]))

    plan = plan_for(build(body))
    assert ops_of(plan, "integer") == ["Gather"]


@pytest.mark.parametrize("pattern", ["Conv", "n?", "*"])
def test_nodes_can_be_kept_in_float(pattern):
    model = build(lambda b, x: conv(b, x))
    plan = plan_for(model, keep_float=[pattern])
    (reason,) = plan.float_nodes
    assert reason.reason == "kept in float on request"


def test_masks_and_computed_weights_stay_float():
    def body(b, x):
        mask = np.full((1, 3, 1, 1), -np.inf, np.float32)
        return b.op("Conv", b.op("Add", x, mask), b.op("Erf", np.zeros((2, 3, 1, 1))))

    ranges = Ranges({}, 0, "none")
    plan = decide(build(body), ranges, TFLITE)
    reasons = {r.op: r.reason for r in plan.float_nodes}
    assert "infinite" in reasons["Add"]
    assert "weight is computed" in reasons["Conv"]


def test_a_shared_bias_gets_the_scale_of_each_reader():
    def body(b, x):
        bias = b.constant(np.float32([1, -2, 3]))
        y = b.op("Conv", x, RNG.normal(size=(3, 3, 1, 1)), bias)
        return b.op("Conv", y, RNG.normal(size=(3, 3, 1, 1)), bias)

    model = build(body)
    plan = plan_for(model)
    first, second = (plan.nodes[n.name].inputs for n in model.graph)
    assert first[2] != second[2]
    for inputs in (first, second):
        x, w, bias = (plan.tensors[inputs[i]] for i in range(3))
        assert np.allclose(bias.scale, np.multiply(x.scale[0], w.scale), rtol=1e-6)


def test_a_bias_far_beyond_its_weights_survives():
    def body(b, x):
        return b.op("Conv", x, np.full((2, 3, 1, 1), 1e-12), np.float32([100.0, -5.0]))

    model = build(body)
    result = apply(model, plan_for(model))
    with Oracle(result.ir, exact=True) as oracle:
        (out,) = oracle.run({"x": IMAGES}).values()
    assert np.allclose(out[:, 0], 100, atol=1)
    assert np.allclose(out[:, 1], -5, atol=1)


def test_dequantized_constant_weights_are_quantized_again_to_the_same_integers():
    integers = RNG.integers(-127, 128, (4, 3, 1, 1)).astype(np.int8)
    integers[:, 0] = 127
    scale = np.float32([0.1, 0.2, 0.3, 0.4])

    def body(b, x):
        weight = b.op("DequantizeLinear", integers, scale, np.zeros(4, np.int8), axis=0)
        return b.op("Conv", x, weight)

    model = build(body)
    plan = plan_for(model)
    result = apply(model, plan)
    node = next(n for n in result.graph if n.op_type == "Conv")
    assert np.array_equal(node.inputs[1].producer().inputs[0].const_value.numpy(), integers)
    assert plan.nodes[node.name].int8


def test_what_the_source_quantized_is_left_alone():
    model = build(lambda b, x: conv(b, b.op("Relu", conv(b, x))))
    once = apply(model, plan_for(model))
    plan = decide(once, calibrate(once, IMAGES), TFLITE)
    assert not plan.tensors
    assert not plan.float_nodes
    assert [n.op_type for n in apply(once, plan).graph] == [n.op_type for n in once.graph]


def test_residual_sums_run_in_int8_on_tensorrt():
    def body(b, x):
        start = b.op("Relu", conv(b, x))
        return b.op("Relu", b.op("Add", conv(b, start), start))

    model = build(body)
    legal = legal_ops("tensorrt")
    plan = plan_for(model, legal)
    add = next(n for n in model.graph if n.op_type == "Add")
    assert list(plan.nodes[add.name].inputs) == [1]
    assert not plan.float_nodes


def test_ranges_must_belong_to_the_model():
    first, second = build(conv), build(lambda b, x: conv(b, x, out=5))
    ranges = calibrate(first, IMAGES)
    with pytest.raises(UsageError, match="another model"):
        decide(second, ranges, TFLITE)
    with pytest.raises(UsageError, match="no entry for tensor 'x'"):
        decide(first, Ranges({}, 0, "minmax"), TFLITE)


def test_a_plan_for_another_model_is_refused():
    first = build(conv)
    other = build(lambda b, x: b.op("Erf", x))
    with pytest.raises(InputError, match="another model"):
        apply(other, plan_for(first))


def test_integer_edges_have_the_parameters_that_were_taken_off():
    model = build(lambda b, x: b.op("Softmax", b.op("Flatten", conv(b, x)), axis=-1))
    result = apply(model, plan_for(model))
    integer, edges = quantized_io(result)
    assert [(s.name, s.dtype) for s in integer.signature.inputs] == [("x", "int8")]
    assert [s.name for s in integer.signature.outputs] == [s.name for s in model.signature.outputs]
    name = model.signature.outputs[0].name
    assert (edges[name].scale, edges[name].zero_point) == (1 / 256, -128)
    x = edges["x"]
    q = np.clip(np.rint(IMAGES / np.float32(x.scale)) + x.zero_point, -128, 127).astype(np.int8)
    with Oracle(integer.ir, exact=True) as a, Oracle(result.ir, exact=True) as b:
        got, expected = a.run({"x": q})[name], b.run({"x": IMAGES})[name]
    assert got.dtype == np.int8
    assert np.array_equal((got.astype(np.float32) + 128) / 256, expected)


def test_edges_that_are_not_quantized_stay_float():
    model = build(lambda b, x: (conv(b, x), b.op("Erf", x)), outputs=2)
    integer, edges = quantized_io(apply(model, plan_for(model)))
    assert set(edges) == {model.graph.outputs[0].name}
    assert integer.signature.inputs[0].dtype == "float32"


@pytest.mark.parametrize("target", ["tflite", "openvino", "onnxruntime", "tensorrt"])
def test_resnet20_keeps_its_accuracy(target):
    import onnx_ir

    from edgekit.passes.canonicalize.pipeline import canonicalize

    model = canonicalize(Model(onnx_ir.load(shared("models/resnet20_cifar10.onnx"))))
    with np.load(shared("cifar10_calibration.npz")) as file:
        mean, std = np.float32([0.485, 0.456, 0.406]), np.float32([0.229, 0.224, 0.225])
        images = ((file["x"] / np.float32(255) - mean) / std).transpose(0, 3, 1, 2).copy()
    legal = legal_ops(target)
    ranges = calibrate(model, images[:128], tensors=wanted_tensors(model, legal))
    result = apply(model, decide(model, ranges, legal, cpu=CpuPolicy.PORTABLE))
    test = images[128:428]
    with Oracle(model.ir) as a, Oracle(result.ir, exact=True) as b:
        expected, got = (next(iter(o.run({"input": test}).values())) for o in (a, b))
    assert (expected.argmax(1) == got.argmax(1)).mean() > 0.98
    noise = ((expected - got) ** 2).sum() / (expected**2).sum()
    assert 10 * np.log10(noise) < -24


def test_wanted_tensors_are_what_decide_needs():
    model = build(lambda b, x: b.op("Erf", b.op("Relu", conv(b, x))))
    wanted = wanted_tensors(model, TFLITE, legal_ops("tensorrt"))
    ranges = {name: TensorRange(-1, 1, -1, 1, 1) for name in wanted}
    for target in ("tflite", "tensorrt"):
        decide(model, Ranges(ranges, 1, "minmax"), legal_ops(target))
    assert len(wanted) == 2
