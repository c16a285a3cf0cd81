"""Lowerings given int8 tensors: each result within a step of the float one."""

import numpy as np
import pytest

from edgekit.converters.tflite.graph import Graph, Quantization, Tensor
from edgekit.converters.tflite.lowering import Lowering, dtype_of, shape_of
from edgekit.converters.tflite.ops import (
    activation,
    create,
    elementwise,
    gather,
    join,
    logic,
    order,
    pad,
    reduce,
    repeat,
    shape,
    slicing,
    softmax,
)
from edgekit.converters.tflite.table import LOWERINGS
from edgekit.converters.tflite.writer import serialize
from edgekit.testing.tflite import node_model, reference, run

MODULES = (
    activation, create, elementwise, gather, join, logic, order, pad, reduce, repeat, shape,
    slicing, softmax,
)  # fmt: skip
READY = frozenset().union(*(module.INT8_READY for module in MODULES))


def encoding(scale, zero_point):
    return Quantization(np.array([scale], np.float32), np.array([zero_point], np.int64))


IN = encoding(0.05, 10)
WIDE = encoding(0.2, -5)
UNIT = encoding(1 / 256, -128)
TANH = encoding(1 / 128, 0)
LOG = encoding(16 / 256, 127)


def real(stored, q):
    return ((stored.astype(np.int64) - q.zero_point[0]) * q.scale[0]).astype(np.float32)


def stored(shape, seed=0, low=-128):
    return np.random.default_rng(seed).integers(low, 128, shape).astype(np.int8)


def ints(*values):
    return np.array(values, np.int64)


def run_int8(op, operands, quantized, result, outputs=1, **attributes):
    """(dequantized outputs, float reference) of one node whose `quantized` operands are int8."""
    examples = {n: real(a, IN) if n in quantized else a for n, a in operands.items()}
    constants = [name for name in operands if name not in quantized]
    model = node_model(op, examples, constants=constants, outputs=outputs, **attributes)
    node = next(iter(model.graph))
    ctx = Lowering(Graph("case"))
    for value in model.graph.inputs:
        tensor = Tensor(value.name, "int8", shape_of(value), None, IN)
        ctx.bind(value, tensor)
        ctx.graph.inputs.append((value.name, tensor))
    for value in node.outputs:
        if dtype_of(value) == "float32":
            ctx.bind(value, Tensor(value.name, "int8", shape_of(value), None, result))
    ctx.lower(node, LOWERINGS[op])
    for value in node.outputs:
        ctx.graph.outputs.append((value.name, ctx.tensor(value)))
    got = run(
        serialize(ctx.graph, description="", metadata={}), {n: operands[n] for n in quantized}
    )
    real_outputs = {n: real(a, result) if a.dtype == np.int8 else a for n, a in got.items()}
    return real_outputs, reference(model, {n: examples[n] for n in quantized})


X = {"a": stored((2, 3, 4))}
PAIR = {"a": stored((2, 3, 4)), "b": stored((3, 1), 1)}
POSITIVE = {"a": stored((2, 3, 4), low=11)}
AXES = {"axes": ints(1)}

FREE = {
    "Abs": (X, WIDE, {}),
    "Add": (PAIR, WIDE, {}),
    "Elu": (X, WIDE, {}),
    "Exp": ({"a": stored((2, 3))[:, :1] // 8}, WIDE, {}),
    "Gelu": (X, WIDE, {}),
    "HardSigmoid": (X, encoding(1 / 255, -128), {"alpha": 0.25, "beta": 0.4}),
    "HardSwish": (X, WIDE, {}),
    "LeakyRelu": (X, WIDE, {"alpha": 0.25}),
    "Log": (POSITIVE, WIDE, {}),
    "LogSoftmax": ({"a": stored((2, 3, 4))}, LOG, {"axis": 1}),
    "Mul": (PAIR, encoding(0.4, 3), {}),
    "Neg": (X, IN, {}),
    "PRelu": ({"a": stored((2, 3, 4)), "b": stored(4, 1)}, encoding(0.5, 3), {}),
    "ReduceMean": ({**X, **AXES}, WIDE, {}),
    "ReduceSum": ({**X, **AXES}, WIDE, {}),
    "Relu": (X, WIDE, {}),
    "Sigmoid": (X, UNIT, {}),
    "Softmax": (X, UNIT, {"axis": 1}),
    "Sqrt": (POSITIVE, WIDE, {}),
    "Sub": (PAIR, WIDE, {}),
    "Tanh": (X, TANH, {}),
}
EXACT = {
    "Clip": ({**X, "low": np.array(-1, "f"), "high": np.array(1.5, "f")}, {}),
    "Concat": (PAIR | {"b": stored((2, 1, 4))}, {"axis": 1}),
    "Dropout": (X, {}),
    "Expand": ({"a": stored((2, 1, 4)), "s": ints(2, 3, 4)}, {}),
    "Flatten": (X, {}),
    "Gather": ({**X, "i": ints(0, -1)}, {"axis": 1}),
    "GatherElements": ({**X, "i": np.zeros((2, 2, 4), np.int64)}, {"axis": 1}),
    "GatherND": ({**X, "i": np.zeros((2, 2), np.int64)}, {}),
    "Identity": (X, {}),
    "Max": (PAIR, {}),
    "Min": (PAIR, {}),
    "Pad": ({**X, "p": ints(0, 1, 1, 0, 2, 0)}, {}),
    "ReduceMax": ({**X, **AXES}, {}),
    "ReduceMin": ({**X, **AXES}, {}),
    "Reshape": ({**X, "s": ints(6, 4)}, {}),
    "Slice": ({**X, "s": ints(1), "e": ints(3), "x": ints(1)}, {}),
    "Split": ({**X, "s": ints(1, 2)}, {"axis": 1, "outputs": 2}),
    "Squeeze": ({"a": stored((2, 1, 4)), **AXES}, {}),
    "Tile": ({**X, "r": ints(1, 2, 1)}, {}),
    "TopK": ({**X, "k": ints(2)}, {"outputs": 2}),
    "Transpose": (X, {"perm": [2, 0, 1]}),
    "Trilu": (X, {}),
    "Unsqueeze": ({**X, **AXES}, {}),
}
OTHER = {
    "ArgMax": (X, {}),
    "ArgMin": (X, {}),
    **{op: (PAIR, {}) for op in ("Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual")},
    "Shape": (X, {}),
    "Size": (X, {}),
}


def int8_operands(operands):
    return [name for name, array in operands.items() if array.dtype == np.int8]


def test_every_operator_that_claims_int8_is_tested():
    assert set(FREE) | set(EXACT) | set(OTHER) | {"Where"} == READY


@pytest.mark.parametrize("op", sorted(FREE))
def test_kernels_that_rescale(op):
    operands, result, attributes = FREE[op]
    got, expected = run_int8(op, operands, int8_operands(operands), result, **attributes)
    low, high = real(np.array([-128, 127]), result)
    reachable = np.clip(expected["y"], low, high)
    np.testing.assert_allclose(got["y"], reachable, rtol=0, atol=1.51 * result.scale[0])


@pytest.mark.parametrize("op", sorted(EXACT))
def test_kernels_that_keep_values(op):
    operands, attributes = EXACT[op]
    got, expected = run_int8(op, operands, int8_operands(operands), IN, **attributes)
    for name, values in expected.items():
        if values.dtype == np.bool_:
            continue
        step = IN.scale[0] if op == "Clip" else 0
        np.testing.assert_allclose(got[name], values, rtol=0, atol=step / 2 + 1e-6)


def test_smallest_of_int8():
    x = np.array([[-128, 127, 0, 10, -128]], np.int8)
    operands = {"a": x, "k": ints(4)}
    got, expected = run_int8("TopK", operands, ["a"], IN, outputs=2, largest=0)
    np.testing.assert_allclose(got["y"], expected["y"], rtol=0, atol=1e-6)
    np.testing.assert_array_equal(got["y1"], expected["y1"])


@pytest.mark.parametrize("op", sorted(OTHER))
def test_results_that_are_not_quantized(op):
    operands, attributes = OTHER[op]
    got, expected = run_int8(op, operands, int8_operands(operands), IN, **attributes)
    np.testing.assert_array_equal(got["y"], expected["y"])


@pytest.mark.parametrize("value", [0.0, 1.25])
def test_pad_value_is_quantized(value):
    operands = {"a": stored((2, 3)), "p": ints(1, 0, 0, 1), "v": np.array(value, "f")}
    got, expected = run_int8("Pad", operands, ["a"], IN)
    np.testing.assert_allclose(got["y"], expected["y"], rtol=0, atol=1e-6)


@pytest.mark.parametrize("mode", ["reflect", "edge", "wrap"])
def test_pad_modes(mode):
    operands = {"a": stored((3, 4)), "p": ints(1, 0, 0, 2)}
    got, expected = run_int8("Pad", operands, ["a"], IN, mode=mode)
    np.testing.assert_allclose(got["y"], expected["y"], rtol=0, atol=1e-6)
