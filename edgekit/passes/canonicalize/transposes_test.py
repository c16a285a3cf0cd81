"""Random graphs keep their outputs and never transpose more elements."""

import math

import numpy as np
import onnx_ir
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edgekit.ir.verify import verify
from edgekit.passes.canonicalize.infer_shapes import InferShapes
from edgekit.passes.canonicalize.permutations import (
    between,
    compose,
    identity,
    inverse,
    order,
    without,
)
from edgekit.passes.canonicalize.transposes import SinkTransposes
from edgekit.testing.tflite import reference

_LIMIT = 400


class Builder:
    """Grows a graph whose shapes are all known, drawing from hypothesis."""

    def __init__(self, draw):
        self.draw = draw
        self.inputs, self.nodes, self.initializers = [], [], []
        self.values = []
        self.shapes = {}

    def input(self, shape):
        value = onnx_ir.val(f"x{len(self.inputs)}", onnx_ir.DataType.FLOAT, shape)
        self.inputs.append(value)
        self._keep(value, shape)

    def _keep(self, value, shape):
        self.shapes[value] = tuple(shape)
        self.values.append(value)

    def constant(self, array):
        name = f"c{len(self.initializers)}"
        value = onnx_ir.val(name, const_value=onnx_ir.tensor(np.asarray(array), name=name))
        self.initializers.append(value)
        return value

    def random(self, shape):
        seed = self.draw(st.integers(0, 2**16))
        return self.constant(np.random.default_rng(seed).normal(size=shape).astype(np.float32))

    def add(self, op, inputs, shapes, **attributes):
        name = f"n{len(self.nodes)}"
        outputs = [
            onnx_ir.val(f"{name}_{i}", onnx_ir.DataType.FLOAT, s) for i, s in enumerate(shapes)
        ]
        self.nodes.append(onnx_ir.node(op, inputs, attributes, outputs=outputs, name=name))
        for value, shape in zip(outputs, shapes, strict=True):
            self._keep(value, shape)
        return outputs[0]

    def pick(self, at_least=1):
        usable = [v for v in self.values if len(self.shapes[v]) >= at_least]
        value = self.draw(st.sampled_from(usable[-4:]))
        return value, self.shapes[value]

    def axis(self, shape):
        return self.draw(st.integers(0, len(shape) - 1))

    def model(self):
        used = {v for node in self.nodes for v in node.inputs}
        outputs = [v for v in self.values if v not in used and v not in self.inputs]
        inner = [v for v in self.values if v in used and v not in self.inputs]
        if inner:
            outputs.append(self.draw(st.sampled_from(inner)))
        graph = onnx_ir.Graph(
            self.inputs,
            outputs,
            nodes=self.nodes,
            initializers=self.initializers,
            opset_imports={"": 21},
            name="random",
        )
        return onnx_ir.Model(graph, ir_version=10)


def transpose(b):
    x, shape = b.pick(2)
    perm = b.draw(st.permutations(range(len(shape))))
    b.add("Transpose", [x], [[shape[a] for a in perm]], perm=perm)


def undo(b):
    """The pattern of exporters: there, something, and back."""
    x, shape = b.pick(3)
    perm = tuple(b.draw(st.permutations(range(len(shape)))))
    there = b.add("Transpose", [x], [[shape[a] for a in perm]], perm=perm)
    middle = b.add("Tanh", [there], [[shape[a] for a in perm]])
    b.add("Transpose", [middle], [shape], perm=inverse(perm))


def unary(b):
    x, shape = b.pick()
    b.add(b.draw(st.sampled_from(["Relu", "Sigmoid", "Neg"])), [x], [shape])


def with_constant(b):
    x, shape = b.pick()
    kept = b.draw(st.integers(0, len(shape)))
    other = [b.draw(st.sampled_from([1, size])) for size in shape[len(shape) - kept :]]
    operands = [x, b.random(other)]
    if b.draw(st.booleans()):
        operands.reverse()
    b.add(b.draw(st.sampled_from(["Add", "Mul", "Sub"])), operands, [shape])


def join(b):
    x, shape = b.pick()
    same = [v for v in b.values if b.shapes[v] == shape]
    y = b.draw(st.sampled_from(same))
    b.add("Add", [x, y], [shape])


def gate(b):
    """A squeeze-and-excite branch."""
    x, shape = b.pick(3)
    axes = list(range(2, len(shape)))
    pooled = [*shape[:2], *(1 for _ in axes)]
    mean = b.add("ReduceMean", [x, b.constant(np.array(axes, np.int64))], [pooled], keepdims=1)
    b.add("Mul", [x, b.add("Sigmoid", [mean], [pooled])], [shape])


def concat(b):
    x, shape = b.pick()
    if math.prod(shape) > _LIMIT:
        return
    y = b.draw(st.sampled_from([v for v in b.values if b.shapes[v] == shape]))
    axis = b.axis(shape)
    b.add("Concat", [x, y], [[2 * s if a == axis else s for a, s in enumerate(shape)]], axis=axis)


def split(b):
    x, shape = b.pick()
    axis = b.axis(shape)
    if shape[axis] % 2:
        return
    half = [s // 2 if a == axis else s for a, s in enumerate(shape)]
    b.add("Split", [x], [half, half], axis=axis, num_outputs=2)


def cut(b):
    x, shape = b.pick()
    axis = b.axis(shape)
    stop = b.draw(st.integers(1, shape[axis]))
    operands = [b.constant(np.array([v], np.int64)) for v in (0, stop, axis)]
    b.add("Slice", [x, *operands], [[stop if a == axis else s for a, s in enumerate(shape)]])


def pad(b):
    x, shape = b.pick()
    if math.prod(shape) > _LIMIT:
        return
    pads = [b.draw(st.integers(0, 1)) for _ in range(2 * len(shape))]
    sizes = [s + pads[a] + pads[a + len(shape)] for a, s in enumerate(shape)]
    b.add("Pad", [x, b.constant(np.array(pads, np.int64))], [sizes])


def reduce(b):
    x, shape = b.pick(2)
    axis, keep = b.axis(shape), b.draw(st.integers(0, 1))
    kept = [1 if a == axis else s for a, s in enumerate(shape) if keep or a != axis]
    op = b.draw(st.sampled_from(["ReduceMean", "ReduceMax"]))
    b.add(op, [x, b.constant(np.array([axis], np.int64))], [kept], keepdims=keep)


def softmax(b):
    x, shape = b.pick()
    b.add("Softmax", [x], [shape], axis=b.axis(shape))


def gather(b):
    x, shape = b.pick(2)
    axis = b.axis(shape)
    single = b.draw(st.booleans())
    indices = np.array(0 if single else [0, shape[axis] - 1], np.int64)
    middle = [] if single else [2]
    sizes = [*shape[:axis], *middle, *shape[axis + 1 :]]
    b.add("Gather", [x, b.constant(indices)], [sizes], axis=axis)


def unsqueeze(b):
    x, shape = b.pick()
    if len(shape) > 4:
        return
    axis = b.draw(st.integers(0, len(shape)))
    sizes = [*shape[:axis], 1, *shape[axis:]]
    b.add("Unsqueeze", [x, b.constant(np.array([axis], np.int64))], [sizes])


def reshape(b):
    x, shape = b.pick(2)
    axis = b.draw(st.integers(0, len(shape) - 2))
    sizes = [*shape[:axis], shape[axis] * shape[axis + 1], *shape[axis + 2 :]]
    if shape[axis] % 2 == 0 and b.draw(st.booleans()):
        sizes = [*shape[:axis], 2, shape[axis] // 2, *shape[axis + 1 :]]
    if len(sizes) <= 5:
        b.add("Reshape", [x, b.constant(np.array(sizes, np.int64))], [sizes])


def shuffle(b):
    """A channel shuffle."""
    x, shape = b.pick(3)
    if len(shape) > 4 or shape[1] % 2:
        return
    wide = [shape[0], 2, shape[1] // 2, *shape[2:]]
    perm = [0, 2, 1, *range(3, len(wide))]
    y = b.add("Reshape", [x, b.constant(np.array(wide, np.int64))], [wide])
    y = b.add("Transpose", [y], [[wide[a] for a in perm]], perm=perm)
    b.add("Reshape", [y, b.constant(np.array(shape, np.int64))], [shape])


def dense(b):
    x, shape = b.pick(2)
    features = math.prod(shape[1:])
    if features > _LIMIT:
        return
    sizes = [shape[0], features]
    flat = b.add("Reshape", [x, b.constant(np.array(sizes, np.int64))], [sizes])
    if b.draw(st.booleans()):
        flat = b.add("Add", [flat, b.random([features])], [sizes])
    if b.draw(st.booleans()):
        b.add("MatMul", [flat, b.random([features, 3])], [[shape[0], 3]])
    else:
        b.add("Gemm", [flat, b.random([3, features])], [[shape[0], 3]], transB=1)


def quantized(b):
    x, shape = b.pick()
    axis = b.axis(shape)
    per_axis = b.draw(st.booleans())
    scale = np.linspace(0.02, 0.05, shape[axis], dtype=np.float32) if per_axis else np.float32(0.03)
    zero = np.zeros(np.shape(scale), np.int8)
    operands = [b.constant(scale), b.constant(zero)]
    stored = b.add("QuantizeLinear", [x, *operands], [shape], axis=axis)
    b.values.remove(stored)
    stored.dtype = onnx_ir.DataType.INT8
    b.add("DequantizeLinear", [stored, *operands], [shape], axis=axis)


_STEPS = [transpose, undo, unary, with_constant, join, gate, concat, split, cut, pad, reduce]
_STEPS += [softmax, gather, unsqueeze, reshape, shuffle, dense, quantized, transpose]


@st.composite
def models(draw):
    builder = Builder(draw)
    for _ in range(draw(st.integers(1, 2))):
        builder.input([draw(st.integers(1, 4)) for _ in range(draw(st.integers(3, 4)))])
    for step in draw(st.lists(st.sampled_from(_STEPS), min_size=2, max_size=12)):
        step(builder)
    if not builder.nodes:
        transpose(builder)
    return builder.model()


def moved_elements(model):
    total = 0
    for node in model.graph:
        if node.op_type == "Transpose":
            dims = tuple(node.inputs[0].shape.numpy())
            perm = tuple(node.attributes["perm"].as_ints())
            if order(perm, dims) != order(identity(len(perm)), dims):
                total += math.prod(dims)
    return total


def outputs(model):
    rng = np.random.default_rng(0)
    feeds = {
        v.name: rng.normal(size=v.shape.numpy()).astype(np.float32) for v in model.graph.inputs
    }
    return reference(model, feeds)  # ONNX Runtime drops some pairs of Q and DQ


@given(models())
@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
def test_random_graphs_compute_the_same_with_no_more_transposed(model):
    InferShapes()(model)
    expected, before = outputs(model), moved_elements(model)
    shapes = [list(v.shape.numpy()) for v in model.graph.outputs]
    rounds = 0
    while SinkTransposes()(model).modified:
        rounds += 1
        assert rounds < 5, "every round must lower the cost"
        verify(model)
    InferShapes()(model)
    assert [list(v.shape.numpy()) for v in model.graph.outputs] == shapes
    assert moved_elements(model) <= before
    got = outputs(model)
    assert list(got) == list(expected)
    for name, array in expected.items():
        np.testing.assert_allclose(got[name], array, rtol=1e-4, atol=1e-4, err_msg=name)


@given(st.permutations(range(4)), st.permutations(range(4)))
def test_permutations_follow_numpy(first, second):
    array = np.arange(24 * 5).reshape(2, 3, 4, 5)
    first, second = tuple(first), tuple(second)
    both = array.transpose(first).transpose(second)
    assert np.array_equal(array.transpose(compose(first, second)), both)
    assert np.array_equal(array.transpose(first).transpose(inverse(first)), array)
    moved = array.transpose(first).transpose(between(first, second))
    assert np.array_equal(moved, array.transpose(second))
    dropped = array[:, 0].transpose(without(first, {1}))
    assert dropped.shape == tuple(array.shape[a] for a in first if a != 1)


def build(text, **constants):
    model = onnx_ir.from_onnx_text('<ir_version: 10, opset_import: ["": 21]> g ' + text)
    for name, array in constants.items():
        value = next(v for v in model.graph.inputs if v.name == name)
        model.graph.inputs.remove(value)
        value.const_value = onnx_ir.tensor(array, name=name)
        model.graph.register_initializer(value)
    InferShapes()(model)
    return model


RESIDUAL = """(float[1,8,4,4] x) => (float[1,8,4,4] y) {
    a = Transpose<perm=[0,2,3,1]>(x)
    b = Relu(a)
    c = Sigmoid(b)
    d = Add(b, c)
    y = Transpose<perm=[0,3,1,2]>(d)
}"""
GATED = """(float[1,4,4,8] x, int64[2] axes) => (float[1,4,4,8] y) {
    a = Transpose<perm=[0,3,1,2]>(x)
    m = ReduceMean(a, axes)
    s = Sigmoid(m)
    b = Mul(a, s)
    y = Transpose<perm=[0,2,3,1]>(b)
}"""
DENSE = """(float[2,4,4,3] x, int64[2] s, float[48,5] w) => (float[2,5] y) {
    a = Transpose<perm=[0,3,1,2]>(x)
    b = Relu(a)
    c = Reshape(b, s)
    y = MatMul(c, w)
}"""


@pytest.mark.parametrize(
    ("text", "constants"),
    [
        (RESIDUAL, {}),
        (GATED, {"axes": np.array([2, 3])}),
        (DENSE, {"s": np.array([2, 48]), "w": np.random.default_rng(0).normal(size=(48, 5))}),
    ],
    ids=["residual", "gated", "dense"],
)
def test_patterns_of_exporters_end_without_transposes(text, constants):
    arrays = {k: v.astype(np.float32) if k == "w" else v for k, v in constants.items()}
    model = build(text, **arrays)
    expected = outputs(model)["y"]
    assert SinkTransposes()(model).modified
    assert not [n for n in model.graph if n.op_type in ("Transpose",)]
    np.testing.assert_allclose(outputs(model)["y"], expected, rtol=1e-5, atol=1e-5)


def test_symbolic_batch_is_kept():
    model = build("""(float[N,4,4,3] x) => (float[N,4,4,3] y) {
        a = Transpose<perm=[0,3,1,2]>(x)
        b = Relu(a)
        y = Transpose<perm=[0,2,3,1]>(b)
    }""")
    SinkTransposes()(model)
    assert [n.op_type for n in model.graph] == ["Relu"]
    assert str(model.graph.outputs[0].shape) == "[N,4,4,3]"
    assert model.graph.outputs[0].name == "y"


def test_a_transpose_between_input_and_output_stays():
    model = build("(float[2,3] x) => (float[3,2] y) { y = Transpose<perm=[1,0]>(x) }")
    assert not SinkTransposes()(model).modified
    assert [n.op_type for n in model.graph] == ["Transpose"]
