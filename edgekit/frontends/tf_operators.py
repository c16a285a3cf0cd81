"""TensorFlow operators that tf2onnx does not know, in ONNX terms."""

from __future__ import annotations

from typing import Any

import numpy as np
from tf2onnx.onnx_opset.math import Einsum

from edgekit.frontends.einsum import matmul_plan


def _erfc(ctx: Any, node: Any, name: str, args: list[Any]) -> None:
    """`erfc(x) = 1 - erf(x)`, and `erfc(-x * c) = 1 + erf(x * c)` as Gelu is usually written."""
    shapes, dtypes = node.output_shapes, node.output_dtypes
    source, output = node.input[0], node.output[0]
    positive = _without_minus(ctx, node.inputs[0], shapes, dtypes)
    ctx.remove_node(name)
    one = ctx.make_const(f"{name}_one", np.array(1, np.float32)).output[0]
    erf = ctx.make_node("Erf", [positive or source], shapes=shapes, dtypes=dtypes)
    ctx.make_node(
        "Add" if positive else "Sub",
        [one, erf.output[0]],
        outputs=[output],
        name=name,
        shapes=shapes,
        dtypes=dtypes,
    )


def _without_minus(ctx: Any, product: Any, shapes: Any, dtypes: Any) -> str:
    """For `-x * c`, a node that computes `x * c`; empty for anything else."""
    if product.type != "Mul":
        return ""
    for minus, other in ((0, 1), (1, 0)):
        if product.inputs[minus].type == "Neg":
            inputs = [product.inputs[minus].input[0], product.input[other]]
            made = ctx.make_node("Mul", inputs, shapes=shapes, dtypes=dtypes)
            return str(made.output[0])
    return ""


def _reverse(ctx: Any, node: Any, name: str, args: list[Any]) -> None:
    """Slice backwards, where tf2onnx transposes and runs ReverseSequence."""
    shapes, dtypes = node.output_shapes, node.output_dtypes
    axes = node.inputs[1].get_tensor_value(as_list=False).astype(np.int64).reshape(-1)
    source, output = node.input[0], node.output[0]
    ctx.remove_node(name)
    bounds = [
        ctx.make_const(f"{name}_{key}", np.full(axes.shape, value, np.int64)).output[0]
        for key, value in (("starts", -1), ("ends", np.iinfo(np.int64).min), ("steps", -1))
    ]
    where = ctx.make_const(f"{name}_axes", axes).output[0]
    ctx.make_node(
        "Slice",
        [source, *bounds[:2], where, bounds[2]],
        outputs=[output],
        name=name,
        shapes=shapes,
        dtypes=dtypes,
    )


def _select(ctx: Any, node: Any, name: str, args: list[Any]) -> None:
    """Where; tf2onnx computes with casts and products for types that it knew not to work once."""
    node.type = "Where"


def _einsum(ctx: Any, node: Any, name: str, args: list[Any]) -> None:
    """A matrix product between transposes if the equation is one, else ONNX's Einsum."""
    equation = node.get_attr_value("equation").decode()
    plan = matmul_plan(equation)
    if plan is None:
        Einsum.version_12(ctx, node)
        return
    shapes, dtypes = node.output_shapes, node.output_dtypes
    sources, output = list(node.input), node.output[0]
    ctx.remove_node(name)
    first, second = (
        _transposed(ctx, sources[operand.index], operand.permutation)
        for operand in (plan.first, plan.second)
    )
    product = ctx.make_node("MatMul", [first, second], dtypes=dtypes)
    ctx.make_node(
        "Transpose",
        [product.output[0]],
        attr={"perm": list(plan.result)},
        outputs=[output],
        name=name,
        shapes=shapes,
        dtypes=dtypes,
    )


def _transposed(ctx: Any, source: str, permutation: tuple[int, ...]) -> str:
    if permutation == tuple(sorted(permutation)):
        return source
    return str(ctx.make_node("Transpose", [source], attr={"perm": list(permutation)}).output[0])


HANDLERS: dict[str, tuple[Any, list[Any]]] = {
    "Einsum": (_einsum, []),
    "Erfc": (_erfc, []),
    "ReverseV2": (_reverse, []),
    "SelectV2": (_select, []),
}
"""What tf2onnx calls for each of these operators."""
