"""Recognises the Einstein sums that are one batched matrix product."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Operand:
    """One factor of the product.

    Attributes:
        index: which operand of the sum it is.
        permutation: how its axes are ordered before the product.
    """

    index: int
    permutation: tuple[int, ...]


@dataclass(frozen=True)
class MatmulPlan:
    """An Einstein sum as `transpose(first @ second, result)`.

    Attributes:
        first: left factor, axes ordered to (batch..., rows, summed).
        second: right factor, axes ordered to (batch..., summed, columns).
        result: how the axes of the product are ordered afterwards.
    """

    first: Operand
    second: Operand
    result: tuple[int, ...]


def matmul_plan(equation: str) -> MatmulPlan | None:
    """Express a sum over two operands as one matrix product.

    Args:
        equation: such as `aecd,abcd->acbe`.

    Returns:
        The plan, with the factors in the order that spares transposing the result where there is
        one; None if the sum is no (batched) matrix product.
    """
    terms, _, result = equation.replace(" ", "").partition("->")
    left, _, right = terms.partition(",")
    every = (left, right, result)
    if not all(part.isalpha() and len(set(part)) == len(part) for part in every):
        return None
    batch = [c for c in result if c in left and c in right]
    rows = [c for c in result if c in left and c not in right]
    columns = [c for c in result if c in right and c not in left]
    summed = [c for c in left if c in right and c not in result]
    used = {*batch, *rows, *columns, *summed}
    if not len(rows) == len(columns) == len(summed) == 1 or used != set(left + right):
        return None
    if set(result) != {*batch, *rows, *columns}:
        return None
    order = (0, 1)
    if result.index(rows[0]) > result.index(columns[0]):
        left, right, rows, columns, order = right, left, columns, rows, (1, 0)
    made = [*batch, *rows, *columns]
    return MatmulPlan(
        Operand(order[0], tuple(left.index(c) for c in (*batch, *rows, *summed))),
        Operand(order[1], tuple(right.index(c) for c in (*batch, *summed, *columns))),
        tuple(made.index(c) for c in result),
    )
