"""Lets convolutions and averages do the padding in front of them."""

from __future__ import annotations

import onnx_ir

from edgekit.passes.base import NodePass
from edgekit.passes.canonicalize.affine import unpadded
from edgekit.passes.canonicalize.rewrite import (
    attribute,
    has_input,
    input_at,
    integers,
    only_reader,
    producer,
    rank,
    scalar,
    sweep,
)


class FoldPads(NodePass):
    """Moves a Pad with zeros over the spatial axes into the pads of the Conv that reads it.

    ```
    before   a = Pad(x, [0, 0, 1, 1, 0, 0, 1, 1]); y = Conv(a, w)
    after    y = Conv[pads=[1, 1, 1, 1]](x, w)
    ```

    The same for an AveragePool that counts its padding, or that becomes one which does.
    """

    ops = frozenset({"AveragePool", "Conv"})

    def rewrite(self, node: onnx_ir.Node) -> bool:
        """Fold the Pad in front of one node."""
        pad = producer(node.inputs[0], "Pad")
        if pad is None or not only_reader(node.inputs[0]) or not _can_pad(node):
            return False
        extra = _spatial_zeros(pad)
        if extra is None:
            return False
        count = len(extra) // 2
        pads = attribute(node, "pads") or (0,) * (2 * count)
        if len(pads) != len(extra):
            return False
        total = [own + more for own, more in zip(pads, extra, strict=True)]
        node.attributes["pads"] = onnx_ir.AttrInt64s("pads", total)
        node.attributes.pop("auto_pad", None)
        if node.op_type == "AveragePool":
            node.attributes["count_include_pad"] = onnx_ir.AttrInt64("count_include_pad", 1)
        node.replace_input_with(0, pad.inputs[0])
        sweep(pad)
        return True


def _can_pad(node: onnx_ir.Node) -> bool:
    if node.op_type == "Conv":
        return unpadded(node) or attribute(node, "auto_pad", "NOTSET") == "NOTSET"
    # With ceil_mode the windows beyond the edge are not counted like padding.
    counted = attribute(node, "count_include_pad", 0) or unpadded(node)
    small = not attribute(node, "ceil_mode", 0)
    return bool(counted and small and attribute(node, "auto_pad", "NOTSET") in ("NOTSET", "VALID"))


def _spatial_zeros(pad: onnx_ir.Node) -> tuple[int, ...] | None:
    """Begins and ends of the spatial axes, if that is all that a node pads, and with zeros."""
    pads, axes = integers(input_at(pad, 1)), rank(pad.inputs[0])
    value = scalar(input_at(pad, 2)) if has_input(pad, 2) else 0.0
    if attribute(pad, "mode", "constant") != "constant" or value != 0 or has_input(pad, 3):
        return None
    if pads is None or axes is None or axes < 3 or len(pads) != 2 * axes or min(pads) < 0:
        return None
    begins, ends = pads[:axes], pads[axes:]
    return None if any(begins[:2] + ends[:2]) else begins[2:] + ends[2:]
