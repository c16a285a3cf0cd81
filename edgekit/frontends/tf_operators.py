"""TensorFlow operators that tf2onnx does not know, in ONNX terms."""

from __future__ import annotations

from typing import Any

import numpy as np


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


HANDLERS: dict[str, tuple[Any, list[Any]]] = {"Erfc": (_erfc, []), "ReverseV2": (_reverse, [])}
"""What tf2onnx calls for each of these operators."""
