"""Makes every constant an initializer that nobody can feed."""

from __future__ import annotations

import onnx_ir

from edgekit.passes.base import NodePass, PassResult
from edgekit.passes.canonicalize.rewrite import fresh_name, graph_of, replace


class LiftConstants(NodePass):
    """Turns Constant nodes into initializers, and initializers that are also inputs into constants.

    ```
    before   graph(x, w = {...}) { c = Constant[value = 2.0]; y = Mul(x, c) }
    after    graph(x)            { y = Mul(x, c) }              initializers: w, c
    ```
    """

    ops = frozenset({"Constant"})

    def call(self, model: onnx_ir.Model) -> PassResult:
        """Lift all constants of the model."""
        fed = [value for value in model.graph.inputs if value.is_initializer()]
        for value in fed:
            model.graph.inputs.remove(value)
        nodes = super().call(model).modified
        return PassResult(model, bool(fed) or nodes)

    def rewrite(self, node: onnx_ir.Node) -> bool:
        """Register the node's tensor under the name of its output."""
        output = node.outputs[0]
        if "sparse_value" in node.attributes:
            return False
        tensor = onnx_ir.convenience.get_const_tensor(output)
        if tensor is None:
            return False
        graph = graph_of(node)
        name = output.name or "constant"
        if not output.is_graph_output():
            output.name = fresh_name(graph, name)
        else:
            name = fresh_name(graph, name)
        value = onnx_ir.Value(
            name=name,
            type=onnx_ir.TensorType(tensor.dtype),
            shape=onnx_ir.Shape(tensor.shape.numpy()),
            const_value=tensor,
        )
        graph.register_initializer(value)
        replace(output, value)
        return True
