"""Moves transposes to where they cost least, and cancels those that meet.

Before: `Transpose → Relu → Transpose⁻¹ → …`, after: `Relu → …`.

All transposes of static order are taken out of the graph at once. Every node whose axes can be
permuted then has a free choice (its *label*), and a value that one node leaves in another order
than the next one wants costs as many elements as it has, once for all readers that want the same.
Axes of size 1 move for free and constants cost nothing. The choice is improved by expansion moves
(Boykov, Veksler, Zabih, 2001): an order is carried from a place where it is needed through all
nodes that it reaches, and a minimum cut decides which of them adopt it. So transposes sink, rise,
split and cancel in one step, and the number of transposed elements never grows.
"""

from __future__ import annotations

import onnx_ir
from onnx_ir.passes import InPlacePass, PassResult

from edgekit.passes.canonicalize._layout_problem import NHWC_DOMAIN, LayoutProblem, transpose_perm
from edgekit.passes.canonicalize._layout_rewrite import materialize
from edgekit.passes.canonicalize._layout_search import improve

__all__ = ["NHWC_DOMAIN", "SinkTransposes"]


class SinkTransposes(InPlacePass):
    """Places transposes where they cost least.

    Needs shapes on values; nodes with operands of unknown rank are left alone.
    """

    def call(self, model: onnx_ir.Model) -> PassResult:
        """Rewrite the main graph in place."""
        if not any(transpose_perm(node) is not None for node in model.graph):
            return PassResult(model, modified=False)
        problem = LayoutProblem(model.graph)
        before = problem.present_cost()
        improve(problem)
        if problem.cost() >= before:
            return PassResult(model, modified=False)
        materialize(problem)
        return PassResult(model, modified=True)
