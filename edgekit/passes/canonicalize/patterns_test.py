"""What each pattern becomes, and that it computes the same."""

import math

import numpy as np
import onnx_ir
import pytest

from edgekit.passes.canonicalize.pipeline import canonicalize
from edgekit.testing.graphs import GraphBuilder, largest_difference, random_feeds

RNG = np.random.default_rng(7)


def normal(*shape):
    return RNG.normal(0, 0.5, shape).astype(np.float32)


def positive(*shape):
    return RNG.uniform(0.5, 1.5, shape).astype(np.float32)


def f32(x):
    return np.float32(x)


def check_becomes(model, *expected, tolerance=1e-5):
    """Check the operators of the canonical graph and its outputs; returns the canonical model."""
    after = canonicalize(model)
    assert [node.op_type for node in after.graph] == list(expected)
    assert largest_difference(model, after, random_feeds(model)) < tolerance
    return after


def check_graph(shape, build, *expected, tolerance=1e-5):
    g = GraphBuilder()
    return check_becomes(g.build(build(g, g.input("x", shape))), *expected, tolerance=tolerance)


def batch_norm(g, x, c):
    return g.op("BatchNormalization", x, positive(c), normal(c), normal(c), positive(c))


# Activations


def gelu_1(g, x):
    return g.op("Mul", g.op("Mul", x, g.op("Add", g.op("Erf", g.op("Div", x, 2**0.5)), 1.0)), 0.5)


def gelu_2(g, x):
    return g.op("Mul", g.op("Mul", 0.5, x), g.op("Add", 1.0, g.op("Erf", g.op("Mul", x, 0.5**0.5))))


def gelu_3(g, x):
    half = g.op("Mul", g.op("Add", g.op("Erf", g.op("Mul", 0.5**0.5, x)), 1.0), 0.5)
    return g.op("Mul", half, x)


def cube_pow(g, x):
    return g.op("Pow", x, 3.0)


def cube_mul(g, x):
    return g.op("Mul", g.op("Mul", x, x), x)


def tanh_gelu(cube, inner=0.7978845608):
    def build(g, x):
        sum_ = g.op("Add", x, g.op("Mul", cube(g, x), 0.044715))
        gate = g.op("Add", g.op("Tanh", g.op("Mul", sum_, inner)), 1.0)
        return g.op("Mul", x, g.op("Mul", gate, 0.5))

    return build


def tanh_gelu_factored(g, x):
    inner = g.op("Add", 1.0, g.op("Mul", g.op("Mul", x, x), 0.044715))
    argument = g.op("Mul", g.op("Mul", math.sqrt(2 / math.pi), x), inner)
    return g.op("Mul", g.op("Mul", 0.5, x), g.op("Add", 1.0, g.op("Tanh", argument)))


def hard_swish_mul(g, x):
    gate = g.op("Clip", g.op("Add", x, 3.0), f32(0), f32(6))
    return g.op("Mul", g.op("Mul", x, gate), 1 / 6)


def hard_swish_div(g, x):
    gate = g.op("Div", g.op("Min", g.op("Relu", g.op("Add", 3.0, x)), 6.0), 6.0)
    return g.op("Mul", gate, x)


def hard_swish_torch(g, x):
    return g.op("Mul", x, g.op("HardSigmoid", x, alpha=1 / 6, beta=0.5))


def hard_sigmoid_keras(g, x):
    return g.op("Clip", g.op("Add", g.op("Mul", x, 0.2), 0.5), f32(0), f32(1))


def hard_sigmoid_relu6(g, x):
    return g.op("Mul", g.op("Clip", g.op("Add", x, 3.0), f32(0), f32(6)), 1 / 6)


def softplus(g, x):
    return g.op("Log", g.op("Add", g.op("Exp", x), 1.0))


def mish(g, x):
    return g.op("Mul", x, g.op("Tanh", softplus(g, x)))


def silu(g, x):
    return g.op("Mul", x, g.op("Sigmoid", x))


@pytest.mark.parametrize(
    ("build", "expected"),
    [
        (gelu_1, ["Gelu"]),
        (gelu_2, ["Gelu"]),
        (gelu_3, ["Gelu"]),
        (tanh_gelu(cube_pow), ["Gelu"]),
        (tanh_gelu(cube_mul), ["Gelu"]),
        (tanh_gelu_factored, ["Gelu"]),
        (tanh_gelu(cube_pow, inner=0.9), None),
        (hard_swish_mul, ["HardSwish"]),
        (hard_swish_div, ["HardSwish"]),
        (hard_swish_torch, ["HardSwish"]),
        (hard_sigmoid_keras, ["HardSigmoid"]),
        (hard_sigmoid_relu6, ["HardSigmoid"]),
        (softplus, ["Softplus"]),
        (mish, ["Mish"]),
        (silu, ["Sigmoid", "Mul"]),
        (lambda g, x: g.op("Min", g.op("Relu", x), 6.0), ["Clip"]),
        (lambda g, x: g.op("Max", g.op("Min", x, 1.0), -1.0), ["Clip"]),
        (lambda g, x: g.op("Relu", g.op("Relu", x)), ["Relu"]),
        (lambda g, x: g.op("Max", x, 0.0), ["Relu"]),
        (lambda g, x: g.op("Relu", g.op("Clip", x, f32(-1), f32(2))), ["Clip"]),
    ],
)
@pytest.mark.parametrize("scaled", [False, True])
def test_activations(build, expected, scaled):
    """Also behind a product of two values, whose factors are none of the formula's."""
    g = GraphBuilder()
    x = g.input("x", ["N", 4, 5])
    start = g.op("Mul", x, g.op("Sin", x)) if scaled else x
    model = g.build(build(g, start))
    after = canonicalize(model)
    assert largest_difference(model, after, random_feeds(model)) < 1e-5
    kinds = [node.op_type for node in after.graph]
    if expected is None:
        assert "Gelu" not in kinds
    else:
        assert kinds == (["Sin", "Mul"] if scaled else []) + expected


def test_gelu_says_which_approximation():
    exact = check_graph(["N", 4], gelu_1, "Gelu").graph[0]
    tanh = check_graph(["N", 4], tanh_gelu(cube_pow), "Gelu").graph[0]
    assert "approximate" not in exact.attributes
    assert tanh.attributes["approximate"].as_string() == "tanh"


# Layer normalization


def moments(g, x, axes, square):
    mean = g.op("ReduceMean", x, axes)
    centred = g.op("Sub", x, mean)
    squared = g.op("Pow", centred, 2.0) if square == "Pow" else g.op("Mul", centred, centred)
    return mean, centred, g.op("Add", g.op("ReduceMean", squared, axes), 1e-3)


def layer_norm_torch(g, x, axes, gamma, beta, square="Pow"):
    _, centred, variance = moments(g, x, axes, square)
    return g.op("Add", g.op("Mul", g.op("Div", centred, g.op("Sqrt", variance)), gamma), beta)


def layer_norm_rsqrt(g, x, axes, gamma, beta, square="Mul"):
    mean, _, variance = moments(g, x, axes, square)
    scale = g.op("Mul", g.op("Reciprocal", g.op("Sqrt", variance)), gamma)
    offset = g.op("Sub", beta, g.op("Mul", mean, scale))
    return g.op("Add", g.op("Mul", x, scale), offset)


def layer_norm_keras(g, x, axes, gamma, beta):
    mean, _, variance = moments(g, x, axes, "Mul")
    scale = g.op("Mul", g.op("Div", 1.0, g.op("Sqrt", variance)), gamma)
    offset = g.op("Add", g.op("Mul", g.op("Neg", mean), scale), beta)
    return g.op("Add", g.op("Mul", x, scale), offset)


def layer_norm_power(g, x, axes, gamma, beta):
    _, centred, variance = moments(g, x, axes, "Mul")
    return g.op("Add", g.op("Mul", g.op("Mul", centred, g.op("Pow", variance, -0.5)), gamma), beta)


@pytest.mark.parametrize(
    "form", [layer_norm_torch, layer_norm_rsqrt, layer_norm_keras, layer_norm_power]
)
@pytest.mark.parametrize(("axes", "sizes"), [([-1], (6,)), ([1, 2], (5, 6)), ([2], (6,))])
def test_layer_normalization(form, axes, sizes):
    gamma, beta = positive(*sizes), normal(*sizes)
    after = check_graph(
        ["N", 5, 6], lambda g, x: form(g, x, axes, gamma, beta), "LayerNormalization"
    )
    node = after.graph[0]
    np.testing.assert_allclose(node.inputs[1].const_value.numpy(), gamma, rtol=1e-6)
    np.testing.assert_allclose(node.inputs[2].const_value.numpy(), beta, rtol=1e-6)
    assert node.attributes["axis"].as_int() == -len(sizes)


def test_normalization_over_other_axes_stays():
    after = canonicalize(
        (g := GraphBuilder()).build(
            layer_norm_torch(g, g.input("x", ["N", 5, 6]), [1], positive(1, 6), normal(1, 6))
        )
    )
    assert "LayerNormalization" not in [node.op_type for node in after.graph]


def test_layer_normalization_of_keras_2():
    def build(g, x):
        rows = g.op("Slice", g.op("Shape", x), [0], [2])
        count = g.op("ReduceProd", rows, keepdims=1)
        row = g.op("Reshape", x, np.array([1, -1, 6, 1]))
        mean = g.op("ReduceMean", row, [0, 2, 3], keepdims=1)
        squares = g.op("ReduceSumSquare", g.op("Sub", row, mean), [0, 2, 3], keepdims=0)
        ones, zeros = g.op("Expand", 1.0, count), g.op("Expand", 0.0, count)
        stats = g.op("Squeeze", mean, [0, 2, 3]), g.op("Div", squares, 6.0)
        y = g.op("BatchNormalization", row, ones, zeros, *stats, epsilon=1e-3)
        y = g.op("Reshape", y, np.array([-1, 5, 6]))
        return g.op("Add", g.op("Mul", y, positive(6)), normal(6))

    after = check_graph(["N", 5, 6], build, "LayerNormalization")
    assert after.signature.outputs[0].shape[1:] == (5, 6)


# Scalings


@pytest.mark.parametrize("group", [1, 2])
@pytest.mark.parametrize("bias", [True, False])
def test_batch_norm_folds_into_the_convolution_in_front(group, bias):
    def build(g, x):
        more = [normal(6)] if bias else []
        y = g.op("Conv", x, normal(6, 4 // group, 3, 3), *more, group=group, pads=[1] * 4)
        return batch_norm(g, y, 6)

    check_graph(["N", 4, 8, 8], build, "Conv")


@pytest.mark.parametrize("group", [1, 2])
def test_batch_norm_folds_into_a_transposed_convolution(group):
    def build(g, x):
        y = g.op("ConvTranspose", x, normal(4, 3, 2, 2), strides=[2, 2], group=group)
        return batch_norm(g, y, 3 * group)

    check_graph(["N", 4, 5, 5], build, "ConvTranspose")


@pytest.mark.parametrize("transposed", [0, 1])
def test_batch_norm_folds_into_gemm(transposed):
    def build(g, x):
        weight = normal(5, 4) if transposed else normal(4, 5)
        y = g.op("Gemm", x, weight, normal(1, 5), transB=transposed, alpha=0.5, beta=2.0)
        return batch_norm(g, y, 5)

    check_graph(["N", 4], build, "Gemm")


def test_batch_norm_makes_a_matmul_a_gemm():
    check_graph(["N", 4], lambda g, x: batch_norm(g, g.op("MatMul", x, normal(4, 5)), 5), "Gemm")


def test_matmul_of_higher_rank_keeps_the_shift():
    def build(g, x):
        y = g.op("Add", g.op("MatMul", x, normal(4, 5)), normal(5))
        return g.op("Add", g.op("Mul", y, positive(5)), normal(5))

    check_graph(["N", 3, 4], build, "MatMul", "Add")


def test_batch_norm_folds_through_views_and_transposes():
    def build(g, x):
        y = g.op("Conv", x, normal(6, 4, 3, 3), normal(6))
        y = g.op("Transpose", y, perm=[0, 2, 3, 1])
        y = g.op("Reshape", y, np.array([-1, 36, 6]))
        return g.op("Add", g.op("Mul", y, positive(6)), normal(6))

    check_graph(["N", 4, 8, 8], build, "Conv", "Transpose", "Reshape")


def test_batch_norm_folds_into_what_follows():
    def build(g, x):
        y = batch_norm(g, g.op("Relu", x), 4)
        return g.op("Conv", y, normal(6, 4, 3, 3), normal(6))

    check_graph(["N", 4, 8, 8], build, "Relu", "Conv")


def test_batch_norm_folds_through_flatten_into_a_dense_layer():
    def build(g, x):
        y = g.op("Flatten", batch_norm(g, g.op("Relu", x), 4))
        return g.op("Gemm", y, normal(64, 5), normal(5))

    check_graph(["N", 4, 4, 4], build, "Relu", "Flatten", "Gemm")


def test_shift_does_not_fold_into_a_convolution_that_pads():
    def build(g, x):
        return g.op("Conv", g.op("Add", g.op("Relu", x), 0.5), normal(6, 4, 3, 3), pads=[1] * 4)

    check_graph(["N", 4, 8, 8], build, "Relu", "Add", "Conv")


def test_scale_folds_into_a_convolution_that_pads():
    def build(g, x):
        return g.op("Conv", g.op("Mul", x, 1 / 255), normal(6, 4, 3, 3), pads=[1] * 4)

    check_graph(["N", 4, 8, 8], build, "Conv")


def test_scale_does_not_fold_into_a_convolution_with_two_readers():
    g = GraphBuilder()
    y = g.op("Conv", g.input("x", ["N", 4, 8, 8]), normal(6, 4, 3, 3))
    model = g.build(g.op("Mul", y, positive(1, 6, 1, 1)), g.op("Relu", y))
    check_becomes(model, "Conv", "Mul", "Relu")


def test_batch_norm_folds_through_an_average():
    def build(g, x):
        y = g.op("GlobalAveragePool", g.op("Conv", x, normal(6, 4, 3, 3)))
        return batch_norm(g, y, 6)

    check_graph(["N", 4, 8, 8], build, "Conv", "GlobalAveragePool")


def test_batch_norm_alone_becomes_mul_and_add():
    check_graph(
        ["N", 4, 8, 8], lambda g, x: batch_norm(g, g.op("Relu", x), 4), "Relu", "Mul", "Add"
    )


def test_preprocessing_becomes_one_mul_and_one_add():
    def build(g, x):
        y = g.op("Sub", g.op("Mul", x, 1 / 255), normal(1, 3, 1, 1))
        return g.op("Relu", g.op("Div", y, positive(1, 3, 1, 1)))

    check_graph(["N", 3, 4, 4], build, "Mul", "Add", "Relu")


def test_shared_weight_is_not_scaled_for_its_other_reader():
    g = GraphBuilder()
    x, weight = g.input("x", ["N", 4, 6, 6]), g.constant(normal(4, 4, 3, 3))
    a = batch_norm(g, g.op("Conv", x, weight), 4)
    check_becomes(g.build(a, g.op("Conv", g.input("z", ["N", 4, 6, 6]), weight)), "Conv", "Conv")


# Shapes, no-ops, structure


def test_dynamic_flatten_becomes_a_constant_reshape():
    def build(g, x):
        batch = g.op("Unsqueeze", g.op("Gather", g.op("Shape", x), np.array(0)), [0])
        y = g.op("Reshape", g.op("Relu", x), g.op("Concat", batch, np.array([-1]), axis=0))
        return g.op("MatMul", y, normal(24, 3))

    after = check_graph(["N", 4, 2, 3], build, "Relu", "Reshape", "MatMul")
    assert after.graph[1].inputs[1].const_value.numpy().tolist() == [0, 24]
    assert after.signature.outputs[0].shape == ("N", 3)


@pytest.mark.parametrize(
    "build",
    [
        lambda g, x: g.op("Identity", x),
        lambda g, x: g.op("Dropout", x),
        lambda g, x: g.op("Cast", x, to=1),
        lambda g, x: g.op("Reshape", x, np.array([0, -1, 3])),
        lambda g, x: g.op("Reshape", g.op("Reshape", x, np.array([0, 12])), np.array([-1, 4, 3])),
        lambda g, x: g.op("Transpose", x, perm=[0, 1, 2]),
        lambda g, x: g.op("Slice", x, [0, 0], [99, 2**40], [1, 2]),
        lambda g, x: g.op("Pad", x, np.zeros(6, np.int64)),
        lambda g, x: g.op("Concat", x, axis=1),
        lambda g, x: g.op("Mul", x, 1.0),
        lambda g, x: g.op("Mul", np.ones((4, 1), np.float32), x),
        lambda g, x: g.op("Add", 0.0, x),
        lambda g, x: g.op("Sub", x, np.zeros(3, np.float32)),
        lambda g, x: g.op("Div", x, 1.0),
        lambda g, x: g.op("Pow", x, 1.0),
        lambda g, x: g.op("Expand", x, np.array([1, 4, 3])),
        lambda g, x: g.op("Tile", x, np.array([1, 1, 1])),
        lambda g, x: g.op("Squeeze", g.op("Unsqueeze", x, [1]), [1]),
        lambda g, x: g.op("Max", x),
        lambda g, x: g.op("Split", x, axis=1, num_outputs=1, outputs=1),
        lambda g, x: g.op("Resize", x, None, np.ones(3, np.float32), mode="linear"),
        lambda g, x: g.op("Squeeze", g.op("ReduceMean", g.op("Unsqueeze", x, [3]), [3]), [3]),
    ],
)
def test_no_ops_disappear(build):
    g = GraphBuilder()
    x = g.op("Relu", g.input("x", ["N", 4, 3]))
    after = canonicalize(model := g.build(g.op("Sin", build(g, x))))
    kinds = [node.op_type for node in after.graph]
    assert largest_difference(model, after, random_feeds(model)) < 1e-6
    assert kinds == ["Relu", "Sin"]


@pytest.mark.parametrize(
    "build",
    [
        lambda g, x: g.op("Mul", x, np.ones((2, 1, 1), np.float32)),
        lambda g, x: g.op("Add", x, np.zeros((1, 1, 1, 1), np.float32)),
        lambda g, x: g.op("Slice", x, [0], [3], [1]),
        lambda g, x: g.op("Sub", 0.0, x),
        lambda g, x: g.op("Div", 1.0, g.op("Exp", x)),
        lambda g, x: g.op("Cast", x, to=11),
    ],
)
def test_what_changes_shape_or_value_stays(build):
    g = GraphBuilder()
    y = build(g, g.input("x", [1, 4, 3]))
    double = y.producer().op_type == "Cast"
    model = g.build(y, dtype=onnx_ir.DataType.DOUBLE if double else onnx_ir.DataType.FLOAT)
    after = canonicalize(model)
    assert len(list(after.graph)) >= 1
    assert largest_difference(model, after, random_feeds(model)) < 1e-6


def test_outputs_that_are_inputs_or_constants_or_twins_keep_their_names():
    g = GraphBuilder()
    x = g.input("x", ["N", 3])
    relu = g.op("Relu", x)
    constant = g.op("Add", np.ones(2, np.float32), np.ones(2, np.float32))
    outs = [g.op("Identity", x), g.op("Identity", relu), g.op("Identity", relu), constant]
    model = g.build(*outs)
    names = [v.name for v in model.graph.outputs]
    after = canonicalize(model)
    assert [v.name for v in after.graph.outputs] == names
    assert all(v.producer() is not None for v in after.graph.outputs)
    assert largest_difference(model, after, random_feeds(model)) == 0


def test_pad_goes_into_the_convolution():
    def build(g, x):
        y = g.op("Pad", x, np.array([0, 0, 1, 0, 0, 0, 2, 1]))
        return g.op("Conv", y, normal(6, 4, 3, 3), pads=[0, 1, 0, 0])

    after = check_graph(["N", 4, 8, 8], build, "Conv")
    assert list(after.graph[0].attributes["pads"].as_ints()) == [1, 1, 2, 1]


@pytest.mark.parametrize("mode", ["SAME_UPPER", "SAME_LOWER", "VALID"])
@pytest.mark.parametrize("op", ["Conv", "MaxPool", "AveragePool"])
def test_automatic_padding_becomes_numbers(op, mode):
    def build(g, x):
        more = {"kernel_shape": [4, 3], "strides": [2, 3], "auto_pad": mode}
        return g.op(op, x, *([normal(6, 4, 4, 3)] if op == "Conv" else []), **more)

    after = check_graph(["N", 4, 9, 8], build, op)
    assert "auto_pad" not in after.graph[0].attributes


@pytest.mark.parametrize(
    ("attributes", "op"),
    [
        ({"kernel_shape": [6, 5]}, "GlobalAveragePool"),
        ({"kernel_shape": [6, 5], "strides": [6, 5], "auto_pad": "VALID"}, "GlobalAveragePool"),
        ({"kernel_shape": [6, 4]}, "AveragePool"),
        ({"kernel_shape": [6, 5], "pads": [1, 1, 1, 1]}, "AveragePool"),
    ],
)
def test_an_average_over_the_whole_image_is_global(attributes, op):
    check_graph(["N", 4, 6, 5], lambda g, x: g.op("AveragePool", x, **attributes), op)


def test_equal_constants_and_computations_are_one():
    g = GraphBuilder()
    x = g.input("x", ["N", 3])
    a = g.op("Sin", g.op("Mul", x, normal(3) * 0 + 2))
    b = g.op("Sin", g.op("Mul", x, normal(3) * 0 + 2))
    check_becomes(g.build(g.op("Add", a, b)), "Mul", "Sin", "Add")


def test_random_numbers_are_neither_folded_nor_merged():
    g = GraphBuilder()
    x = g.input("x", [2, 3])
    a, b = (g.op("RandomNormal", shape=[2, 3]) for _ in range(2))
    after = canonicalize(g.build(g.op("Add", x, g.op("Mul", a, b))))
    assert [n.op_type for n in after.graph].count("RandomNormal") == 2


def test_folding_does_not_blow_up():
    g = GraphBuilder()
    big = g.op("Expand", 1.5, np.array([1 << 13, 1 << 13]))
    after = canonicalize(g.build(g.op("Add", g.input("x", [1]), g.op("ReduceSum", big))))
    assert sum(v.const_value.nbytes for v in after.graph.initializers.values()) < 1 << 20


def test_weights_stay_integers():
    g = GraphBuilder()
    x = g.input("x", [1, 4, 6, 6])
    q = g.constant(RNG.integers(-127, 127, (3, 3, 4, 5)).astype(np.int8))
    scale = g.constant(positive(5) / 100)
    w = g.op("DequantizeLinear", q, scale, np.zeros(5, np.int8), axis=3)
    y = g.op("Conv", x, g.op("Transpose", w, perm=[3, 2, 0, 1]))
    after = check_becomes(g.build(y), "DequantizeLinear", "Conv")
    assert after.graph[0].inputs[0].const_value.dtype == onnx_ir.DataType.INT8
    assert after.graph[0].attributes["axis"].as_int() == 0


def test_zero_states_of_an_lstm_are_left_out():
    def build(g, x):
        shape = g.op("Concat", np.array([1]), g.op("Slice", g.op("Shape", x), [1], [2]),
                     np.array([3]), axis=0)  # fmt: skip
        zero = g.op("ConstantOfShape", shape)
        y = g.op("LSTM", x, normal(1, 12, 4), normal(1, 12, 3), None, None, zero, zero,
                 hidden_size=3, outputs=3)[0]  # fmt: skip
        return g.op("Squeeze", y, [1])

    after = check_graph([5, "N", 4], build, "LSTM", "Squeeze")
    assert len(after.graph[0].inputs) == 3
    assert [bool(v.name) for v in after.graph[0].outputs] == [True]


def test_dense_layer_on_a_sequence_is_not_flattened():
    def build(g, x):
        y = g.op("MatMul", g.op("Reshape", x, np.array([-1, 4])), normal(4, 6))
        return g.op("Add", g.op("Reshape", y, np.array([-1, 5, 6])), normal(6))

    after = check_graph(["N", 5, 4], build, "MatMul", "Add")
    assert after.signature.outputs[0].shape == ("N", 5, 6)


def test_branch_with_known_condition_is_taken():
    g = GraphBuilder()
    x = g.input("x", ["N", 1, 3])
    branches = {}
    for name, op in (("then_branch", "Relu"), ("else_branch", "Neg")):
        inner = onnx_ir.node(op, [x])
        inner.outputs[0].name = "same_name_in_both"
        inner.outputs[0].dtype = onnx_ir.DataType.FLOAT
        branches[name] = onnx_ir.Graph([], inner.outputs, nodes=[inner], name=name)
    size = g.op("Gather", g.op("Shape", x), np.array(1))
    y = g.op("If", g.op("Equal", size, np.array(1)), **branches)
    check_becomes(g.build(g.op("Sin", y)), "Relu", "Sin")


def test_body_of_a_loop_may_read_outer_values():
    g = GraphBuilder()
    x = g.input("x", [2, 3])
    cond = g.input("c", [], onnx_ir.DataType.BOOL)
    outer = g.op("Sin", x)
    branches = {}
    for name, op in (("then_branch", "Relu"), ("else_branch", "Neg")):
        first = onnx_ir.node("Identity", [outer])
        inner = onnx_ir.node(op, [first.outputs[0]])
        first.outputs[0].name, inner.outputs[0].name = f"{op}_in", f"{op}_out"
        inner.outputs[0].dtype = onnx_ir.DataType.FLOAT
        branches[name] = onnx_ir.Graph([], inner.outputs, nodes=[first, inner], name=name)
    check_becomes(g.build(g.op("If", cond, **branches)), "Sin", "If")


def test_functions_are_inlined():
    a = onnx_ir.val("a")
    inner = onnx_ir.node("Relu", [a])
    last = onnx_ir.node("Neg", [inner.outputs[0]])
    body = onnx_ir.Graph([a], last.outputs, nodes=[inner, last], opset_imports={"": 21}, name="f")
    g = GraphBuilder()
    model = g.build(g.op("Block", g.input("x", [2, 3]), domain="my"))
    model.graph.opset_imports["my"] = 1
    function = onnx_ir.Function("my", "Block", graph=body, attributes=[])
    model.ir.functions[function.identifier()] = function
    check_becomes(model, "Relu", "Neg")


def test_nameless_nodes_and_odd_names():
    x = onnx_ir.val("in put;0", onnx_ir.DataType.FLOAT, ["N", 3])
    first = onnx_ir.node("Relu", [x], outputs=[onnx_ir.val("a b;c")])
    second = onnx_ir.node("Sin", [first.outputs[0]], outputs=[onnx_ir.val("a_b_c")])
    third = onnx_ir.node("Add", [first.outputs[0], second.outputs[0]])
    third.outputs[0].name, third.outputs[0].dtype = "out:0", onnx_ir.DataType.FLOAT
    from edgekit.ir import Model

    graph = onnx_ir.Graph(
        [x], third.outputs, nodes=[first, second, third], opset_imports={"": 17}, name="g"
    )
    model = Model(onnx_ir.Model(graph, ir_version=8))
    after = check_becomes(model, "Relu", "Sin", "Add")
    assert [v.name for v in after.graph.inputs] == ["in put;0"]
    assert [v.name for v in after.graph.outputs] == ["out:0"]
    names = [v.name for n in after.graph for v in n.outputs]
    assert len(set(names)) == 3
    assert all(n.name for n in after.graph)
