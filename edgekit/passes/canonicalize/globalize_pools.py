"""Writes pools over the whole image as global pools."""

from __future__ import annotations

import onnx_ir

from edgekit.passes.base import NodePass
from edgekit.passes.canonicalize.affine import unpadded
from edgekit.passes.canonicalize.rewrite import add_node, attribute, dims, replace


class GlobalizePools(NodePass):
    """Turns an AveragePool with one window, as large as the image, into a GlobalAveragePool.

    ```
    before   y = AveragePool[kernel_shape=[8, 8]](x)      x: [N, C, 8, 8]
    after    y = GlobalAveragePool(x)
    ```

    A mean may rescale its result in INT8; a window that slides keeps the scale of its input,
    which is too coarse for averages of many values.
    """

    ops = frozenset({"AveragePool"})

    def rewrite(self, node: onnx_ir.Node) -> bool:
        """Replace one node whose window is the whole image."""
        kernel = attribute(node, "kernel_shape")
        image = _image(node.inputs[0])
        if kernel is None or image is None or tuple(kernel) != image or not unpadded(node):
            return False
        if any(size != 1 for size in attribute(node, "dilations") or ()):
            return False
        made = add_node(
            node,
            "GlobalAveragePool",
            [node.inputs[0]],
            like=node.outputs[0],
            name=node.name or "GlobalAveragePool",
        )
        replace(node.outputs[0], made)
        return True


def _image(value: onnx_ir.Value | None) -> tuple[int, ...] | None:
    """The spatial sizes, where all are known."""
    sizes = (dims(value) or ())[2:]
    known = tuple(size for size in sizes if isinstance(size, int))
    return known if known and len(known) == len(sizes) else None
