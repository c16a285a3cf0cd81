"""Changes the order of axes in which a model takes and gives images."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import onnx_ir

from edgekit.ir.images import image_layouts
from edgekit.ir.model import Model
from edgekit.passes.base import InPlacePass, PassResult, run_passes
from edgekit.passes.canonicalize.infer_shapes import InferShapes
from edgekit.passes.canonicalize.remove_no_ops import RemoveNoOps
from edgekit.passes.canonicalize.rewrite import fresh_name
from edgekit.passes.canonicalize.transposes import SinkTransposes
from edgekit.vocabulary import Layout

_PERM = {Layout.NHWC: (0, 2, 3, 1), Layout.NCHW: (0, 3, 1, 2)}
"""How to get to a layout from the other one."""


class ChangeIoLayout(InPlacePass):
    """Gives the image inputs and outputs of a graph another order of axes, under the same names.

    ```
    before   graph(x: float32[N, 3, 32, 32]) { y = Conv(x, w); return y }
    after    graph(x: float32[N, 32, 32, 3]) { a = Transpose[0, 3, 1, 2](x); b = Conv(a, w)
                                               y = Transpose[0, 2, 3, 1](b); return y }
    ```

    Args:
        layout: the order that is wanted.
        known: the order that images among the inputs and outputs have now, by name; what is not
            listed is no image and stays.
    """

    def __init__(self, layout: Layout, known: Mapping[str, Layout]) -> None:
        super().__init__()
        self.layout = layout
        self.known = known

    def call(self, model: onnx_ir.Model) -> PassResult:
        """Change all inputs and outputs that have the other order."""
        graph = model.graph
        inputs = [i for i, value in enumerate(graph.inputs) if self._differs(value)]
        outputs = [i for i, value in enumerate(graph.outputs) if self._differs(value)]
        for index in inputs:
            self._change_input(graph, index)
        for index in outputs:
            self._change_output(graph, index)
        return PassResult(model, bool(inputs or outputs))

    def _differs(self, value: onnx_ir.Value) -> bool:
        now = self.known.get(value.name or "")
        four = value.shape is not None and len(value.shape) == 4
        return four and now is not None and now != self.layout

    def _change_input(self, graph: onnx_ir.Graph, index: int) -> None:
        old = graph.inputs[index]
        new = _permuted(old, _PERM[self.layout])
        inner = onnx_ir.val(fresh_name(graph, f"{new.name}_image"))
        inner.type, inner.shape = old.type, old.shape
        back = _PERM[_other(self.layout)]
        node = onnx_ir.node("Transpose", [new], {"perm": back}, outputs=[inner])
        node.name = fresh_name(graph, "Transpose_input")
        old.name = fresh_name(graph, f"{new.name}_old")
        old.replace_all_uses_with(inner, replace_graph_outputs=True)
        graph.inputs[index] = new
        first = next(iter(graph), None)
        if first is None:
            graph.append(node)
        else:
            graph.insert_before(first, node)

    def _change_output(self, graph: onnx_ir.Graph, index: int) -> None:
        old = graph.outputs[index]
        new = _permuted(old, _PERM[self.layout])
        old.name = fresh_name(graph, f"{new.name}_image")
        node = onnx_ir.node("Transpose", [old], {"perm": _PERM[self.layout]}, outputs=[new])
        node.name = fresh_name(graph, "Transpose_output")
        graph.append(node)
        graph.outputs[index] = new


def _other(layout: Layout) -> Layout:
    return Layout.NCHW if layout == Layout.NHWC else Layout.NHWC


def _permuted(value: onnx_ir.Value, perm: tuple[int, ...]) -> onnx_ir.Value:
    """A value of the same name and type with its axes in another order."""
    shape = value.shape
    sizes = None if shape is None else onnx_ir.Shape([shape[axis] for axis in perm])
    return onnx_ir.Value(name=value.name, type=value.type, shape=sizes)


def change_io_layout(model: Model, layout: Layout) -> Model:
    """The same model with image inputs and outputs in the order that is wanted.

    Args:
        model: a canonical graph. It is not changed.
        layout: the order of the axes of all image inputs and outputs of the result. Where the
            model does not say what order an image has, its use in the graph does.

    Returns:
        A canonical graph with inputs and outputs of the same names, and its layouts noted.
    """
    known = {**image_layouts(model), **model.layouts}
    edges = {value.name for value in (*model.graph.inputs, *model.graph.outputs)}
    known = {name: now for name, now in known.items() if name in edges}
    copy = model.clone()
    change = ChangeIoLayout(layout, known)
    if change(copy.ir).modified:
        run_passes(copy.ir, [SinkTransposes(), RemoveNoOps(), InferShapes()])
    return replace(copy, layouts={**model.layouts, **dict.fromkeys(known, layout)})
