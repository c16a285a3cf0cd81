import numpy as np
import pytest

from edgekit.errors import UnsupportedError
from edgekit.testing.tflite import assert_node_same

SIGNED = ["int8", "int16", "int32"]


def bits(seed, dtype, shape=(3, 4)):
    info = np.iinfo(dtype)
    return np.random.default_rng(seed).integers(
        info.min, info.max, shape, endpoint=True, dtype=dtype
    )


@pytest.mark.parametrize("dtype", [*SIGNED, "int64", "uint8", "uint16"])
def test_not(dtype):
    assert_node_same("BitwiseNot", {"a": bits(0, dtype)})


@pytest.mark.parametrize("dtype", [*SIGNED, "uint8", "uint16"])
def test_xor_broadcasts(dtype):
    assert_node_same("BitwiseXor", {"a": bits(0, dtype), "b": bits(1, dtype, 4)})


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_shift_to_the_right(dtype):
    operands = {"a": bits(0, dtype), "b": np.array([0, 1, 3, 7], dtype)}
    assert_node_same("BitShift", operands, direction="RIGHT")
    with pytest.raises(UnsupportedError, match="to the left"):
        assert_node_same("BitShift", operands, direction="LEFT")
