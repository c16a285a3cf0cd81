"""What OpenVINO's ONNX frontend takes but means otherwise, as data.

What it refuses it names itself; these attributes and operands it leaves out without a word, and
the outputs are wrong. Found by running the test cases of ONNX's operators on OpenVINO 2026.4.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import onnx_ir

from edgekit.errors import Reason


@dataclass(frozen=True)
class _Gap:
    """One thing that is left out.

    Attributes:
        ops: operators that have it.
        applies: whether a node uses it.
        reason: what is left out.
        hint: what to do.
    """

    ops: tuple[str, ...]
    applies: Callable[[onnx_ir.Node], bool]
    reason: str
    hint: str


def _text(node: onnx_ir.Node, name: str) -> str:
    attribute = node.attributes.get(name)
    return "" if attribute is None else attribute.as_string()


def _number(node: onnx_ir.Node, name: str) -> int:
    attribute = node.attributes.get(name)
    return 0 if attribute is None else attribute.as_int()


def _has_input(node: onnx_ir.Node, index: int) -> bool:
    return len(node.inputs) > index and node.inputs[index] is not None


def _computed_input(node: onnx_ir.Node, index: int) -> bool:
    value = node.inputs[index] if len(node.inputs) > index else None
    return value is not None and value.const_value is None


def _fractional_corners(node: onnx_ir.Node) -> bool:
    """Whether corners are aligned by scales that do not give whole sizes."""
    if _text(node, "coordinate_transformation_mode") != "align_corners" or _has_input(node, 3):
        return False
    value, source = node.inputs[2] if _has_input(node, 2) else None, node.inputs[0]
    if value is None or value.const_value is None or source is None or source.shape is None:
        return False
    scales = value.const_value.numpy()
    axes = node.attributes.get("axes")
    chosen = axes.as_ints() if axes is not None else range(len(scales))
    sizes = [source.shape[axis] for axis in chosen]
    products = [d * s for d, s in zip(sizes, scales, strict=True) if isinstance(d, int)]
    return not np.allclose(products, np.round(products), atol=1e-4)


_RECURRENT = ("GRU", "LSTM", "RNN")
_GAPS = (
    _Gap(
        _RECURRENT,
        lambda node: _number(node, "layout") == 1,
        "OpenVINO ignores layout=1 (batch first)",
        "use layout=0 with a Transpose before and after",
    ),
    _Gap(
        ("LSTM",),
        lambda node: _has_input(node, 7),
        "OpenVINO ignores peephole weights",
        "train the LSTM without peepholes",
    ),
    _Gap(
        ("Resize",),
        lambda node: _number(node, "antialias") == 1,
        "OpenVINO ignores antialias=1",
        "average-pool before a plain resize",
    ),
    _Gap(
        ("Resize",),
        lambda node: _text(node, "keep_aspect_ratio_policy") not in ("", "stretch"),
        "OpenVINO ignores keep_aspect_ratio_policy",
        "give the final sizes",
    ),
    _Gap(
        ("Resize",),
        lambda node: _text(node, "mode") == "cubic" and _number(node, "exclude_outside") == 1,
        "OpenVINO ignores exclude_outside=1",
        "use linear interpolation, or exclude_outside=0",
    ),
    _Gap(
        ("Resize",),
        _fractional_corners,
        "OpenVINO aligns corners by whole sizes, ONNX by the fractional ones that the scales give",
        "give the sizes instead of scales",
    ),
    _Gap(
        ("Pad",),
        lambda node: _computed_input(node, 2),
        "OpenVINO ignores a padding value that is computed",
        "make the padding value a constant",
    ),
)


def misread(graph: onnx_ir.Graph) -> Iterator[Reason]:
    """Yield a reason for each node that OpenVINO would compute otherwise than ONNX says."""
    for node in graph:
        for gap in _GAPS:
            if node.op_type in gap.ops and not node.domain and gap.applies(node):
                yield Reason(node.name or "", node.op_type, gap.reason, gap.hint)
