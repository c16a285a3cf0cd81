"""Folds normalization, and scaling and shifting by constants, into weights next to it."""

from __future__ import annotations

import numpy as np
import onnx_ir

from edgekit.passes.base import NodePass
from edgekit.passes.canonicalize.affine import AFFINE, VIEWS, Affine, as_affine, unpadded
from edgekit.passes.canonicalize.linear import absorb_before, absorb_behind
from edgekit.passes.canonicalize.rewrite import (
    add_node,
    constant_like,
    is_op,
    only_reader,
    producer,
    replace,
)

_MOVES = (*VIEWS, "Transpose")
_MEANS = ("AveragePool", "GlobalAveragePool")


class FoldAffine(NodePass):
    """Folds BatchNormalization and Mul, Add, Sub, Div by constants into Conv, ConvTranspose, Gemm
    and MatMul, the one that makes their input or the one that reads their output.

    ```
    before   a = Conv(x, w, b); t = Transpose[0, 2, 3, 1](a); y = Mul(t, s: float32[16])
    after    a = Conv(x, w * s[:, None, None, None], b * s); y = Transpose[0, 2, 3, 1](a)
    ```

    The way leads through Reshape, Squeeze, Unsqueeze, Flatten and Transpose, and upwards through
    averages without padding. A shift in front of a Conv that pads stays, since the padding is not
    shifted. A MatMul has no bias: of a BatchNormalization behind it an Add stays.
    """  # noqa: D205 - the list of operators needs two lines

    ops = AFFINE

    def rewrite(self, node: onnx_ir.Node) -> bool:
        """Fold one node away, or a part of it."""
        found = as_affine(node)
        if found is None:
            return False
        data, affine = found
        if _fold_up(node, data, affine) or _fold_down(node, affine):
            replace(node.outputs[0], data)
            return True
        return _fold_scale_up(node, data, affine)


def _fold_up(node: onnx_ir.Node, data: onnx_ir.Value, affine: Affine) -> bool:
    found: Affine | None = affine
    value: onnx_ir.Value | None = data
    while found is not None and only_reader(value):
        maker = value.producer() if value is not None else None
        if maker is None or maker.graph is not node.graph:
            return False
        if absorb_behind(maker, found):
            return True
        if _absorb_in_sum(maker, found):
            return True
        found, value = _step_up(maker, found), maker.inputs[0] if maker.inputs else None
    return False


def _step_up(maker: onnx_ir.Node, affine: Affine) -> Affine | None:
    if is_op(maker, *_MOVES):
        return affine.before(maker)
    if is_op(maker, *_MEANS) and unpadded(maker):
        flat = all(size == 1 for array in (affine.scale, affine.shift) for size in array.shape[2:])
        return affine if flat and affine.scale.ndim > 2 else None
    return None


def _absorb_in_sum(maker: onnx_ir.Node, affine: Affine) -> bool:
    """Scale `x @ w + b` by scaling w and b; b is an Add behind the MatMul."""
    inner = as_affine(maker) if is_op(maker, "Add") else None
    if inner is None or not only_reader(inner[0]):
        return False
    data, bias = inner
    product = producer(data, "MatMul")
    if product is None or not absorb_behind(product, _scale_only(affine)):
        return False
    _set_constant(maker, affine.after(bias).shift)
    return True


def _scale_only(affine: Affine) -> Affine:
    return Affine(affine.scale, np.zeros_like(affine.shift))


def _set_constant(
    node: onnx_ir.Node, array: np.ndarray[tuple[int, ...], np.dtype[np.float64]]
) -> None:
    for index, value in enumerate(node.inputs):
        if value is not None and value.is_initializer():
            node.replace_input_with(index, constant_like(node, array, value))
            return


def _fold_down(node: onnx_ir.Node, affine: Affine) -> bool:
    found: Affine | None = affine
    value = node.outputs[0]
    while found is not None and only_reader(value):
        reader, index = next(iter(value.uses()))
        if index != 0 or reader.graph is not node.graph:
            return False
        if absorb_before(reader, found):
            return True
        if not is_op(reader, *_MOVES):
            return False
        found, value = found.behind(reader), reader.outputs[0]
    return False


def _fold_scale_up(node: onnx_ir.Node, data: onnx_ir.Value, affine: Affine) -> bool:
    """Fold the scale alone into a MatMul and leave the shift."""
    if not affine.scales or not affine.shifts or not _fold_up(node, data, _scale_only(affine)):
        return False
    shift = constant_like(node, affine.shift, data, f"{node.name}_shift")
    replace(node.outputs[0], add_node(node, "Add", [data, shift], like=node.outputs[0]))
    return True
