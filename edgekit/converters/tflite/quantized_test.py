import tempfile
from pathlib import Path

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter, OpResolverType
from hypothesis import given, settings
from hypothesis import strategies as st

from edgekit.converters.base import EmitOptions
from edgekit.converters.tflite.converter import TFLiteConverter
from edgekit.converters.tflite.kernels import KERNELS
from edgekit.errors import UnsupportedError
from edgekit.ir import Model, Oracle, Source
from edgekit.testing.tflite import model_of, operators, reference

HEADER = '<ir_version: 10, opset_import: ["" : 21]> g '
KERNEL_SETS = (OpResolverType.AUTO, OpResolverType.BUILTIN_REF)


def emit(model):
    """The file, and the nodes that stay float."""
    with tempfile.TemporaryDirectory() as folder:
        emitted = TFLiteConverter().emit(
            Model(model, source=Source("case")), Path(folder), EmitOptions()
        )
        return emitted.path.read_bytes(), [reason.reason for reason in emitted.float_nodes]


def run(content, feeds, kernels=OpResolverType.AUTO):
    interpreter = Interpreter(
        model_content=content, num_threads=1, experimental_op_resolver_type=kernels
    )
    return interpreter.get_signature_runner()(**feeds)


def asymmetric(values, lowest=-128):
    """Scale and zero point that cover values and zero."""
    low, high = min(float(values.min()), 0.0), max(float(values.max()), 0.0)
    scale = max((high - low) / 255, 1e-6)
    return np.float32(scale), round(lowest - low / scale)


def quantized_graph(text, inputs, constants=None, weights=None, output=None, same=False):
    """A graph of one node `y = ...` with a Q/DQ pair on each input, constant and result.

    Args:
        text: the node, reading `inputs` by the name of their arrays with `_d` behind.
        inputs: samples, which give shapes and ranges.
        constants: int8 constants by tensor.
        weights: name → (array, axis), symmetric by channel.
        output: scale and zero point of the result; default: what its range needs.
        same: whether everything has the first input's scale.
    """
    arrays, nodes, declared, plain = {}, [], [], []
    for name, value in {**inputs, **(constants or {})}.items():
        scale, zero = asymmetric(value)
        if same and arrays:
            first = next(iter(inputs))
            scale, zero = arrays[f"{first}_s"], arrays[f"{first}_z"]
        arrays |= {f"{name}_s": np.float32(scale), f"{name}_z": np.int8(zero)}
        declared += [f"float {name}_s", f"int8 {name}_z"]
        if name in inputs:
            plain.append(f"float[{sizes(value)}] {name}")
            nodes.append(f"{name}_q = QuantizeLinear({name}, {name}_s, {name}_z)")
        else:
            arrays[f"{name}_q"] = stored(value, scale, zero)
            declared.append(f"int8[{sizes(value)}] {name}_q")
        nodes.append(f"{name}_d = DequantizeLinear({name}_q, {name}_s, {name}_z)")
    for name, (value, axis) in (weights or {}).items():
        scale = np.abs(value).max(tuple(a for a in range(value.ndim) if a != axis)) / 127
        shape = [-1 if a == axis else 1 for a in range(value.ndim)]
        arrays[f"{name}_q"] = np.round(value / scale.reshape(shape)).astype(np.int8)
        arrays[f"{name}_s"] = scale.astype(np.float32)
        arrays[f"{name}_z"] = np.zeros(scale.shape, np.int8)
        declared += [f"int8[{sizes(value)}] {name}_q"]
        declared += [f"float[{scale.size}] {name}_s", f"int8[{scale.size}] {name}_z"]
        nodes.append(f"{name}_d = DequantizeLinear<axis={axis}>({name}_q, {name}_s, {name}_z)")
    body = f"{' '.join(nodes)} {text}"
    # The text format cannot leave the rank of a result open: a first run finds its shape.
    outside = ", ".join(plain + declared)
    real = reference(model_of(f"{HEADER}({outside}) => (float y) {{ {body} }}", arrays), inputs)[
        "y"
    ]
    if output is None:
        first = next(iter(inputs))
        output = (arrays[f"{first}_s"], arrays[f"{first}_z"]) if same else asymmetric(real)
    arrays |= {"y_s": np.float32(output[0]), "y_z": np.int8(output[1])}
    declared += ["float y_s", "int8 y_z"]
    tail = "y_q = QuantizeLinear(y, y_s, y_z) result = DequantizeLinear(y_q, y_s, y_z)"
    model = model_of(
        f"{HEADER}({', '.join(plain + declared)}) => (float[{sizes(real)}] result) "
        f"{{ {body} {tail} }}",
        arrays,
    )
    return model, float(output[0])


def sizes(array):
    return ",".join(str(size) for size in np.shape(array))


def stored(value, scale, zero):
    return np.clip(np.round(value / scale) + zero, -128, 127).astype(np.int8)


def assert_integer(model, feeds, step, quanta=1, kernels=KERNEL_SETS):
    """Assert that it runs in int8 and is within some quanta of the exact graph."""
    content, left = emit(model)
    ops = operators(content)
    assert left == []
    assert ops[0] == "QUANTIZE"
    assert ops[-1] == "DEQUANTIZE"
    with Oracle(model, exact=True) as oracle:
        expected = oracle.run(feeds)["result"]
    for kind in kernels:
        got = run(content, feeds, kind)["result"]
        np.testing.assert_allclose(got, expected, rtol=0, atol=(quanta + 0.01) * step)
    return [op for op in ops if op not in ("QUANTIZE", "DEQUANTIZE")]


UNIT, SIGNED_UNIT = (1 / 256, -128), (1 / 128, 0)

# name: (node, input shapes, operators, options)
CASES = {
    "add": ("y = Add(a_d, b_d)", [(2, 3, 4), (3, 4)], ["ADD"], {}),
    "sub": ("y = Sub(a_d, b_d)", [(2, 3, 4), (2, 3, 4)], ["SUB"], {}),
    "mul": ("y = Mul(a_d, b_d)", [(2, 3, 4), (1, 4)], ["MUL"], {}),
    "max": ("y = Max(a_d, b_d)", [(2, 4), (2, 4)], ["MAXIMUM"], {"same": True}),
    "min": ("y = Min(a_d, b_d)", [(2, 4), (2, 4)], ["MINIMUM"], {"same": True}),
    "relu": ("y = Relu(a_d)", [(2, 8)], ["RELU"], {}),
    "leaky": ("y = LeakyRelu<alpha=0.2>(a_d)", [(2, 8)], ["LEAKY_RELU"], {}),
    "gelu": ("y = Gelu(a_d)", [(2, 8)], ["GELU"], {}),
    "hard swish": ("y = HardSwish(a_d)", [(2, 8)], ["HARD_SWISH"], {}),
    "abs": ("y = Abs(a_d)", [(2, 8)], ["ABS"], {}),
    "exp": ("y = Exp(a_d)", [(2, 8)], ["EXP"], {}),
    "sigmoid": ("y = Sigmoid(a_d)", [(2, 8)], ["LOGISTIC"], {"output": UNIT}),
    "hard sigmoid": (
        "y = HardSigmoid<alpha=0.16666667, beta=0.5>(a_d)",
        [(2, 8)],
        ["ADD", "MUL"],
        {"output": (1 / 255, -128)},
    ),
    "steep hard sigmoid": (
        "y = HardSigmoid<alpha=1.5, beta=-0.2>(a_d)",
        [(2, 8)],
        ["ADD", "MUL"],
        {"output": (1 / 255, -128)},
    ),
    "hard sigmoid without a shift": (
        "y = HardSigmoid<alpha=0.05, beta=0.0>(a_d)",
        [(2, 8)],
        ["ADD", "MUL"],
        {"output": (1 / 255, -128)},
    ),
    "requantized hard sigmoid": (
        "y = HardSigmoid(a_d)",
        [(2, 8)],
        ["ADD", "MUL"],
        {"output": UNIT},
    ),
    "unit length": (
        "y = LpNormalization<axis=-1, p=2>(a_d)",
        [(2, 8)],
        ["L2_NORMALIZATION"],
        {"output": SIGNED_UNIT},
    ),
    "unit length of channels": (
        "y = LpNormalization<axis=1, p=2>(a_d)",
        [(1, 8, 3, 2)],
        None,
        {"output": SIGNED_UNIT},
    ),
    "global max": ("y = GlobalMaxPool(a_d)", [(2, 3, 5, 4)], ["REDUCE_MAX"], {"same": True}),
    "tanh": ("y = Tanh(a_d)", [(2, 8)], ["TANH"], {"output": SIGNED_UNIT}),
    "softmax": ("y = Softmax<axis=-1>(a_d)", [(2, 8)], ["SOFTMAX"], {"output": UNIT}),
    "matmul": ("y = MatMul(a_d, b_d)", [(2, 3, 5), (2, 5, 4)], ["BATCH_MATMUL"], {}),
    "gemm": ("y = Gemm<transB=1>(a_d, b_d)", [(3, 5), (4, 5)], ["BATCH_MATMUL"], {}),
    "concat": (
        "y = Concat<axis=1>(a_d, b_d)",
        [(2, 3, 4), (2, 5, 4)],
        ["CONCATENATION"],
        {"same": True},
    ),
    "mean": ("y = GlobalAveragePool(a_d)", [(2, 3, 5, 4)], None, {}),
    "max pool": (
        "y = MaxPool<kernel_shape=[2,2], strides=[2,2]>(a_d)",
        [(1, 3, 6, 6)],
        None,
        {"same": True},
    ),
    "average pool": (
        "y = AveragePool<kernel_shape=[3,3], strides=[1,1]>(a_d)",
        [(1, 3, 6, 6)],
        None,
        {"same": True},
    ),
    "transpose": ("y = Transpose<perm=[2,0,1]>(a_d)", [(2, 3, 4)], ["TRANSPOSE"], {"same": True}),
    "depth to space": ("y = DepthToSpace<blocksize=2>(a_d)", [(1, 8, 3, 3)], None, {"same": True}),
    "neg": ("y = Neg(a_d)", [(2, 8)], ["SUB"], {}),
    "neg of positive": ("y = Neg(a_d)", [(2, 8)], ["SUB"], {"positive": True}),
    "elu": ("y = Elu(a_d)", [(2, 8)], ["ELU"], {}),
    "sqrt": ("y = Sqrt(a_d)", [(2, 8)], ["SQRT"], {"positive": True}),
    "log": ("y = Log(a_d)", [(2, 8)], ["LOG"], {"positive": True}),
    "log softmax": (
        "y = LogSoftmax<axis=-1>(a_d)",
        [(2, 8)],
        ["LOG_SOFTMAX"],
        {"output": (16 / 256, 127)},
    ),
    "relu6": (
        "l = Constant<value = float {0.0}>() h = Constant<value = float {6.0}>() "
        "y = Clip(a_d, l, h)",
        [(2, 8)],
        ["RELU6"],
        {},
    ),
    "clip": (
        "l = Constant<value = float {-0.5}>() h = Constant<value = float {0.7}>() "
        "y = Clip(a_d, l, h)",
        [(2, 8)],
        ["MAXIMUM", "MINIMUM"],
        {"same": True},
    ),
    "reduce sum": (
        "x = Constant<value = int64[1] {1}>() y = ReduceSum(a_d, x)",
        [(2, 3, 4)],
        ["SUM"],
        {},
    ),
    "reduce mean": (
        "x = Constant<value = int64[2] {1, 2}>() y = ReduceMean<keepdims=0>(a_d, x)",
        [(2, 3, 4)],
        ["MEAN"],
        {},
    ),
    "reduce max": (
        "x = Constant<value = int64[1] {-1}>() y = ReduceMax(a_d, x)",
        [(2, 3, 4)],
        ["REDUCE_MAX"],
        {"same": True},
    ),
    "pad": (
        "p = Constant<value = int64[4] {1, 0, 0, 2}>() y = Pad(a_d, p)",
        [(2, 3)],
        ["PAD"],
        {"same": True},
    ),
    "pad with a value": (
        "p = Constant<value = int64[4] {1, 0, 0, 2}>() v = Constant<value = float {0.5}>() "
        "y = Pad(a_d, p, v)",
        [(2, 3)],
        ["PADV2"],
        {"same": True},
    ),
    "reflect": (
        'p = Constant<value = int64[4] {1, 0, 0, 2}>() y = Pad<mode="reflect">(a_d, p)',
        [(2, 3)],
        ["MIRROR_PAD"],
        {"same": True},
    ),
    "slice": (
        "b = Constant<value = int64[1] {1}>() e = Constant<value = int64[1] {3}>() "
        "y = Slice(a_d, b, e, b)",
        [(2, 5)],
        None,
        {"same": True},
    ),
    "gather": (
        "i = Constant<value = int64[2] {2, 0}>() y = Gather<axis=1>(a_d, i)",
        [(2, 5)],
        ["GATHER"],
        {"same": True},
    ),
    "expand": (
        "s = Constant<value = int64[2] {3, 5}>() y = Expand(a_d, s)",
        [(1, 5)],
        None,
        {"same": True},
    ),
    "split": (
        "p = Constant<value = int64[2] {2, 3}>() z, y = Split<axis=1>(a_d, p)",
        [(2, 5)],
        None,
        {"same": True},
    ),
    "bilinear": (
        'r = Constant<value = float[4] {1.0, 1.0, 2.0, 2.0}>() y = Resize<mode="linear">(a_d, , r)',
        [(1, 3, 4, 4)],
        None,
        {"same": True},
    ),
    "nearest": (
        "r = Constant<value = float[4] {1.0, 1.0, 2.0, 2.0}>() "
        'y = Resize<mode="nearest", coordinate_transformation_mode="asymmetric", '
        'nearest_mode="floor">(a_d, , r)',
        [(1, 3, 4, 4)],
        None,
        {"same": True},
    ),
    "where": (
        "c = Constant<value = bool[4] {1, 0, 0, 1}>() y = Where(c, a_d, b_d)",
        [(2, 4), (2, 4)],
        ["SELECT_V2"],
        {"same": True},
    ),
    "prelu": ("y = PRelu(a_d, b_d)", [(2, 3, 4), (4,)], ["PRELU"], {}),
    "flatten": ("y = Flatten(a_d)", [(2, 3, 4)], ["RESHAPE"], {"same": True}),
}
NO_REFERENCE_KERNEL = {"depth to space", "elu", "reduce sum", "expand"}
"""Operators that LiteRT's set of reference kernels lacks, or gets wrong (SUM)."""


@pytest.mark.parametrize("name", CASES)
@settings(max_examples=4, deadline=None)
@given(seed=st.integers(0, 10_000), spread=st.sampled_from([0.05, 1.0, 4.0]))
def test_single_operators_are_within_one_step(name, seed, spread):
    text, shapes, wanted, options = CASES[name]
    if name == "exp":
        spread = min(spread, 1.0)
    rng = np.random.default_rng(seed)
    feeds = {
        key: (rng.normal(size=shape) * spread).astype(np.float32)
        for key, shape in zip("ab", shapes, strict=False)
    }
    options = dict(options)
    if options.pop("positive", False):
        feeds = {key: np.abs(value) + np.float32(spread / 4) for key, value in feeds.items()}
    model, step = quantized_graph(text, feeds, **options)
    kernels = KERNEL_SETS[:1] if name in NO_REFERENCE_KERNEL else KERNEL_SETS
    ops = assert_integer(model, feeds, step, kernels=kernels)
    assert wanted is None or ops == wanted


CONVOLUTIONS = {
    "plain": ("", (6, 3, 3, 3), (1, 3, 6, 6), 0),
    "strided": ("<strides=[2,2], pads=[1,1,1,1]>", (6, 3, 3, 3), (1, 3, 7, 7), 0),
    "depthwise": ("<group=4, pads=[1,1,1,1]>", (4, 1, 3, 3), (2, 4, 5, 5), 0),
    "multiplied depthwise": ("<group=3>", (6, 1, 3, 3), (1, 3, 5, 5), 0),
    "grouped": ("<group=2>", (4, 4, 3, 3), (1, 8, 5, 5), 0),
    "one-dimensional": ("<pads=[1,1]>", (4, 3, 3), (1, 3, 9), 0),
}


@pytest.mark.parametrize("name", CONVOLUTIONS)
@pytest.mark.parametrize("activation", ["", "Relu"])
@settings(max_examples=4, deadline=None)
@given(seed=st.integers(0, 10_000), bias=st.sampled_from(["float", "int32", "none"]))
def test_convolutions_by_channel(name, activation, seed, bias):
    attributes, shape, x_shape, axis = CONVOLUTIONS[name]
    rng = np.random.default_rng(seed)
    feeds = {"a": rng.normal(size=x_shape).astype(np.float32)}
    weights = {"w": (rng.normal(size=shape).astype(np.float32) * rng.uniform(0.1, 3), axis)}
    model, step = _with_bias("Conv", attributes, feeds, weights, bias, activation, shape[0], rng)
    ops = assert_integer(model, feeds, step)
    assert "RELU" not in ops
    assert sum("CONV" in op for op in ops) == 1


def _with_bias(op, attributes, feeds, weights, bias, activation, channels, rng):
    """A product with a bias of some kind, then an activation."""
    name = "y" if not activation else "linear"
    third = "" if bias == "none" else ", bias"
    text = f"{name} = {op}{attributes}(a_d, w_d{third})"
    if activation:
        text += f" y = {activation}(linear)"
    values = rng.normal(size=channels).astype(np.float32)
    arrays = f"bias = Constant<value = float[{channels}] {{{', '.join(map(str, values))}}}>()"
    if bias == "int32":
        scale = asymmetric(feeds["a"])[0] * _weight_scale(*weights["w"])
        numbers = np.round(values / scale).astype(np.int32)
        arrays = (
            f"bias_s = Constant<value = float[{channels}] {{{', '.join(map(str, scale))}}}>() "
            f"bias_q = Constant<value = int32[{channels}] {{{', '.join(map(str, numbers))}}}>() "
            "bias = DequantizeLinear<axis=0>(bias_q, bias_s)"
        )
    return quantized_graph(f"{arrays if third else ''} {text}", feeds, weights=weights)


def _weight_scale(value, axis):
    return np.abs(value).max(tuple(a for a in range(value.ndim) if a != axis)) / np.float32(127)


@pytest.mark.parametrize("bias", ["float", "int32", "none"])
@pytest.mark.parametrize(
    ("attributes", "shape", "axis"), [("", (7, 5), 1), ("<transB=1>", (5, 7), 0)]
)
def test_fully_connected_by_channel(bias, attributes, shape, axis):
    rng = np.random.default_rng(3)
    feeds = {"a": rng.normal(size=(4, 7)).astype(np.float32)}
    weights = {"w": (rng.normal(size=shape).astype(np.float32), axis)}
    model, step = _with_bias("Gemm", attributes, feeds, weights, bias, "", 5, rng)
    assert assert_integer(model, feeds, step) == ["FULLY_CONNECTED"]


def test_transposed_convolution():
    rng = np.random.default_rng(3)
    feeds = {"a": rng.normal(size=(1, 4, 5, 5)).astype(np.float32)}
    weights = {"w": (rng.normal(size=(4, 6, 3, 3)).astype(np.float32), 1)}
    model, step = _with_bias(
        "ConvTranspose", "<strides=[2,2]>", feeds, weights, "float", "", 6, rng
    )
    assert "TRANSPOSE_CONV" in assert_integer(model, feeds, step)


# Scales that kernels do not take as they are ----------------------------------------------------


def graph(body, inputs, outputs, **arrays):
    constants = {}
    for name, value in arrays.items():
        kind = np.int8 if name.startswith("z") else np.uint8 if name.startswith("u") else np.float32
        constants[name] = np.asarray(value, kind) if not isinstance(value, np.ndarray) else value
    names = {np.dtype("int8"): "int8", np.dtype("uint8"): "uint8", np.dtype("float32"): "float"}
    names |= {np.dtype("int32"): "int32", np.dtype("int16"): "int16"}
    declared = [
        f"{names[v.dtype]}{f'[{sizes(v)}]' if v.ndim else ''} {k}" for k, v in constants.items()
    ]
    return model_of(
        f"{HEADER}({', '.join([inputs, *declared])}) => ({outputs}) {{ {body} }}", constants
    )


def outputs_of(model, feeds):
    content, left = emit(model)
    with Oracle(model, exact=True) as oracle:
        expected = oracle.run(feeds)
    return run(content, feeds), expected, operators(content), left


def normal(*shape):
    return np.random.default_rng(0).normal(size=shape).astype(np.float32)


def test_inputs_of_a_join_are_requantized():
    model = graph(
        """aq = QuantizeLinear(a, s1, z1) ad = DequantizeLinear(aq, s1, z1)
           bq = QuantizeLinear(b, s2, z2) bd = DequantizeLinear(bq, s2, z2)
           c = Concat<axis=1>(ad, bd)
           cq = QuantizeLinear(c, s3, z3) y = DequantizeLinear(cq, s3, z3)""",
        "float[2,3] a, float[2,3] b",
        "float[2,6] y",
        s1=0.02, z1=3, s2=0.03, z2=-10, s3=0.03, z3=-10,
    )  # fmt: skip
    got, expected, ops, left = outputs_of(model, {"a": normal(2, 3), "b": normal(2, 3)})
    assert ops.count("QUANTIZE") == 3
    assert left == []
    np.testing.assert_allclose(got["y"], expected["y"], atol=0.0301)


def test_a_pool_that_changes_the_scale_is_requantized_behind():
    model = graph(
        """aq = QuantizeLinear(a, s1, z1) ad = DequantizeLinear(aq, s1, z1)
           p = AveragePool<kernel_shape=[4,4]>(ad)
           pq = QuantizeLinear(p, s2, z2) y = DequantizeLinear(pq, s2, z2)""",
        "float[1,2,4,4] a",
        "float[1,2,1,1] y",
        s1=0.03, z1=0, s2=0.01, z2=0,
    )  # fmt: skip
    got, expected, ops, left = outputs_of(model, {"a": normal(1, 2, 4, 4)})
    assert ops.count("QUANTIZE") == 2
    assert left == []
    np.testing.assert_allclose(got["y"], expected["y"], atol=0.0301)


def test_a_fixed_output_scale_is_kept_and_requantized():
    model = graph(
        """aq = QuantizeLinear(a, s1, z1) ad = DequantizeLinear(aq, s1, z1)
           p = Sigmoid(ad) pq = QuantizeLinear(p, s2, z2) y = DequantizeLinear(pq, s2, z2)""",
        "float[4,8] a",
        "float[4,8] y",
        s1=0.03, z1=0, s2=0.008, z2=-100,
    )  # fmt: skip
    got, expected, ops, _ = outputs_of(model, {"a": normal(4, 8)})
    assert ops == ["QUANTIZE", "LOGISTIC", "QUANTIZE", "DEQUANTIZE"]
    np.testing.assert_allclose(got["y"], expected["y"], atol=0.0081)


def test_a_finer_output_than_the_kernel_has_stays_float():
    model = graph(
        """aq = QuantizeLinear(a, s1, z1) ad = DequantizeLinear(aq, s1, z1)
           p = Softmax(ad) pq = QuantizeLinear(p, s2, z2) y = DequantizeLinear(pq, s2, z2)""",
        "float[4,200] a",
        "float[4,200] y",
        s1=0.03, z1=0, s2=0.0002, z2=-128,
    )  # fmt: skip
    got, expected, ops, left = outputs_of(model, {"a": normal(4, 200)})
    assert "fixed step of 1/256" in left[0]
    assert ops == ["QUANTIZE", "DEQUANTIZE", "SOFTMAX", "QUANTIZE", "DEQUANTIZE"]
    np.testing.assert_allclose(got["y"], expected["y"], atol=0.000201)


def test_two_readers_with_two_scales():
    model = graph(
        """aq = QuantizeLinear(a, s1, z1) ad = DequantizeLinear(aq, s1, z1) r = Relu(ad)
           pq = QuantizeLinear(r, s1, z3) y = DequantizeLinear(pq, s1, z3)
           qq = QuantizeLinear(r, s2, z3) w = DequantizeLinear(qq, s2, z3)""",
        "float[4,8] a",
        "float[4,8] y, float[4,8] w",
        s1=0.02, z1=0, s2=0.01, z3=-128,
    )  # fmt: skip
    got, expected, ops, left = outputs_of(model, {"a": normal(4, 8)})
    assert left == []
    assert ops.count("RELU") == 1
    np.testing.assert_allclose(got["y"], expected["y"], atol=0.0201)
    np.testing.assert_allclose(got["w"], expected["w"], atol=0.0201)


def test_unsigned_values_become_signed():
    model = graph(
        """aq = QuantizeLinear(a, s1, u1) ad = DequantizeLinear(aq, s1, u1)
           wd = DequantizeLinear(w, s2, u2) c = Conv(ad, wd) r = Relu(c)
           q = QuantizeLinear(r, s3, u3) y = DequantizeLinear(q, s3, u3)""",
        "float[1,2,4,4] a",
        "float[1,3,3,3] y",
        s1=0.03, u1=120, s2=0.01, u2=128, s3=0.02, u3=0,
        w=np.random.default_rng(1).integers(1, 255, (3, 2, 2, 2)).astype(np.uint8),
    )  # fmt: skip
    got, expected, ops, left = outputs_of(model, {"a": normal(1, 2, 4, 4)})
    assert left == []
    assert "RELU" not in ops
    np.testing.assert_allclose(got["y"], expected["y"], atol=0.0201)


@pytest.mark.parametrize(("dtype", "zero"), [("int8", "z"), ("uint8", "u")])
def test_integer_edges(dtype, zero):
    model = graph(
        f"""d = DequantizeLinear(a, s1, {zero}1) r = Relu(d)
            y = QuantizeLinear(r, s2, {zero}2)""",
        f"{dtype}[2,8] a",
        f"{dtype}[2,8] y",
        **{"s1": 0.03, f"{zero}1": 20, "s2": 0.02, f"{zero}2": 5},
    )
    feeds = {"a": np.random.default_rng(0).integers(0, 127, (2, 8)).astype(dtype)}
    got, expected, ops, left = outputs_of(model, feeds)
    assert left == []
    assert ops == (["RELU"] if dtype == "int8" else ["QUANTIZE", "RELU", "QUANTIZE"])
    assert got["y"].dtype == dtype
    assert np.abs(got["y"].astype(int) - expected["y"]).max() <= 1


def test_integer_edges_carry_their_scale():
    model = graph(
        "d = DequantizeLinear(a, s1, z1) r = Relu(d) y = QuantizeLinear(r, s2, z2)",
        "int8[2,8] a",
        "int8[2,8] y",
        s1=0.03, z1=20, s2=0.02, z2=5,
    )  # fmt: skip
    interpreter = Interpreter(model_content=emit(model)[0])
    (given,), (made,) = interpreter.get_input_details(), interpreter.get_output_details()
    assert given["quantization"] == (pytest.approx(0.03), 20)
    assert made["quantization"] == (pytest.approx(0.02), 5)


def test_an_image_model_with_integer_edges_has_no_float_inside():
    model = graph(
        """d = DequantizeLinear(a, s1, z1) wd = DequantizeLinear<axis=0>(w, s4, z4)
           c = Conv<pads=[1,1,1,1]>(d, wd) r = Relu(c)
           q = QuantizeLinear(r, s2, z2) e = DequantizeLinear(q, s2, z2)
           y0 = Transpose<perm=[0,2,3,1]>(e) y = QuantizeLinear(y0, s2, z2)""",
        "int8[1,2,4,4] a",
        "int8[1,4,4,3] y",
        s1=0.03, z1=20, s2=0.02, z2=5, s4=np.float32([0.01, 0.02, 0.03]), z4=np.zeros(3, np.int8),
        w=np.random.default_rng(1).integers(-127, 127, (3, 2, 3, 3)).astype(np.int8),
    )  # fmt: skip
    feeds = {"a": np.random.default_rng(0).integers(-128, 127, (1, 2, 4, 4)).astype(np.int8)}
    got, expected, ops, left = outputs_of(model, feeds)
    assert left == []
    assert ops == ["TRANSPOSE", "CONV_2D"]
    assert np.abs(got["y"].astype(int) - expected["y"]).max() <= 1


# Mixed graphs -----------------------------------------------------------------------------------


def test_float_nodes_are_told_and_fenced():
    model = graph(
        """aq = QuantizeLinear(a, s1, z1) ad = DequantizeLinear(aq, s1, z1)
           r = Relu(ad) rq = QuantizeLinear(r, s1, z1) rd = DequantizeLinear(rq, s1, z1)
           t = Sin(rd) u = Cos(rd) y = Add(t, u)""",
        "float[4,8] a",
        "float[4,8] y",
        s1=0.03, z1=0,
    )  # fmt: skip
    got, expected, ops, left = outputs_of(model, {"a": normal(4, 8)})
    assert ops == ["QUANTIZE", "RELU", "DEQUANTIZE", "SIN", "COS", "ADD"]
    assert len(left) == 3
    assert "no int8 kernel for Sin" in left[0]
    assert "not quantized" in left[2]
    np.testing.assert_allclose(got["y"], expected["y"], atol=0.04)


def test_moves_between_integers_stay_integers():
    model = graph(
        """t0 = Transpose<perm=[1,0]>(a)
           aq = QuantizeLinear(t0, s1, z1) ad = DequantizeLinear(aq, s1, z1)
           t = Transpose<perm=[1,0]>(ad) y = Sin(t)""",
        "float[4,8] a",
        "float[4,8] y",
        s1=0.03, z1=0,
    )  # fmt: skip
    got, expected, ops, _ = outputs_of(model, {"a": normal(4, 8)})
    assert "TRANSPOSE" not in ops[:1]
    np.testing.assert_allclose(got["y"], expected["y"], atol=1e-6)


WEIGHTS = np.random.default_rng(1).integers(-127, 127, (3, 2, 2, 2)).astype(np.int8)


@pytest.mark.parametrize(
    ("weight", "parameters", "reason"),
    [
        ("DequantizeLinear(w, s4, z4)", {"s4": 0.01, "z4": 3}, "zero point other than 0"),
        (
            "DequantizeLinear<axis=1>(w, s4, z4)",
            {"s4": np.float32([0.1, 0.2]), "z4": np.zeros(2, np.int8)},
            "each slice of axis 1",
        ),
        ("Cast<to=1>(w)", {}, "operand 1 ('wd') is not quantized"),
    ],
)
def test_weights_that_kernels_do_not_take_stay_float(weight, parameters, reason):
    model = graph(
        f"""aq = QuantizeLinear(a, s1, z1) ad = DequantizeLinear(aq, s1, z1)
            wd = {weight} c = Conv(ad, wd)
            q = QuantizeLinear(c, s1, z1) y = DequantizeLinear(q, s1, z1)""",
        "float[1,2,4,4] a",
        "float[1,3,3,3] y",
        s1=0.03, z1=0, w=WEIGHTS, **parameters,
    )  # fmt: skip
    got, expected, _, left = outputs_of(model, {"a": normal(1, 2, 4, 4)})
    assert reason in " ".join(left)
    np.testing.assert_allclose(got["y"], expected["y"], atol=0.0301)


def test_weights_of_a_float_node_are_folded():
    model = graph(
        "wd = DequantizeLinear<axis=1>(w, s1, z1) y = Add(a, wd)",
        "float[2,3] a",
        "float[2,3] y",
        s1=np.float32([0.1, 0.2, 0.3]), z1=np.int8([1, 2, 3]), w=np.int8([[1, 2, 3], [4, 5, 6]]),
    )  # fmt: skip
    got, expected, ops, left = outputs_of(model, {"a": normal(2, 3)})
    assert (ops, left) == (["ADD"], [])
    np.testing.assert_allclose(got["y"], expected["y"], rtol=1e-6)


def test_integer_sums_are_dequantized_by_arithmetic():
    model = graph(
        "y = DequantizeLinear<axis=1>(a, s1)",
        "int32[2,3] a",
        "float[2,3] y",
        s1=np.float32([0.1, 0.2, 0.3]),
    )
    got, expected, _, _ = outputs_of(model, {"a": np.int32([[1, -2, 3], [100_000, 5, 6]])})
    np.testing.assert_allclose(got["y"], expected["y"], rtol=1e-6)


@pytest.mark.parametrize(
    ("slope", "scale", "reason"),
    [("alpha=0.2", 3.0, "half of its slope"), ("alpha=-0.2", 0.03, "alpha is not within")],
)
def test_hard_sigmoids_beyond_the_kernels_stay_float(slope, scale, reason):
    model = graph(
        f"""q = QuantizeLinear(a, s1, z1) d = DequantizeLinear(q, s1, z1)
            y = HardSigmoid<{slope}>(d)
            yq = QuantizeLinear(y, s2, z2) r = DequantizeLinear(yq, s2, z2)""",
        "float[2,3] a",
        "float[2,3] r",
        s1=scale, z1=0, s2=1 / 255, z2=-128,
    )  # fmt: skip
    got, expected, _, left = outputs_of(model, {"a": 3 * normal(2, 3)})
    assert reason in " ".join(left)
    np.testing.assert_allclose(got["r"], expected["r"], atol=1.01 / 255)


def test_one_value_with_two_meanings_is_refused():
    model = graph(
        "q = QuantizeLinear(a, s1, z1) y = DequantizeLinear(q, s2, z1)",
        "float[2,3] a",
        "float[2,3] y",
        s1=0.1, z1=0, s2=0.2,
    )  # fmt: skip
    with pytest.raises(UnsupportedError, match="other parameters"):
        emit(model)


def test_every_kernel_has_a_lowering():
    from edgekit.converters.tflite.table import LOWERINGS

    layout_turns_them_into_reductions = {"GlobalAveragePool", "GlobalMaxPool"}
    assert set(KERNELS) - set(LOWERINGS) <= layout_turns_them_into_reductions


def test_an_input_of_unknown_rank_is_a_reason():
    model = graph("y = Relu(x)", "float[2,3] x", "float[2,3] y")
    for value in (*model.graph.inputs, *model.graph.outputs):
        value.shape = None
    with pytest.raises(UnsupportedError, match="the rank of 'x' is unknown"):
        emit(model)
