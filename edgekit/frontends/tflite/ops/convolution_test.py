"""Convolutions and matrix products, float and quantized, against the interpreter."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgekit.frontends.tflite.importer import import_subgraph
from edgekit.frontends.tflite.reader import read_model
from edgekit.testing.tiny_tflite import Scale, TinyModel, assert_same, run_imported

few = settings(max_examples=25, deadline=None, derandomize=True)
small = st.integers(1, 3)


def values(shape, seed=0):
    return np.random.default_rng(seed).uniform(-1, 1, shape).astype(np.float32)


def stored(shape, seed=0, low=-127, high=127, dtype=np.int8):
    return np.random.default_rng(seed).integers(low, high + 1, shape).astype(dtype)


def operators(model):
    return [node.op_type for node in import_subgraph(read_model(model), "m").graph.graph]


@few
@given(
    kernel=st.tuples(small, small),
    stride=small,
    dilation=small,
    padding=st.integers(0, 1),
    activation=st.integers(0, 3),
    groups=st.integers(1, 2),
    batch=st.integers(1, 2),
)
def test_conv_2d(kernel, stride, dilation, padding, activation, groups, batch):
    stride = 1 if dilation > 1 else stride
    tiny = TinyModel()
    x = tiny.input((batch, 9, 8, 2 * groups))
    w = tiny.constant(values((4, *kernel, 2), 1))
    b = tiny.constant(values((4,), 2))
    y = tiny.tensor((1, 1, 1, 4))
    options = {
        "padding": padding,
        "strideH": stride,
        "strideW": stride,
        "dilationHFactor": dilation,
        "dilationWFactor": dilation,
        "fusedActivationFunction": activation,
    }
    tiny.op("CONV_2D", [x, w, b], [y], options, options_kind="Conv2DOptions")
    tiny.output(y)
    feeds = [values((batch, 9, 8, 2 * groups), 3)]
    assert_same(tiny.settle(feeds), feeds)


@few
@given(
    kernel=st.tuples(small, small),
    stride=small,
    dilation=small,
    padding=st.integers(0, 1),
    multiplier=st.integers(1, 3),
)
def test_depthwise_conv_2d(kernel, stride, dilation, padding, multiplier):
    stride = 1 if dilation > 1 else stride
    tiny = TinyModel()
    x = tiny.input((1, 9, 8, 3))
    w = tiny.constant(values((1, *kernel, 3 * multiplier), 1))
    b = tiny.constant(values((3 * multiplier,), 2))
    y = tiny.tensor((1, 1, 1, 3 * multiplier))
    options = {
        "padding": padding,
        "strideH": stride,
        "strideW": stride,
        "dilationHFactor": dilation,
        "dilationWFactor": dilation,
        "depthMultiplier": multiplier,
    }
    tiny.op("DEPTHWISE_CONV_2D", [x, w, b], [y], options, options_kind="DepthwiseConv2DOptions")
    tiny.output(y)
    feeds = [values((1, 9, 8, 3), 3)]
    assert_same(tiny.settle(feeds), feeds)


@few
@given(
    kernel=st.tuples(small, small),
    stride=st.tuples(small, small),
    padding=st.integers(0, 1),
    extra=st.integers(0, 2),
)
def test_transpose_conv(kernel, stride, padding, extra):
    """`extra` rows beyond the least size that the padding allows."""
    sizes = (4, 5)
    if padding == 0:
        wanted = [n * s - min(extra, s - 1) for n, s in zip(sizes, stride, strict=True)]
    else:
        wanted = [
            (n - 1) * s + k + min(extra, s - 1)
            for n, s, k in zip(sizes, stride, kernel, strict=True)
        ]
    tiny = TinyModel()
    shape = tiny.constant(np.array([2, *wanted, 3], np.int32))
    w = tiny.constant(values((3, *kernel, 2), 1))
    x = tiny.input((2, *sizes, 2))
    b = tiny.constant(values((3,), 2))
    y = tiny.tensor((2, *wanted, 3))
    options = {"padding": padding, "strideH": stride[0], "strideW": stride[1]}
    tiny.op(
        "TRANSPOSE_CONV",
        [shape, w, x, b],
        [y],
        options,
        options_kind="TransposeConvOptions",
        version=3,
    )
    tiny.output(y)
    feeds = [values((2, *sizes, 2), 3)]
    assert_same(tiny.pack(), feeds)


@pytest.mark.parametrize("padding", [0, 1])
@pytest.mark.parametrize("stride", [1, 2])
def test_conv_3d(padding, stride):
    tiny = TinyModel()
    x = tiny.input((1, 5, 6, 4, 2))
    w = tiny.constant(values((2, 3, 2, 2, 3), 1))
    b = tiny.constant(values((3,), 2))
    y = tiny.tensor((1, 1, 1, 1, 3))
    options = {"padding": padding, "strideD": 1, "strideH": stride, "strideW": stride}
    tiny.op("CONV_3D", [x, w, b], [y], options, options_kind="Conv3DOptions")
    tiny.output(y)
    feeds = [values((1, 5, 6, 4, 2), 3)]
    assert_same(tiny.settle(feeds), feeds)


@pytest.mark.parametrize("padding", [0, 1])
def test_conv_3d_transpose(padding):
    wanted = [2 * n if padding == 0 else 2 * n + 1 for n in (2, 3, 4)]
    tiny = TinyModel()
    shape = tiny.constant(np.array([1, *wanted, 3], np.int32))
    w = tiny.constant(values((3, 3, 3, 3, 2), 1))
    x = tiny.input((1, 2, 3, 4, 2))
    y = tiny.tensor((1, *wanted, 3))
    options = {"padding": padding, "strideD": 2, "strideH": 2, "strideW": 2}
    tiny.op("CONV_3D_TRANSPOSE", [shape, w, x], [y], options, options_kind="Conv3DOptions")
    tiny.output(y)
    assert_same(tiny.pack(), [values((1, 2, 3, 4, 2), 3)])


@pytest.mark.parametrize("depthwise", [False, True])
@pytest.mark.parametrize(
    ("sizes", "pads", "crops"),
    [
        ((8, 8), [[2, 2], [2, 2]], [[0, 0], [0, 0]]),
        ((7, 9), [[2, 3], [2, 3]], [[0, 1], [0, 1]]),
        ((8, 8), [[0, 0], [0, 0]], [[0, 0], [0, 0]]),
    ],
)
def test_dilated_convolution_written_as_three_operators_becomes_one(depthwise, sizes, pads, crops):
    tiny = TinyModel()
    x = tiny.input((1, *sizes, 2))
    blocks = tiny.constant(np.array([2, 2], np.int32))
    padded = [n + sum(p) for n, p in zip(sizes, pads, strict=True)]
    spread = tiny.tensor((4, padded[0] // 2, padded[1] // 2, 2))
    mixed, y = tiny.tensor((1, 4, 4, 2)), tiny.tensor((1, 4, 4, 2))
    kernel = (1, 3, 3, 2) if depthwise else (2, 3, 3, 2)
    w, b = tiny.constant(values(kernel, 1)), tiny.constant(values((2,), 2))
    tiny.op("SPACE_TO_BATCH_ND", [x, blocks, tiny.constant(np.array(pads, np.int32))], [spread])
    options = {"padding": 1, "strideH": 1, "strideW": 1}
    if depthwise:
        tiny.op("DEPTHWISE_CONV_2D", [spread, w, b], [mixed], {**options, "depthMultiplier": 1},
                options_kind="DepthwiseConv2DOptions")  # fmt: skip
    else:
        tiny.op("CONV_2D", [spread, w, b], [mixed], options, options_kind="Conv2DOptions")
    tiny.op("BATCH_TO_SPACE_ND", [mixed, blocks, tiny.constant(np.array(crops, np.int32))], [y])
    tiny.output(y)
    feeds = [values((1, *sizes, 2), 3)]
    model = tiny.settle(feeds)
    assert operators(model) == ["Transpose", "Conv", "Transpose"]
    assert_same(model, feeds)


@few
@given(
    kernel=st.tuples(small, small),
    padding=st.integers(0, 1),
    activation=st.integers(0, 3),
    per_channel=st.booleans(),
    seed=st.integers(0, 99),
)
def test_int8_conv_2d(kernel, padding, activation, per_channel, seed):
    tiny = TinyModel()
    x = tiny.input((1, 6, 5, 3), "INT8", scale=Scale(0.05, -3))
    steps = np.random.default_rng(seed).uniform(0.01, 0.03, 4 if per_channel else 1)
    w = tiny.constant(stored((4, *kernel, 3), seed), scale=Scale(steps.tolist()))
    bias_steps = (np.float32(0.05) * steps.astype(np.float32)).tolist()
    b = tiny.constant(stored((4,), seed, -900, 900, np.int32), scale=Scale(bias_steps))
    y = tiny.tensor((1, 6, 5, 4), "INT8", scale=Scale(0.1, 7))
    options = {
        "padding": padding,
        "strideH": 1,
        "strideW": 1,
        "fusedActivationFunction": activation,
    }
    tiny.op("CONV_2D", [x, w, b], [y], options, options_kind="Conv2DOptions", version=3)
    tiny.output(y)
    feeds = [stored((1, 6, 5, 3), seed + 1, -128)]
    assert_same(tiny.settle(feeds), feeds)


@pytest.mark.parametrize("multiplier", [1, 2])
def test_int8_depthwise_conv_per_channel(multiplier):
    channels = 3 * multiplier
    steps = np.linspace(0.01, 0.03, channels).astype(np.float32)
    tiny = TinyModel()
    x = tiny.input((1, 6, 5, 3), "INT8", scale=Scale(0.05, -3))
    w = tiny.constant(stored((1, 3, 3, channels)), scale=Scale(steps.tolist(), axis=3))
    b = tiny.constant(stored((channels,), 1, -900, 900, np.int32),
                      scale=Scale((np.float32(0.05) * steps).tolist()))  # fmt: skip
    y = tiny.tensor((1, 6, 5, channels), "INT8", scale=Scale(0.05, 7))
    options = {"strideH": 1, "strideW": 1, "depthMultiplier": multiplier}
    tiny.op(
        "DEPTHWISE_CONV_2D",
        [x, w, b],
        [y],
        options,
        options_kind="DepthwiseConv2DOptions",
        version=3,
    )
    tiny.output(y)
    assert_same(tiny.pack(), [stored((1, 6, 5, 3), 2, -128)])


def test_uint8_conv_with_zero_point_in_the_weights():
    tiny = TinyModel()
    x = tiny.input((1, 6, 5, 3), "UINT8", scale=Scale(0.05, 120))
    w = tiny.constant(stored((4, 3, 3, 3), 1, 0, 255, np.uint8), scale=Scale(0.01, 131))
    b = tiny.constant(stored((4,), 1, -900, 900, np.int32), scale=Scale(0.0005))
    y = tiny.tensor((1, 6, 5, 4), "UINT8", scale=Scale(0.03, 128))
    tiny.op("CONV_2D", [x, w, b], [y], {"strideH": 1, "strideW": 1}, options_kind="Conv2DOptions")
    tiny.output(y)
    assert_same(tiny.pack(), [stored((1, 6, 5, 3), 2, 0, 255, np.uint8)])


@pytest.mark.parametrize(("bias_type", "code"), [(np.int32, 2), (np.int64, 4)])
def test_int16_activations_with_int8_weights(bias_type, code):
    tiny = TinyModel()
    x = tiny.input((1, 6, 5, 3), "INT16", scale=Scale(0.0005))
    w = tiny.constant(stored((4, 3, 3, 3)), scale=Scale(0.01))
    b = tiny.constant(stored((4,), 1, -9000, 9000, bias_type), scale=Scale(0.000005))
    y = tiny.tensor((1, 6, 5, 4), "INT16", scale=Scale(0.001))
    tiny.op(
        "CONV_2D",
        [x, w, b],
        [y],
        {"strideH": 1, "strideW": 1, "quantizedBiasType": code},
        options_kind="Conv2DOptions",
        version=4,
    )
    tiny.output(y)
    assert_same(tiny.pack(), [stored((1, 6, 5, 3), 2, -9000, 9000, np.int16)])


def test_dynamic_range_weights_stay_integers_behind_a_dequantize():
    """The interpreter rounds the activations too, so the reference is the formula."""
    weights = stored((4, 3, 3, 2))
    steps = np.array([0.01, 0.02, 0.03, 0.04], np.float32)
    tiny = TinyModel()
    x = tiny.input((1, 6, 5, 2))
    w = tiny.constant(weights, scale=Scale(steps.tolist()))
    b = tiny.constant(values((4,), 2))
    y = tiny.tensor((1, 4, 3, 4))
    options = {"strideH": 1, "strideW": 1, "padding": 1}
    tiny.op("CONV_2D", [x, w, b], [y], options, options_kind="Conv2DOptions", version=5)
    tiny.output(y)
    feed = values((1, 6, 5, 2), 3)
    real = weights * steps[:, None, None, None]
    patches = np.lib.stride_tricks.sliding_window_view(feed, (3, 3), (1, 2))
    wanted = np.einsum("nhwcij,oijc->nhwo", patches, real) + values((4,), 2)
    np.testing.assert_allclose(run_imported(tiny.pack(), [feed])[0], wanted, atol=1e-4)
    assert operators(tiny.pack()) == ["Transpose", "DequantizeLinear", "Conv", "Transpose"]


@pytest.mark.parametrize("kind", ["float16", "int8"])
def test_dequantized_constant_weights_are_permuted_at_read_time(kind):
    tiny = TinyModel()
    x = tiny.input((1, 6, 5, 2))
    if kind == "float16":
        w = tiny.constant(values((4, 3, 3, 2), 1).astype(np.float16))
    else:
        w = tiny.constant(stored((4, 3, 3, 2), 1), scale=Scale([0.01, 0.02, 0.01, 0.03]))
    real, y = tiny.tensor((4, 3, 3, 2)), tiny.tensor((1, 6, 5, 4))
    b = tiny.constant(values((4,), 2))
    tiny.op("DEQUANTIZE", [w], [real], version=5)
    tiny.op(
        "CONV_2D", [x, real, b], [y], {"strideH": 1, "strideW": 1}, options_kind="Conv2DOptions"
    )
    tiny.output(y)
    assert_same(tiny.pack(), [values((1, 6, 5, 2), 3)])
    extra = ["DequantizeLinear"] if kind == "int8" else []
    assert sorted(operators(tiny.pack())) == sorted(["Conv", "Transpose", "Transpose", *extra])


@few
@given(
    keep=st.booleans(),
    shape=st.sampled_from([(5, 6), (2, 3, 6), (2, 2, 3, 6), (2, 3, 2), (12,)]),
    activation=st.integers(0, 3),
    with_bias=st.booleans(),
)
def test_fully_connected(keep, shape, activation, with_bias):
    keep = keep and shape[-1] == 6
    tiny = TinyModel()
    x = tiny.input(shape)
    w = tiny.constant(values((4, 6), 1))
    b = tiny.constant(values((4,), 2)) if with_bias else -1
    y = tiny.tensor((1, 4))
    options = {"keepNumDims": keep, "fusedActivationFunction": activation}
    tiny.op("FULLY_CONNECTED", [x, w, b], [y], options, options_kind="FullyConnectedOptions")
    tiny.output(y)
    feeds = [values(shape, 3)]
    assert_same(tiny.settle(feeds), feeds)


@pytest.mark.parametrize("shape", [(3, 6), (2, 3, 6)])
@pytest.mark.parametrize("steps", [[0.02], [0.01, 0.02, 0.03, 0.04]])
def test_int8_fully_connected(shape, steps):
    tiny = TinyModel()
    x = tiny.input(shape, "INT8", scale=Scale(0.05, -3))
    w = tiny.constant(stored((4, 6)), scale=Scale(steps))
    bias_steps = (np.float32(0.05) * np.array(steps, np.float32)).tolist()
    b = tiny.constant(stored((4,), 1, -900, 900, np.int32), scale=Scale(bias_steps))
    y = tiny.tensor((*shape[:-1], 4), "INT8", scale=Scale(0.1, 7))
    tiny.op(
        "FULLY_CONNECTED",
        [x, w, b],
        [y],
        {"keepNumDims": True},
        options_kind="FullyConnectedOptions",
        version=5,
    )
    tiny.output(y)
    assert_same(tiny.pack(), [stored(shape, 2, -128)])


@pytest.mark.parametrize("adj_x", [False, True])
@pytest.mark.parametrize("adj_y", [False, True])
@pytest.mark.parametrize("constant", [False, True])
def test_batch_matmul(adj_x, adj_y, constant):
    left = (2, 3, 5, 4) if adj_x else (2, 3, 4, 5)
    right = (1, 3, 6, 5) if adj_y else (1, 3, 5, 6)
    tiny = TinyModel()
    x = tiny.input(left)
    w = tiny.constant(values(right, 1)) if constant else tiny.input(right)
    y = tiny.tensor((2, 3, 4, 6))
    tiny.op(
        "BATCH_MATMUL",
        [x, w],
        [y],
        {"adjX": adj_x, "adjY": adj_y},
        options_kind="BatchMatMulOptions",
    )
    tiny.output(y)
    feeds = [values(left)] if constant else [values(left), values(right, 1)]
    assert_same(tiny.settle(feeds), feeds)


@pytest.mark.parametrize(("padding", "code"), [("same", 1), ("valid", 2)])
def test_transposed_convolution_with_bias_is_the_builtin_plus_a_bias(padding, code):
    """MediaPipe's operator against TRANSPOSE_CONV of the same weights."""
    wanted = (8, 10) if padding == "same" else (9, 11)
    weights, bias_values = values((2, 3, 3, 4), 1), values((2,), 2)
    custom, builtin = TinyModel(), TinyModel()
    x = custom.input((1, 4, 5, 4))
    y = custom.tensor((1, *wanted, 2))
    operands = [x, custom.constant(weights), custom.constant(bias_values)]
    options = struct.pack("<3i", code, 2, 2)
    custom.op("Convolution2DTransposeBias", operands, [y], custom_options=options)
    custom.output(y)
    shape = builtin.constant(np.array([1, *wanted, 2], np.int32))
    w, x = builtin.constant(weights), builtin.input((1, 4, 5, 4))
    b, y = builtin.constant(bias_values), builtin.tensor((1, *wanted, 2))
    builtin.op("TRANSPOSE_CONV", [shape, w, x, b], [y],
               {"padding": code - 1, "strideH": 2, "strideW": 2},
               options_kind="TransposeConvOptions", version=3)  # fmt: skip
    builtin.output(y)
    feeds = [values((1, 4, 5, 4), 3)]
    assert_same(builtin.pack(), feeds)
    np.testing.assert_array_equal(
        run_imported(custom.pack(), feeds)[0], run_imported(builtin.pack(), feeds)[0]
    )
