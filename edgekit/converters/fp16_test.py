"""float16 graphs against the float32 graphs that they come from, on the ONNX reference."""

import numpy as np
import onnx
import onnx_ir
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx.reference import ReferenceEvaluator

from edgekit.converters.fp16 import SENSITIVE, compute_fp16, store_fp16, unfit
from edgekit.ir import Oracle
from edgekit.ir.verify import verify
from edgekit.testing.tflite import model_of

HEAD = '<ir_version: 10, opset_import: ["" : 21]>\n'
NET = """
g (float[N,8] x, float[8,64] w1, float[64] b1, float[64,5] w2, float[1] small)
  => (float[N,5] y, float[N,64] inner)
{
  h = Gemm (x, w1, b1)
  inner = Relu (h)
  m = MatMul (inner, w2)
  y = Add (m, small)
}
"""
RNG = np.random.default_rng(0)
WEIGHTS = {
    "w1": RNG.normal(size=(8, 64)).astype(np.float32),
    "b1": RNG.normal(size=64).astype(np.float32),
    "w2": RNG.normal(size=(64, 5)).astype(np.float32),
    "small": np.array([0.5], np.float32),
}


def net(**changes):
    return model_of(HEAD + NET, {**WEIGHTS, **changes})


def stored_types(model):
    return {name: v.const_value.dtype for name, v in model.graph.initializers.items()}


def reference(model, feeds):
    proto = onnx_ir.to_proto(model)
    onnx.checker.check_model(proto, full_check=True)
    return dict(zip((o.name for o in proto.graph.output),
                    ReferenceEvaluator(proto).run(None, feeds), strict=True))  # fmt: skip


@pytest.mark.parametrize("rewrite", [store_fp16, compute_fp16])
def test_the_contract_stays_and_the_outputs_are_near(rewrite):
    model = net()
    x = RNG.normal(size=(3, 8)).astype(np.float32)
    expected = reference(model, {"x": x})
    half = rewrite(model)
    verify(half.model)
    got = reference(half.model, {"x": x})
    assert list(got) == list(expected)
    assert half.float_nodes == ()
    for name, value in expected.items():
        assert got[name].dtype == np.float32
        assert np.abs(got[name] - value).max() <= 5e-3 * np.ptp(value)
    assert [v.dtype for v in half.model.graph.inputs] == [onnx_ir.DataType.FLOAT]


@pytest.mark.parametrize("rewrite", [store_fp16, compute_fp16])
def test_the_model_given_is_not_changed(rewrite):
    model = net()
    before = onnx_ir.to_proto(model).SerializeToString(deterministic=True)
    rewrite(model)
    assert onnx_ir.to_proto(model).SerializeToString(deterministic=True) == before


def test_stored_weights_are_exactly_the_rounded_ones():
    x = RNG.normal(size=(3, 8)).astype(np.float32)
    rounded = {k: v.astype(np.float16).astype(np.float32) for k, v in WEIGHTS.items() if v.ndim > 1}
    expected = reference(net(**rounded), {"x": x})
    got = reference(store_fp16(net()).model, {"x": x})
    for name, value in expected.items():
        np.testing.assert_array_equal(got[name], value)
    assert stored_types(store_fp16(net()).model)["b1"] == onnx_ir.DataType.FLOAT


def test_computed_graphs_hold_float16_inside():
    half = compute_fp16(net()).model
    kinds = {node.op_type: node.outputs[0].dtype for node in half.graph if node.op_type != "Cast"}
    assert set(kinds.values()) == {onnx_ir.DataType.FLOAT16}
    assert set(stored_types(half).values()) == {onnx_ir.DataType.FLOAT16}


@pytest.mark.parametrize("rewrite", [store_fp16, compute_fp16])
def test_what_float16_cannot_hold_stays_float32_with_a_reason(rewrite):
    model = net(w2=WEIGHTS["w2"] * 1e6)
    half = rewrite(model)
    verify(half.model)
    assert [(r.op, "beyond float16" in r.reason) for r in half.float_nodes] == [("MatMul", True)]
    x = RNG.normal(size=(3, 8)).astype(np.float32)
    expected = reference(model, {"x": x})
    if rewrite is store_fp16:
        got = reference(half.model, {"x": x})
        assert np.abs(got["y"] - expected["y"]).max() <= 1e-2 * np.ptp(expected["y"])


def test_an_epsilon_is_not_rounded_to_zero():
    text = "g (float[N,4] x, float eps) => (float[N,4] y) { a = Add (x, eps)  y = Div (x, a) }"
    half = compute_fp16(model_of(HEAD + text, {"eps": np.float32(1e-12)}))
    assert [r.op for r in half.float_nodes] == ["Add"]
    got = reference(half.model, {"x": np.full((1, 4), 2.0, np.float32)})
    np.testing.assert_allclose(got["y"], 1.0, rtol=1e-3)


def test_sensitive_operators_keep_float32_between_casts():
    text = "g (float[N,400] x) => (float[N,1] y) { r = Relu (x) y = ReduceSumSquare (r) }"
    text = text.replace("ReduceSumSquare (r)", "ReduceSumSquare <noop_with_empty_axes=0> (r, axes)")
    text = text.replace("g (float[N,400] x)", "g (float[N,400] x, int64[1] axes)")
    half = compute_fp16(model_of(HEAD + text, {"axes": np.array([1], np.int64)}))
    assert [r.op for r in half.float_nodes] == ["ReduceSumSquare"]
    assert half.float_nodes[0].reason.endswith(SENSITIVE["ReduceSumSquare"])
    got = reference(half.model, {"x": np.full((1, 400), 100.0, np.float32)})
    np.testing.assert_allclose(got["y"], 4e6, rtol=1e-2)  # beyond float16


def test_nodes_can_be_kept_by_name():
    model = net()
    first = next(iter(model.graph)).name
    half = compute_fp16(model, keep=[first])
    assert [r.node for r in half.float_nodes] == [first]


def test_operands_that_must_be_float32_stay_float32():
    text = """g (float[1,1,4,4] x, float[4] scales) => (float[1,1,8,8] y)
    { r = Relu (x) y = Resize <mode="nearest"> (r, , scales) }"""
    scales = np.array([1, 1, 2, 2], np.float32)
    half = compute_fp16(model_of(HEAD + text, {"scales": scales}))
    x = np.arange(16, dtype=np.float32).reshape(1, 1, 4, 4)
    with Oracle(half.model) as oracle:
        got = oracle.run({"x": x})["y"]
    np.testing.assert_array_equal(got, x.repeat(2, 2).repeat(2, 3))
    assert half.float_nodes == ()


def test_a_graph_inside_a_node_still_reads_float32():
    text = """g (bool c, float[4] x) => (float[4] y) {
      r = Relu (x)
      y = If (c) <
        then_branch = t () => (float[4] a) { a = Add (r, r) },
        else_branch = e () => (float[4] b) { b = Neg (r) }
      >
    }"""
    half = compute_fp16(model_of(HEAD + text))
    verify(half.model)
    x = np.array([-1, 2, 3, 4], np.float32)
    for chosen, expected in ((True, [0, 4, 6, 8]), (False, [0, -2, -3, -4])):
        with Oracle(half.model) as oracle:
            np.testing.assert_array_equal(
                oracle.run({"c": np.array(chosen), "x": x})["y"], expected
            )


@given(st.lists(st.floats(-1e9, 1e9, width=32), min_size=1, max_size=20))
@settings(max_examples=200, deadline=None)
def test_what_counts_as_fitting_survives_the_rounding(values):
    array = np.array(values, np.float32)
    if unfit(array):
        return
    half = array.astype(np.float16).astype(np.float32)
    assert np.isfinite(half).all()
    assert np.abs(half - array).max() <= np.abs(array).max() * 2**-5
