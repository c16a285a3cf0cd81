"""Replaces calls of model-local functions by their bodies."""

from __future__ import annotations

import onnx_ir
from onnx_ir.passes.common import InlinePass

from edgekit.errors import UnsupportedError
from edgekit.passes.base import InPlacePass, PassResult
from edgekit.passes.canonicalize.upgrade_rules import RULES


class InlineFunctions(InPlacePass):
    """Leaves one flat graph.

    ```
    before   y = my.domain::Block(x)          Block(a) { b = Relu(a); return Neg(b) }
    after    b = Relu(x); y = Neg(b)
    ```

    Raises:
        UnsupportedError: if a function is written for another opset than the model and uses an
            operator whose meaning changed in between.
    """

    def call(self, model: onnx_ir.Model) -> PassResult:
        """Inline all functions and forget them."""
        if not model.functions:
            return PassResult(model, False)
        version = model.graph.opset_imports.get("", 0)
        for function in model.functions.values():
            _check_opset(function, version)
        InlinePass()(model)
        model.functions.clear()
        return PassResult(model, True)


def _check_opset(function: onnx_ir.Function, version: int) -> None:
    own = function.opset_imports.get("", version)
    low, high = sorted((own, version))
    changed = {op for rule in RULES if low < rule.since <= high for op in rule.ops}
    used = changed & {node.op_type for node in function if node.domain == ""}
    if used:
        raise UnsupportedError(
            f"function '{function.name}' is of opset {own}, the model of opset {version}; "
            f"{', '.join(sorted(used))} changed in between.",
            hint="export the model with one opset for all its functions",
        )
