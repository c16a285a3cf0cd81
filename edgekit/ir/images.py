"""Finds out which values of a graph are images, and in which order their axes are."""

from __future__ import annotations

from collections.abc import Iterator

import onnx_ir

from edgekit.ir.model import Model
from edgekit.vocabulary import Layout

_SPATIAL = frozenset(
    {
        "AveragePool",
        "BatchNormalization",
        "Conv",
        "ConvTranspose",
        "DepthToSpace",
        "GlobalAveragePool",
        "GlobalMaxPool",
        "GridSample",
        "GroupNormalization",
        "InstanceNormalization",
        "LRN",
        "LpPool",
        "MaxPool",
        "SpaceToDepth",
        "Upsample",
    }
)
"""Operators whose first input and output are in the order N, C, H, W."""

# fmt: off
_SAME_ORDER = frozenset(
    {
        "Abs", "Add", "Cast", "Ceil", "Clip", "Concat", "DequantizeLinear", "Div", "Dropout",
        "Elu", "Erf", "Exp", "Floor", "Gelu", "HardSigmoid", "HardSwish", "Identity", "LeakyRelu",
        "Log", "Max", "Mean", "Min", "Mish", "Mul", "Neg", "PRelu", "Pad", "Pow",
        "QuantizeLinear", "Reciprocal", "Relu", "Resize", "Round", "Selu", "Sigmoid", "Slice",
        "Softplus", "Softsign", "Split", "Sqrt", "Sub", "Sum", "Tanh", "ThresholdedRelu", "Where",
    }
)
# fmt: on
"""Operators whose inputs and outputs of rank 4 all have their axes in the same order."""

_TO_NHWC = (0, 2, 3, 1)
_TO_NCHW = (0, 3, 1, 2)


def image_values(model: Model) -> set[str]:
    """Names of the values that are 4-D images, in whichever order."""
    return set(image_layouts(model))


def image_layouts(model: Model) -> dict[str, Layout]:
    """Which values are 4-D images, and the order of their axes.

    What convolutions, pools and the like read and make is an image in NCHW, as ONNX says. From
    there the knowledge spreads in both directions: through element-wise operators unchanged,
    through transposes that turn one order into the other.

    Args:
        model: a graph with inferred shapes.

    Returns:
        The order of axes by value name.
    """
    found: dict[onnx_ir.Value, Layout] = {}
    pending: list[onnx_ir.Value] = []

    def learn(value: onnx_ir.Value | None, layout: Layout) -> None:
        if value is not None and value not in found and _is_4d(value):
            found[value] = layout
            pending.append(value)

    for node in model.graph:
        if _standard(node) and node.op_type in _SPATIAL:
            learn(node.inputs[0], Layout.NCHW)
            learn(node.outputs[0], Layout.NCHW)
    while pending:
        value = pending.pop()
        for node in _around(value):
            for other, layout in _spread(node, value, found[value]):
                learn(other, layout)
    return {value.name: layout for value, layout in found.items() if value.name}


def _is_4d(value: onnx_ir.Value) -> bool:
    return value.shape is not None and len(value.shape) == 4 and not value.is_initializer()


def _standard(node: onnx_ir.Node) -> bool:
    return node.domain in ("", "ai.onnx") and bool(node.inputs)


def _around(value: onnx_ir.Value) -> Iterator[onnx_ir.Node]:
    maker = value.producer()
    if maker is not None:
        yield maker
    yield from value.consumers()


def _spread(
    node: onnx_ir.Node, value: onnx_ir.Value, layout: Layout
) -> Iterator[tuple[onnx_ir.Value | None, Layout]]:
    if not _standard(node):
        return
    if node.op_type in _SAME_ORDER:
        for other in (*node.inputs, *node.outputs):
            yield other, layout
    elif node.op_type in ("Transpose", "Reshape"):
        forward = value is node.inputs[0]
        other = node.outputs[0] if forward else node.inputs[0]
        wanted = _TO_NHWC if (layout == Layout.NCHW) == forward else _TO_NCHW
        if _is_permutation(node, wanted):
            yield other, Layout.NHWC if layout == Layout.NCHW else Layout.NCHW


def _is_permutation(node: onnx_ir.Node, perm: tuple[int, ...]) -> bool:
    """Whether a node permutes axes like this; a Reshape can, where all that moves has size 1."""
    if node.op_type == "Transpose":
        attr = node.attributes.get("perm")
        return attr is not None and tuple(attr.as_ints()) == perm
    source, target = node.inputs[0], node.outputs[0].shape
    if source is None or source.shape is None or target is None or len(source.shape) != 4:
        return False
    sizes = list(source.shape)
    channels = sizes[1 if perm == _TO_NHWC else 3]
    return channels == 1 and list(target) == [sizes[axis] for axis in perm]
