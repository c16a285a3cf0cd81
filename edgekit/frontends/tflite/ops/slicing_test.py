"""STRIDED_SLICE with any mix of bounds, steps and masks against the interpreter."""

from __future__ import annotations

import numpy as np
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from edgekit.testing.tiny_tflite import TinyModel, assert_same

SIZES = (4, 3, 5)


@st.composite
def slices(draw):
    """Per axis: begin, end and step; a shrunk axis needs an index inside and a step of 1."""
    count = draw(st.integers(1, 3))
    begin, end, step = [], [], []
    masks = {"beginMask": 0, "endMask": 0, "shrinkAxisMask": 0, "newAxisMask": 0}
    for index in range(count):
        size = SIZES[index]
        kind = draw(st.sampled_from(["plain", "plain", "shrink"]))
        begin.append(draw(st.integers(-size, size - 1)))
        step.append(1 if kind == "shrink" else draw(st.sampled_from([1, 1, 2, -1, -2])))
        end.append(begin[-1] + 1 if kind == "shrink" else draw(st.integers(-size - 1, size + 1)))
        masks["shrinkAxisMask"] |= (kind == "shrink") << index
        masks["beginMask"] |= draw(st.booleans()) << index if kind != "shrink" else 0
        masks["endMask"] |= draw(st.booleans()) << index if kind != "shrink" else 0
    return begin, end, step, masks


def lengths(begin, end, step, masks):
    """How many elements remain of each axis that is sliced."""
    kept = []
    for index, (first, last, by) in enumerate(zip(begin, end, step, strict=True)):
        marked = {name: masks[name] >> index & 1 for name in masks}
        if marked["shrinkAxisMask"]:
            continue
        bounds = None if marked["beginMask"] else first, None if marked["endMask"] else last
        kept.append(len(range(SIZES[index])[slice(*bounds, by)]))
    return np.array(kept)


@settings(max_examples=80, deadline=None, derandomize=True)
@given(chosen=slices(), computed=st.booleans())
def test_strided_slice(chosen, computed):
    begin, end, step, masks = chosen
    assume(lengths(*chosen).all())  # The interpreter cannot hand out an empty result.
    tiny = TinyModel()
    x = tiny.input(SIZES)
    feeds = [np.random.default_rng(0).uniform(size=SIZES).astype(np.float32)]
    bounds = [np.array(b, np.int32) for b in (begin, end)]
    if computed:
        operands = [tiny.input(b.shape, "INT32") for b in bounds]
        feeds += bounds
    else:
        operands = [tiny.constant(b) for b in bounds]
    y = tiny.tensor((1,))
    strides = tiny.constant(np.array(step, np.int32))
    tiny.op(
        "STRIDED_SLICE", [x, *operands, strides], [y], masks, options_kind="StridedSliceOptions"
    )
    tiny.output(y)
    assert_same(tiny.settle(feeds), feeds)
