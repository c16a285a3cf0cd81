import numpy as np
import pytest

from edgekit.testing.tflite import assert_node_same

DOMAIN = {
    "Acos": (-1, 1),
    "Acosh": (1, 50),
    "Asin": (-1, 1),
    "Asinh": (-50, 50),
    "Atan": (-50, 50),
    "Atanh": (-0.99, 0.99),
    "Cosh": (-20, 20),
    "Sinh": (-20, 20),
    "Tan": (-1.5, 1.5),
}


@pytest.mark.parametrize("op", sorted(DOMAIN))
def test_formulas_hold_over_the_domain(op):
    x = np.linspace(*DOMAIN[op], 401, dtype=np.float32)
    assert_node_same(op, {"a": x}, dynamic=["a"], rtol=3e-6, atol=1e-6)


def test_atan_of_infinity():
    x = np.array([[np.inf, -np.inf]], np.float32)
    assert_node_same("Atan", {"a": x})
