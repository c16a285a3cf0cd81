"""Arithmetic of axis permutations.

A permutation `p` reads as NumPy's: `x.transpose(p)` has `x`'s axis `p[k]` as its axis `k`.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

Perm = tuple[int, ...]
Dims = tuple[int | str | None, ...]
"""Sizes; a name or None where only known at run time."""


def identity(rank: int) -> Perm:
    """The permutation that changes nothing."""
    return tuple(range(rank))


def compose(first: Perm, second: Perm) -> Perm:
    """The one permutation that does `first`, then `second`."""
    return tuple(first[axis] for axis in second)


def inverse(perm: Perm) -> Perm:
    """The permutation that undoes `perm`."""
    return tuple(perm.index(axis) for axis in range(len(perm)))


def between(start: Perm, goal: Perm) -> Perm:
    """What turns `x.transpose(start)` into `x.transpose(goal)`."""
    return tuple(start.index(axis) for axis in goal)


def order(perm: Perm, dims: Dims) -> Perm:
    """The order of the axes that matter: those of size 1 move for free."""
    return tuple(axis for axis in perm if dims[axis] != 1)


def without(perm: Perm, removed: Collection[int]) -> Perm:
    """The permutation that is left when some axes are dropped, renumbered."""
    kept = [axis for axis in range(len(perm)) if axis not in removed]
    return tuple(kept.index(axis) for axis in perm if axis not in removed)


VARIANTS = 3
"""Number of places where `with_axes` can put axes that nothing is known about."""


def with_axes(perm: Perm, added: Sequence[int], variant: int) -> Perm:
    """A permutation of more axes whose `without(added)` is `perm`.

    Args:
        perm: order of the axes that are there already, numbered without the added ones.
        added: the new axes.
        variant: 0 puts them behind the first one, where the spatial axes of a channels-last
            tensor are; 1 in front; 2 at the end.
    """
    rank = len(perm) + len(added)
    if perm == identity(len(perm)) and variant == 0:
        return identity(rank)
    kept = [axis for axis in range(rank) if axis not in added]
    lifted = [kept[axis] for axis in perm]
    place = (min(1, len(lifted)), 0, len(lifted))[variant]
    return (*lifted[:place], *sorted(added), *lifted[place:])
