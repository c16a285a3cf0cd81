"""Normalizations on the interpreter against the ONNX reference evaluator."""

import numpy as np
import pytest

from edgekit.ir import Oracle
from edgekit.passes.canonicalize.infer_shapes import InferShapes
from edgekit.testing.tflite import assert_same, convert_and_run, node_model


def check(model, x):
    """ONNX Runtime is the reference where the evaluator departs from the specification."""
    InferShapes()(model)
    with Oracle(model, threads=1) as oracle:
        expected = oracle.run({"x": x})["y"]
    outputs, ops = convert_and_run(model, {"x": x})
    np.testing.assert_allclose(outputs["y"], expected, rtol=1e-4, atol=1e-4)
    return ops


def noise(seed, *shape):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


@pytest.mark.parametrize("shape", [(2, 3), (2, 3, 5), (2, 3, 4, 5), (1, 3, 2, 4, 5)])
def test_batch_normalization(shape):
    operands = {"x": noise(0, *shape)}
    for index, name in enumerate(("scale", "shift", "mean")):
        operands[name] = noise(index, 3)
    operands["variance"] = np.abs(noise(4, 3)) + 0.1
    constants = list(operands)[1:]
    model = node_model("BatchNormalization", operands, constants=constants, epsilon=1e-3)
    ops = assert_same(model, {"x": operands["x"]}, atol=1e-4)
    assert "MUL" in ops


@pytest.mark.parametrize("shape", [(2, 4, 7), (2, 4, 5, 6), (1, 4, 3, 4, 2)])
@pytest.mark.parametrize(
    ("op", "attributes"),
    [("InstanceNormalization", {}), ("GroupNormalization", {"num_groups": 2})],
)
def test_normalization_over_places(op, attributes, shape):
    operands = {"x": noise(0, *shape), "scale": noise(1, 4), "shift": noise(2, 4)}
    model = node_model(op, operands, constants=["scale", "shift"], epsilon=1e-3, **attributes)
    check(model, operands["x"])


@pytest.mark.parametrize("axis", [-1, 1, 2])
@pytest.mark.parametrize("shifted", [True, False])
def test_layer_normalization(axis, shifted):
    x = noise(0, 2, 3, 8)
    size = x.shape[axis % 3 :]
    operands = {"x": x, "scale": noise(1, *size)}
    if shifted:
        operands["shift"] = noise(2, *size)
    constants = list(operands)[1:]
    model = node_model("LayerNormalization", operands, constants=constants, axis=axis)
    assert_same(model, {"x": x}, atol=1e-4)


@pytest.mark.parametrize("axis", [0, 1, -1])
@pytest.mark.parametrize("p", [1, 2])
def test_lp_normalization(axis, p):
    x = noise(0, 2, 3, 8)
    ops = check(node_model("LpNormalization", {"x": x}, axis=axis, p=p), x)
    assert ("L2_NORMALIZATION" in ops) == (p == 2)


def test_local_response_normalization():
    x = noise(0, 1, 6, 4, 4)
    model = node_model("LRN", {"x": x}, size=3, alpha=0.01, beta=0.6, bias=1.5)
    assert "LOCAL_RESPONSE_NORMALIZATION" in check(model, x)
