"""Operators with constant weights that can take in a scaling before or behind them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx_ir
from numpy.typing import NDArray

from edgekit.passes.canonicalize.affine import Affine, gemm_bias, unpadded
from edgekit.passes.canonicalize.rewrite import (
    attribute,
    constant_like,
    floats,
    has_input,
    input_at,
    rank,
)

Array = NDArray[np.float64]


def absorb_behind(node: onnx_ir.Node, affine: Affine) -> bool:
    """Scale and shift the output of a linear node by changing its weights.

    Args:
        node: the node whose output is scaled.
        affine: the scaling, in the shape of the node's output.

    Returns:
        Whether the weights could be changed so that this is done now.
    """
    handler = _BEHIND.get(node.op_type)
    return handler is not None and handler(node, affine)


def absorb_before(node: onnx_ir.Node, affine: Affine) -> bool:
    """Scale and shift the first input of a linear node by changing its weights.

    Args:
        node: the node whose input is scaled.
        affine: the scaling, in the shape of the node's first input.

    Returns:
        Whether the weights could be changed so that this is done now.
    """
    handler = _BEFORE.get(node.op_type)
    return handler is not None and handler(node, affine)


def _set(node: onnx_ir.Node, weight: Array, bias: Array | None) -> bool:
    old = node.inputs[1]
    if old is None or not np.isfinite(weight).all():
        return False
    if bias is not None and not np.isfinite(bias).all():
        return False
    node.replace_input_with(1, constant_like(node, weight, old))
    if bias is None:
        return True
    if len(node.inputs) < 3:
        node.resize_inputs(3)
    name = f"{node.name or node.op_type}_bias"
    node.replace_input_with(2, constant_like(node, bias, old, name))
    return True


def _bias(node: onnx_ir.Node, channels: int) -> Array | None:
    return floats(node.inputs[2]) if has_input(node, 2) else np.zeros(channels)


def _conv_behind(node: onnx_ir.Node, affine: Affine) -> bool:
    weight = floats(input_at(node, 1))
    if weight is None:
        return False
    channels = weight.shape[0]
    bias, vectors = _bias(node, channels), affine.along(1, channels)
    if bias is None or vectors is None:
        return False
    scale, shift = vectors
    shaped = scale.reshape(-1, *(1,) * (weight.ndim - 1))
    return _set(node, weight * shaped, _kept(node, bias * scale + shift))


def _kept(node: onnx_ir.Node, bias: Array) -> Array | None:
    """A bias that is there already, or needed now."""
    return bias if has_input(node, 2) or bias.any() else None


def _transposed_behind(node: onnx_ir.Node, affine: Affine) -> bool:
    weight = floats(input_at(node, 1))
    if weight is None:
        return False
    groups = attribute(node, "group", 1)
    channels = weight.shape[1] * groups
    bias, vectors = _bias(node, channels), affine.along(1, channels)
    if bias is None or vectors is None:
        return False
    scale, shift = vectors
    grouped = weight.reshape(groups, -1, *weight.shape[1:])
    shaped = scale.reshape(groups, 1, -1, *(1,) * (weight.ndim - 2))
    scaled = (grouped * shaped).reshape(weight.shape)
    return _set(node, scaled, _kept(node, bias * scale + shift))


def _gemm_weight(node: onnx_ir.Node) -> tuple[Array, Callable[[Array], Array]] | None:
    """The [K, N] weight of a Gemm with `alpha` applied, and how to store it again."""
    weight = floats(input_at(node, 1))
    if weight is None:
        return None
    weight = weight * attribute(node, "alpha", 1.0)
    if attribute(node, "transB", 0):
        return weight.T, np.transpose
    return weight, np.asarray


def _set_gemm(node: onnx_ir.Node, weight: Array, bias: Array) -> bool:
    if not _set(node, weight, _kept(node, bias)):
        return False
    node.attributes.pop("alpha", None)
    node.attributes.pop("beta", None)
    return True


def _gemm_behind(node: onnx_ir.Node, affine: Affine) -> bool:
    found = _gemm_weight(node)
    if found is None:
        return False
    weight, store = found
    bias, vectors = gemm_bias(node, weight.shape[1]), affine.along(1, weight.shape[1])
    if bias is None or vectors is None:
        return False
    scale, shift = vectors
    return _set_gemm(node, store(weight * scale), bias * scale + shift)


def _matmul_behind(node: onnx_ir.Node, affine: Affine) -> bool:
    weight, axes = floats(input_at(node, 1)), rank(node.outputs[0])
    if weight is None or weight.ndim != 2 or axes is None or affine.shifts:
        return False
    vectors = affine.along(axes - 1, weight.shape[1])
    return vectors is not None and _set(node, weight * vectors[0], None)


def _layer_norm_behind(node: onnx_ir.Node, affine: Affine) -> bool:
    scale = floats(input_at(node, 1))
    if scale is None:
        return False
    lead = affine.scale.ndim - scale.ndim
    bias = floats(node.inputs[2]) if has_input(node, 2) else np.zeros(scale.shape)
    if bias is None or any(n != 1 for n in affine.scale.shape[:lead] + affine.shift.shape[:lead]):
        return False
    factor, shift = (a.reshape(a.shape[lead:]) for a in (affine.scale, affine.shift))
    wanted = np.broadcast_to(scale * factor, scale.shape)
    return _set(node, wanted, _kept(node, np.broadcast_to(bias * factor + shift, scale.shape)))


def _norm_behind(node: onnx_ir.Node, affine: Affine) -> bool:
    scale, bias = floats(input_at(node, 1)), floats(input_at(node, 2))
    vectors = affine.along(1, scale.size) if scale is not None else None
    if scale is None or bias is None or vectors is None:
        return False
    return _set(node, scale * vectors[0], bias * vectors[0] + vectors[1])


def _conv_before(node: onnx_ir.Node, affine: Affine) -> bool:
    weight = floats(input_at(node, 1))
    if weight is None or (affine.shifts and not unpadded(node)):
        return False
    groups = attribute(node, "group", 1)
    bias, vectors = _bias(node, weight.shape[0]), affine.along(1, weight.shape[1] * groups)
    if bias is None or vectors is None:
        return False
    spatial = (1,) * (weight.ndim - 2)
    grouped = weight.reshape(groups, -1, *weight.shape[1:])
    scale, shift = (v.reshape(groups, 1, -1, *spatial) for v in vectors)
    extra = (grouped * shift).reshape(weight.shape[0], -1).sum(axis=1)
    return _set(node, (grouped * scale).reshape(weight.shape), _kept(node, bias + extra))


def _transposed_before(node: onnx_ir.Node, affine: Affine) -> bool:
    weight = floats(input_at(node, 1))
    if weight is None or affine.shifts:
        return False
    vectors = affine.along(1, weight.shape[0])
    if vectors is None:
        return False
    return _set(node, weight * vectors[0].reshape(-1, *(1,) * (weight.ndim - 1)), None)


def _gemm_before(node: onnx_ir.Node, affine: Affine) -> bool:
    found = _gemm_weight(node)
    if found is None or attribute(node, "transA", 0):
        return False
    weight, store = found
    bias, vectors = gemm_bias(node, weight.shape[1]), affine.along(1, weight.shape[0])
    if bias is None or vectors is None:
        return False
    scale, shift = vectors
    return _set_gemm(node, store(weight * scale[:, None]), bias + shift @ weight)


def _matmul_before(node: onnx_ir.Node, affine: Affine) -> bool:
    weight, axes = floats(input_at(node, 1)), rank(node.inputs[0])
    if weight is None or weight.ndim != 2 or axes is None or affine.shifts:
        return False
    vectors = affine.along(axes - 1, weight.shape[0])
    return vectors is not None and _set(node, weight * vectors[0][:, None], None)


_BEHIND: dict[str, Callable[[onnx_ir.Node, Affine], bool]] = {
    "Conv": _conv_behind,
    "ConvTranspose": _transposed_behind,
    "Gemm": _gemm_behind,
    "GroupNormalization": _norm_behind,
    "InstanceNormalization": _norm_behind,
    "LayerNormalization": _layer_norm_behind,
    "MatMul": _matmul_behind,
}
_BEFORE: dict[str, Callable[[onnx_ir.Node, Affine], bool]] = {
    "Conv": _conv_before,
    "ConvTranspose": _transposed_before,
    "Gemm": _gemm_before,
    "MatMul": _matmul_before,
}
