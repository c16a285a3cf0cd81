"""Products on the interpreter against the ONNX reference evaluator."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edgekit.testing.tflite import assert_same, node_model

CHECKS = settings(max_examples=50, deadline=None, suppress_health_check=list(HealthCheck))


def noise(seed, *shape):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


@given(
    st.tuples(*[st.booleans()] * 2),
    st.sampled_from([0.5, 1.0]),
    st.sampled_from([None, (4,), (1, 4), (3, 1), (3, 4), (), (1,)]),
    st.sampled_from([(), ("b",), ("c",), ("b", "c")]),
    st.sampled_from([1.0, 2.0]),
)
@CHECKS
def test_gemm(transposed, alpha, c, constants, beta):
    a, b = noise(0, 3, 5), noise(1, 5, 4)
    operands = {"a": a.T.copy() if transposed[0] else a, "b": b.T.copy() if transposed[1] else b}
    if c is not None:
        operands["c"] = np.asarray(noise(2, *c), np.float32)
    constants = [name for name in constants if name in operands]
    model = node_model(
        "Gemm",
        operands,
        constants=constants,
        transA=int(transposed[0]),
        transB=int(transposed[1]),
        alpha=alpha,
        beta=beta,
    )
    assert_same(model, {k: v for k, v in operands.items() if k not in constants}, atol=1e-4)


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ((5,), (5,)),
        ((5,), (5, 4)),
        ((3, 5), (5,)),
        ((3, 5), (5, 4)),
        ((2, 3, 5), (5, 4)),
        ((2, 3, 5), (5,)),
        ((2, 3, 5), (2, 5, 4)),
        ((1, 3, 5), (2, 5, 4)),
        ((2, 1, 3, 5), (4, 5, 4)),
        ((5,), (2, 5, 4)),
        ((2, 2, 3, 3, 5), (5, 4)),
    ],
)
@pytest.mark.parametrize("constants", [(), ("a",), ("b",)])
def test_matmul(left, right, constants):
    operands = {"a": noise(0, *left), "b": noise(1, *right)}
    model = node_model("MatMul", operands, constants=constants)
    feeds = {k: v for k, v in operands.items() if k not in constants}
    ops = assert_same(model, feeds, atol=1e-4)
    if constants == ("b",) and len(right) <= 2:
        assert "FULLY_CONNECTED" in ops


@pytest.mark.parametrize(
    ("equation", "shapes"),
    [
        ("ij,jk->ik", [(2, 3), (3, 4)]),
        ("bij,bjk->bik", [(2, 2, 3), (2, 3, 4)]),
        ("bhqd,bhkd->bhqk", [(2, 2, 3, 4), (2, 2, 5, 4)]),
        ("bqhd,bkhd->bhqk", [(2, 3, 2, 4), (2, 5, 2, 4)]),
        ("btd,dhe->bthe", [(2, 3, 4), (4, 2, 5)]),
        ("ij->ji", [(2, 3)]),
        ("ijk->k", [(2, 3, 4)]),
        ("i,j->ij", [(2,), (3,)]),
        ("ij,ij->", [(2, 3), (2, 3)]),
        ("ij,ij->ij", [(2, 3), (2, 3)]),
        ("ijk,jl->ikl", [(2, 3, 4), (3, 5)]),
        ("ab,bc,cd->ad", [(2, 3), (3, 4), (4, 5)]),
        ("ij,kl->i", [(2, 3), (4, 5)]),
        ("ij,jk", [(2, 3), (3, 4)]),
    ],
)
def test_einsum(equation, shapes):
    operands = {f"x{i}": noise(i, *shape) for i, shape in enumerate(shapes)}
    model = node_model("Einsum", operands, equation=equation)
    assert_same(model, operands, atol=1e-4)
