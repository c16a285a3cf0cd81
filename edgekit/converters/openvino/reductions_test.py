"""Quantized graphs with reductions and vectors, on OpenVINO with more than one sample."""

import numpy as np
import pytest

from edgekit import registry
from edgekit.converters.base import EmitOptions
from edgekit.converters.openvino.converter import OpenVINOConverter
from edgekit.converters.openvino.legal import LEGAL
from edgekit.ir import Model, Oracle, Source
from edgekit.testing.tflite import model_of, node_model
from edgekit.vocabulary import Precision

HEAD = '<ir_version: 10, opset_import: ["" : 21]>\n'
SIZES = {2: (2, 5), 3: (2, 5, 6), 4: (2, 5, 6, 7)}
CASES = [
    (3, (1,), 0), (3, (1,), 1), (3, (-1,), 0), (3, (1, 2), 1), (2, (1,), 1), (4, (2, 3), 0),
    (4, (1, 2), 0),
]  # fmt: skip


def assert_right(text, constants, size, tmp_path):
    model = Model(model_of(HEAD + text, constants), source=Source("net"))
    feeds = {"x": np.random.default_rng(7).uniform(-2, 2, size).astype(np.float32)}
    with Oracle(model.ir, exact=True) as oracle:
        expected = oracle.run(feeds)["y"]
    emitted = OpenVINOConverter().emit(model, tmp_path, EmitOptions(Precision.INT8))
    with registry.runtime("openvino").open(emitted.path, threads=1, trusted=True) as session:
        got = session.run(feeds)["y"]
    np.testing.assert_allclose(got, expected, atol=1e-3)


@pytest.mark.parametrize(("rank", "axes", "keepdims"), CASES)
@pytest.mark.parametrize("op", ["ReduceMax", "ReduceMean", "ReduceMin", "ReduceSum"])
def test_reductions_of_integers(op, rank, axes, keepdims, tmp_path):
    sizes = ",".join(["N", *map(str, SIZES[rank][1:])])
    out = ",".join("ABCD"[: rank if keepdims else rank - len(axes)])
    text = f"""g (float[{sizes}] x, float s, uint8 z, int64[{len(axes)}] a) => (float[{out}] y)
    {{
      q = QuantizeLinear (x, s, z)
      d = DequantizeLinear (q, s, z)
      y = {op} <keepdims={keepdims}> (d, a)
    }}"""
    constants = {"s": np.float32(0.02), "z": np.uint8(128), "a": np.array(axes, np.int64)}
    assert_right(text, constants, SIZES[rank], tmp_path)


@pytest.mark.parametrize(("rank", "axes", "keepdims"), CASES)
@pytest.mark.parametrize("op", ["ReduceMax", "ReduceMean", "ReduceMin"])
def test_reductions_that_are_quantized_at_once(op, rank, axes, keepdims, tmp_path):
    left = [d for axis, d in enumerate(SIZES[rank]) if axis not in {a % rank for a in axes}]
    width = int(np.prod(left[1:]))
    sizes = ",".join(["N", *map(str, SIZES[rank][1:])])
    flat = "m" if not keepdims and len(left) == 2 else "f"
    text = f"""
    g (float[{sizes}] x, float s, uint8 z, int64[{len(axes)}] a, int8[{width},4] w, float ws,
       int8 wz) => (float[A,4] y)
    {{
      r = Relu (x)
      m = {op} <keepdims={keepdims}> (r, a)
      f = Flatten (m)
      q = QuantizeLinear ({flat}, s, z)
      d = DequantizeLinear (q, s, z)
      wd = DequantizeLinear (w, ws, wz)
      y = MatMul (d, wd)
    }}"""
    constants = {
        "s": np.float32(0.02),
        "z": np.uint8(0),
        "a": np.array(axes, np.int64),
        "w": np.random.default_rng(8).integers(-60, 60, (width, 4)).astype(np.int8),
        "ws": np.float32(0.001),
        "wz": np.int8(0),
    }
    assert_right(text, constants, SIZES[rank], tmp_path)


@pytest.mark.parametrize(("left", "right", "legal"), [
    ((3,), (3, 4), False), ((2, 3), (3,), False), ((2, 3), (3, 4), True),
])  # fmt: skip
def test_products_of_vectors_stay_in_float(left, right, legal):
    operands = {"a": np.ones(left, np.float32), "b": np.ones(right, np.float32)}
    (node,) = node_model("MatMul", operands, constants=("b",)).graph
    conditions = LEGAL.rule("MatMul").conditions
    assert all(condition.test(node) for condition in conditions) is legal
