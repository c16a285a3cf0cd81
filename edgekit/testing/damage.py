"""Damages files the way disks, networks and fuzzers do, reproducibly."""

from __future__ import annotations

import random

_FEW = (1, 1, 2, 8, 64)
_RUN = 9


def damaged(content: bytes, seed: int) -> bytes:
    """A damaged copy: bytes changed, cut out or repeated, sometimes the end cut off.

    Args:
        content: what to damage; at least one byte.
        seed: the same seed gives the same damage.
    """
    rng = random.Random(seed)
    data = bytearray(content)
    for _ in range(rng.choice(_FEW)):
        at, run = rng.randrange(len(data)), rng.randrange(1, _RUN)
        kind = rng.randrange(3)
        if kind == 0:
            data[at] = rng.randrange(256)
        elif kind == 1 and len(data) > run:
            del data[at : at + run]
        else:
            data[at:at] = data[at : at + run]
    if rng.random() < 1 / _RUN:
        del data[rng.randrange(1, len(data) + 1) :]
    return bytes(data)
