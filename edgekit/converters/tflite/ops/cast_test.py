import numpy as np
import pytest

from edgekit.testing.tflite import assert_node_same, assert_same, model_of

TYPES = {
    "float32": 1, "uint8": 2, "int8": 3, "uint16": 4, "int16": 5, "int32": 6, "int64": 7,
    "bool": 9, "float16": 10, "float64": 11, "uint32": 12,
}  # fmt: skip


@pytest.mark.parametrize("target", sorted(TYPES))
@pytest.mark.parametrize("source", ["float32", "int32", "int64", "bool", "uint8", "int8"])
def test_numbers_that_both_types_have(source, target):
    x = np.array([[0, 1, 2, 100]]).astype(source)
    ops = assert_node_same("Cast", {"a": x}, to=TYPES[target], dynamic=["a"])
    assert len(ops) <= 2


@pytest.mark.parametrize("target", ["int8", "int32", "int64", "bool"])
def test_fractions_are_cut(target):
    x = np.array([-1.7, -0.5, 0.0, 0.5, 1.7], np.float32)
    assert_node_same("Cast", {"a": x}, to=TYPES[target])


def test_cast_like():
    x, like = np.array([1.5, -2.5], np.float32), np.zeros(1, np.int64)
    assert_node_same("CastLike", {"a": x, "b": like})


def test_cast_to_the_same_type_adds_nothing():
    model = model_of(
        '<ir_version: 10, opset_import: ["" : 21]> g (float[N,3] x) => (float[N,3] y)'
        "{ a = Relu(x) b = Cast<to=1>(a) y = Neg(b) }"
    )
    assert assert_same(model, {"x": np.ones((2, 3), np.float32)}) == ["RELU", "NEG"]
