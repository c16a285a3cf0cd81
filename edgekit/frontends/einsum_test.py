"""Plans against numpy.einsum."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgekit.frontends.einsum import matmul_plan

SIZES = dict(zip("abcdefgh", (2, 3, 4, 5, 6, 1, 3, 2), strict=True))


def array(letters, seed):
    return np.random.default_rng(seed).standard_normal([SIZES[c] for c in letters])


@given(st.permutations("abcdef"), st.integers(0, 3), st.data())
def test_plan_computes_the_sum(letters, batches, data):
    batch, (row, column, summed) = letters[:batches], letters[3:6]
    left = "".join(data.draw(st.permutations([*batch, row, summed])))
    right = "".join(data.draw(st.permutations([*batch, summed, column])))
    result = "".join(data.draw(st.permutations([*batch, row, column])))
    operands = [array(left, 0), array(right, 1)]
    plan = matmul_plan(f"{left},{right}->{result}")
    first, second = (operands[o.index].transpose(o.permutation) for o in (plan.first, plan.second))
    expected = np.einsum(f"{left},{right}->{result}", *operands)
    np.testing.assert_allclose((first @ second).transpose(plan.result), expected)


@pytest.mark.parametrize(
    "equation", ["ab,bc", "aab,bc->ac", "...a,ab->...b", "abc,cde->abde", "ab,ab->a", "ab->ba"]
)
def test_no_plan_for_other_sums(equation):
    assert matmul_plan(equation) is None
