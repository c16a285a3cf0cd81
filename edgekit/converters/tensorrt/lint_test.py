"""One graph for each rule of TensorRT that breaks it, and one that keeps them all."""

import numpy as np
import pytest

from edgekit.converters.tensorrt.lint import Rule, lint
from edgekit.testing.tflite import model_of

HEAD = '<ir_version: 10, opset_import: ["" : 21]>\n'
CONV = """
g (float[N,4,8,8] x, float s, int8 z, int8[6,4,3,3] w, float[6] ws, int8[6] wz, float[6] b)
  => (float[N,6,6,6] y)
{
  xq = QuantizeLinear (x, s, z)
  xd = DequantizeLinear (xq, s, z)
  wd = DequantizeLinear <axis=0> (w, ws, wz)
  y = Conv (xd, wd, b)
}
"""
CONSTANTS = {
    "s": np.float32(0.1),
    "z": np.int8(0),
    "w": np.ones((6, 4, 3, 3), np.int8),
    "ws": np.full(6, 0.01, np.float32),
    "wz": np.zeros(6, np.int8),
    "b": np.zeros(6, np.float32),
}


def broken(text, **constants):
    """Rules broken by a graph; constants of CONV, or changed ones, fill its inputs."""
    declared = text.partition("=>")[0]
    values = {**CONSTANTS, **constants}
    used = {k: v for k, v in values.items() if f" {k}," in declared or f" {k})" in declared}
    return lint(model_of(HEAD + text, used))


def rules(violations):
    return {v.rule for v in violations}


def test_a_graph_that_keeps_every_rule():
    assert broken(CONV) == ()


CASES = {
    Rule.NO_QLINEAR: (
        """g (float[4] x) => (uint8[4] y, float s, uint8 z)
        { y, s, z = DynamicQuantizeLinear (x) }""",
        {},
    ),
    Rule.EXPLICIT_ZERO_POINT: (CONV.replace("xd = DequantizeLinear (xq, s, z)", "").replace(
        "QuantizeLinear (x, s, z)", "Identity (x)").replace("Conv (xd", "Conv (xr").replace(
        "wd =", "xu = QuantizeLinear (xq, s)\n xr = DequantizeLinear (xu, s)\n wd ="), {}),
    Rule.SYMMETRIC: (CONV, {"z": np.int8(3)}),
    Rule.INT8_ONLY: (CONV.replace("int8 z", "uint8 z"), {"z": np.uint8(0)}),
    Rule.CONSTANT_SCALE: (CONV, {"s": np.float32(0)}),
    Rule.PER_TENSOR_ACTIVATION: (
        CONV.replace("float s, int8 z", "float[4] s, int8[4] z"),
        {"s": np.full(4, 0.1, np.float32), "z": np.zeros(4, np.int8)},
    ),
    Rule.WEIGHT_AXIS: (
        CONV.replace("axis=0", "axis=1").replace(
            "float[6] ws, int8[6] wz", "float[4] ws, int8[4] wz"
        ),
        {"ws": np.full(4, 0.1, np.float32), "wz": np.zeros(4, np.int8)},
    ),
    Rule.BOTH_OPERANDS: (CONV.replace("Conv (xd", "Conv (x"), {}),
    Rule.FLOAT_BIAS: (
        CONV.replace("float[6] b", "int32[6] b, float[6] bs, int32[6] bz").replace(
            "y = Conv (xd, wd, b)",
            "bd = DequantizeLinear <axis=0> (b, bs, bz)\n y = Conv (xd, wd, bd)",
        ),
        {
            "b": np.zeros(6, np.int32),
            "bs": np.full(6, 0.1, np.float32),
            "bz": np.zeros(6, np.int32),
        },
    ),
    Rule.FLOAT_CONV_TRANSPOSE: (
        CONV.replace("Conv (xd, wd, b)", "ConvTranspose (xd, wd)").replace(
            "int8[6,4,3,3]", "int8[4,6,3,3]"
        ).replace("axis=0", "axis=1").replace("float[N,6,6,6]", "float[N,6,10,10]"),
        {"w": np.ones((4, 6, 3, 3), np.int8)},
    ),
    Rule.NO_BLOCKS: (
        CONV.replace("<axis=0>", "<axis=0, block_size=3>").replace(
            "float[6] ws, int8[6] wz", "float[2,4,3,3] ws, int8[2,4,3,3] wz"
        ),
        {"ws": np.full((2, 4, 3, 3), 0.1, np.float32), "wz": np.zeros((2, 4, 3, 3), np.int8)},
    ),
}  # fmt: skip


@pytest.mark.parametrize("rule", CASES, ids=str)
def test_a_graph_that_breaks_the_rule(rule):
    text, constants = CASES[rule]
    violations = broken(text, **constants)
    assert rule in rules(violations)
    assert all(str(v.rule) in str(v) and v.node for v in violations)


def test_every_rule_has_a_case():
    assert set(CASES) | {Rule.PROFILE} == set(Rule)


@pytest.mark.parametrize(
    ("trans_b", "axis", "shape", "fine"),
    [(0, 1, (4, 6), True), (0, 0, (4, 6), False), (1, 0, (6, 4), True), (1, 1, (6, 4), False)],
)
def test_the_weight_axis_of_gemm_follows_trans_b(trans_b, axis, shape, fine):
    channels = shape[axis]
    text = f"""
    g (float[N,4] x, float s, int8 z, int8[{shape[0]},{shape[1]}] w, float[{channels}] ws,
       int8[{channels}] wz) => (float[N,6] y)
    {{
      xq = QuantizeLinear (x, s, z)
      xd = DequantizeLinear (xq, s, z)
      wd = DequantizeLinear <axis={axis}> (w, ws, wz)
      y = Gemm <transB={trans_b}> (xd, wd)
    }}"""
    constants = {
        "w": np.ones(shape, np.int8),
        "ws": np.full(channels, 0.1, np.float32),
        "wz": np.zeros(channels, np.int8),
    }
    assert rules(broken(text, **constants)) == (set() if fine else {Rule.WEIGHT_AXIS})


def test_a_dynamic_input_needs_a_profile():
    model = model_of(HEAD + CONV, CONSTANTS)
    assert [v.node for v in lint(model, {})] == ["x"]
    assert lint(model, {"x": object()}) == ()


def test_scales_must_be_constants():
    text = CONV.replace("g (float[N,4,8,8] x, float s,", "g (float[N,4,8,8] x, float s2,").replace(
        "(x, s, z)", "(x, s2, z)"
    ).replace("(xq, s, z)", "(xq, s2, z)")  # fmt: skip
    assert rules(broken(text)) == {Rule.CONSTANT_SCALE}
