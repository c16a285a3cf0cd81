"""Finds out whether a 4-D input or output of an ONNX graph is an image, and in which axis order."""

from __future__ import annotations

import onnx_ir

from edgekit.vocabulary import Layout

TO_NCHW = (0, 3, 1, 2)
TO_NHWC = (0, 2, 3, 1)

_CHANNELS_FIRST = frozenset(
    (
        "Conv",
        "ConvTranspose",
        "ConvInteger",
        "QLinearConv",
        "DeformConv",
        "MaxPool",
        "AveragePool",
        "LpPool",
        "GlobalAveragePool",
        "GlobalMaxPool",
        "GlobalLpPool",
        "MaxUnpool",
        "BatchNormalization",
        "GroupNormalization",
        "InstanceNormalization",
        "LRN",
        "DepthToSpace",
        "SpaceToDepth",
        "Resize",
        "Upsample",
        "GridSample",
        "RoiAlign",
        "MaxRoiPool",
    )
)
"""Operators whose first operand has its channels on axis 1."""

_AXIS_FREE = frozenset(
    (
        "Abs",
        "Add",
        "Cast",
        "Ceil",
        "Clip",
        "DequantizeLinear",
        "Div",
        "Dropout",
        "Elu",
        "Erf",
        "Exp",
        "Floor",
        "Gelu",
        "HardSigmoid",
        "HardSwish",
        "Identity",
        "LeakyRelu",
        "Log",
        "Max",
        "Min",
        "Mish",
        "Mul",
        "Neg",
        "PRelu",
        "Pad",
        "Pow",
        "QuantizeLinear",
        "Reciprocal",
        "Relu",
        "Round",
        "Selu",
        "Sigmoid",
        "Sign",
        "Softplus",
        "Softsign",
        "Sqrt",
        "Sub",
        "Swish",
        "Tanh",
        "Where",
    )
)
"""Operators that keep the axes of their first operand where they are."""

_IMAGE_RANK = 4


def find_layouts(graph: onnx_ir.Graph) -> dict[str, Layout]:
    """The layout of each 4-D input and output that the graph treats as an image.

    An input that convolutions read as it is, is NCHW; one that is transposed to NCHW first, as
    converters from TensorFlow write it, is NHWC. Outputs alike, in the other direction. A 4-D
    tensor that is no image (attention scores, say) has no layout.

    Args:
        graph: the main graph.
    """
    found: dict[str, Layout] = {}
    for value in graph.inputs:
        if value.name and _is_image(value) and (layout := _of_input(value)):
            found[value.name] = layout
    for value in graph.outputs:
        if value.name and _is_image(value) and (layout := _of_output(value)):
            found.setdefault(value.name, layout)
    return found


def _is_image(value: onnx_ir.Value) -> bool:
    return value.shape is not None and len(value.shape) == _IMAGE_RANK


def _of_input(start: onnx_ir.Value) -> Layout | None:
    queue, seen = [start], {id(start)}
    while queue:
        value = queue.pop(0)
        for node, index in value.uses():
            if layout := _reading(node, index):
                return layout
            if node.op_type in _AXIS_FREE:
                for out in node.outputs:
                    if id(out) not in seen:
                        seen.add(id(out))
                        queue.append(out)
    return None


def _reading(node: onnx_ir.Node, index: int) -> Layout | None:
    if index == 0 and node.op_type in _CHANNELS_FIRST:
        return Layout.NCHW
    if node.op_type == "Transpose" and _permutation(node) == TO_NCHW:
        return Layout.NHWC
    if node.op_type == "Reshape" and index == 0 and _moves_single_channel(node, last=True):
        return Layout.NHWC
    return None


def _of_output(start: onnx_ir.Value) -> Layout | None:
    queue, seen = [start], {id(start)}
    while queue:
        node = queue.pop(0).producer()
        if node is None:
            continue
        if layout := _writing(node):
            return layout
        if node.op_type in _AXIS_FREE or node.op_type == "Concat":
            for value in node.inputs:
                if value is not None and id(value) not in seen:
                    seen.add(id(value))
                    queue.append(value)
    return None


def _writing(node: onnx_ir.Node) -> Layout | None:
    if node.op_type in _CHANNELS_FIRST:
        return Layout.NCHW
    if node.op_type == "Transpose" and _permutation(node) == TO_NHWC:
        return Layout.NHWC
    if node.op_type == "Reshape" and _moves_single_channel(node, last=False):
        return Layout.NHWC
    return None


def _permutation(node: onnx_ir.Node) -> tuple[int, ...]:
    attribute = node.attributes.get("perm")
    return tuple(attribute.as_ints()) if attribute is not None else ()


def _moves_single_channel(node: onnx_ir.Node, *, last: bool) -> bool:
    """Whether a Reshape stands for the transpose of an image with one channel."""
    source, target = node.inputs[0], node.outputs[0]
    if source is None or source.shape is None or target.shape is None:
        return False
    before, after = list(source.shape), list(target.shape)
    if len(before) != _IMAGE_RANK or len(after) != _IMAGE_RANK:
        return False
    permutation = TO_NCHW if last else TO_NHWC
    channel = before[-1] if last else before[1]
    return channel == 1 and [before[i] for i in permutation][1:] == after[1:]
