"""Writes automatic padding as numbers."""

from __future__ import annotations

import onnx_ir

from edgekit.passes.base import NodePass
from edgekit.passes.canonicalize.rewrite import attribute, dims, input_at


class ExplicitPads(NodePass):
    """Replaces `auto_pad` by `pads` where the sizes are known, and writes out the kernel's shape.

    ```
    before   y = Conv[auto_pad=SAME_UPPER, strides=[2, 2]](x: float32[N, 3, 32, 32], w)
    after    y = Conv[pads=[0, 0, 1, 1], strides=[2, 2], kernel_shape=[3, 3]](x, w)
    ```
    """

    ops = frozenset({"AveragePool", "Conv", "ConvTranspose", "MaxPool"})

    def rewrite(self, node: onnx_ir.Node) -> bool:
        """Make the padding of one node explicit."""
        modified = _write_kernel(node)
        automatic = attribute(node, "auto_pad")
        kernel = attribute(node, "kernel_shape")
        if automatic is None or kernel is None:
            return modified
        if automatic == "NOTSET":
            pads = attribute(node, "pads")
        elif automatic == "VALID":
            pads = (0,) * (2 * len(kernel))
        else:
            pads = _same_pads(node, kernel, upper=automatic == "SAME_UPPER")
            if pads is None:
                return modified
        node.attributes.pop("auto_pad")
        if pads is not None:
            node.attributes["pads"] = onnx_ir.AttrInt64s("pads", pads)
        return True


def _write_kernel(node: onnx_ir.Node) -> bool:
    weight = dims(input_at(node, 1)) if node.op_type.startswith("Conv") else None
    if "kernel_shape" in node.attributes or weight is None:
        return False
    kernel = [size for size in weight[2:] if isinstance(size, int)]
    if len(kernel) != len(weight) - 2:
        return False
    node.attributes["kernel_shape"] = onnx_ir.AttrInt64s("kernel_shape", kernel)
    return True


def _same_pads(
    node: onnx_ir.Node, kernel: tuple[int, ...], *, upper: bool
) -> tuple[int, ...] | None:
    """Pads that make the output as large as the input divided by the stride, rounded up."""
    sizes = dims(node.inputs[0])
    if node.op_type == "ConvTranspose" or sizes is None or len(sizes) != len(kernel) + 2:
        return None
    ones = (1,) * len(kernel)
    strides, dilations = attribute(node, "strides", ones), attribute(node, "dilations", ones)
    begins, ends = [], []
    for size, k, s, d in zip(sizes[2:], kernel, strides, dilations, strict=True):
        if not isinstance(size, int) and s != 1:
            return None
        covered = (k - 1) * d + 1
        # With a stride of 1 the total does not depend on the size.
        total = (-(-size // s) - 1) * s + covered - size if isinstance(size, int) else covered - 1
        total = max(0, total)
        begins.append(total // 2 if upper else total - total // 2)
        ends.append(total - begins[-1])
    return (*begins, *ends)
