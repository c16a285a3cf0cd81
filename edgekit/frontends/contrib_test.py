"""ONNX Runtime's operators: what is read computes what ONNX Runtime computes."""

from __future__ import annotations

import numpy as np
import onnx
import onnx.helper as oh
import onnxruntime
import pytest
from onnx import numpy_helper

from edgekit.errors import UnsupportedError
from edgekit.frontends.load import load
from edgekit.ir import Oracle

RNG = np.random.default_rng(0)
FLOAT = RNG.standard_normal((2, 3, 6, 6)).astype(np.float32)
BYTES = RNG.integers(0, 256, (2, 3, 6, 6)).astype(np.uint8)
SCALE, ZERO = np.float32(0.03), np.uint8(117)
WEIGHTS = RNG.standard_normal((4, 3, 3, 3)).astype(np.float32)
QUANTIZED = {"xs": SCALE, "xz": ZERO, "ys": np.float32(0.05), "yz": np.uint8(128)}

CASES = {
    "Gelu": (FLOAT, {}, {}),
    "QuickGelu": (FLOAT, {}, {"alpha": 1.5}),
    "FastGelu": (FLOAT, {}, {}),
    "BiasGelu": (FLOAT, {"bias": np.float32([1, -1, 0.5, 2, 0, 3])}, {}),
    "QLinearAdd": (
        BYTES,
        {"xs": SCALE, "xz": ZERO, "b": BYTES[::-1].copy(), "bs": SCALE, "bz": ZERO,
         "ys": np.float32(0.05), "yz": np.uint8(100)},
        {},
    ),
    "QLinearMul": (
        BYTES,
        {"xs": SCALE, "xz": ZERO, "b": BYTES[::-1].copy(), "bs": SCALE, "bz": ZERO,
         "ys": np.float32(0.1), "yz": np.uint8(100)},
        {},
    ),
    "QLinearSigmoid": (BYTES, {**QUANTIZED, "ys": np.float32(1 / 256), "yz": np.uint8(0)}, {}),
    "QLinearLeakyRelu": (BYTES, QUANTIZED, {"alpha": 0.2}),
    "QLinearGlobalAveragePool": (BYTES, QUANTIZED, {}),
    "FusedConv": (FLOAT, {"w": WEIGHTS}, {"activation": "Relu", "pads": [1, 1, 1, 1]}),
    "FusedConv leaky": (
        FLOAT, {"w": WEIGHTS}, {"activation": "LeakyRelu", "activation_params": [0.2]}
    ),
}  # fmt: skip


def model_of(op, data, constants, attributes):
    node = oh.make_node(
        op.split()[0], ["x", *constants], ["y"], domain="com.microsoft", **attributes
    )
    kind = oh.np_dtype_to_tensor_dtype(data.dtype)
    graph = oh.make_graph(
        [node],
        "g",
        [oh.make_tensor_value_info("x", kind, data.shape)],
        [oh.make_tensor_value_info("y", kind, [None] * 4)],
        [numpy_helper.from_array(np.asarray(v), k) for k, v in constants.items()],
    )
    opsets = [oh.make_opsetid("", 17), oh.make_opsetid("com.microsoft", 1)]
    return oh.make_model(graph, opset_imports=opsets, ir_version=8)


@pytest.mark.parametrize("name", CASES)
def test_operator_computes_the_same(tmp_path, name):
    data, constants, attributes = CASES[name]
    path = tmp_path / "model.onnx"
    onnx.save(model_of(name, data, constants, attributes), path)
    expected = onnxruntime.InferenceSession(str(path)).run(None, {"x": data})[0]
    model = load(path)
    assert all(node.domain == "" for node in model.graph)
    with Oracle(model.ir) as oracle:
        result = oracle.run({"x": data})["y"]
    step = 1 if data.dtype == np.uint8 else 1e-5
    np.testing.assert_allclose(result.astype(np.float64), expected, atol=step)


@pytest.mark.parametrize(
    ("op", "constants", "attributes"),
    [
        ("FusedConv", {"w": WEIGHTS}, {"activation": "Swish"}),
        ("QLinearGlobalAveragePool", QUANTIZED, {"channels_last": 1}),
        ("NhwcMaxPool", {}, {"kernel_shape": [2, 2]}),
    ],
)
def test_others_are_refused_with_a_reason(tmp_path, op, constants, attributes):
    data = FLOAT if op == "FusedConv" else BYTES
    path = tmp_path / "model.onnx"
    onnx.save(model_of(op, data, constants, attributes), path)
    with pytest.raises(UnsupportedError, match="extension of ONNX Runtime"):
        load(path)
