"""Each rule of the IR is noticed when it is broken."""

import numpy as np
import onnx_ir
import pytest

from edgekit.ir.verify import InvalidGraphError, verify
from edgekit.testing.graphs import GraphBuilder


def model():
    g = GraphBuilder()
    x = g.input("x", ["N", 3])
    y = g.op("Add", g.op("Relu", x), np.ones(3, np.float32))
    return g.build(y).ir


def test_a_valid_graph_passes():
    verify(model())


def broken_order(m):
    relu = m.graph[0]
    m.graph.remove(relu)
    m.graph.append(relu)


def broken_cycle(m):
    relu, add = m.graph
    relu.replace_input_with(0, add.outputs[0])


def broken_name(m):
    relu, add = m.graph
    relu.outputs[0].name = add.outputs[0].name


def broken_nameless(m):
    m.graph[0].outputs[0].name = None


def broken_opset(m):
    m.graph.opset_imports.clear()


def broken_data(m):
    next(iter(m.graph.initializers.values())).const_value = None


def broken_dtype(m):
    next(iter(m.graph.initializers.values())).dtype = onnx_ir.DataType.INT8


def broken_shape(m):
    next(iter(m.graph.initializers.values())).shape = onnx_ir.Shape([4])


def broken_output(m):
    m.graph.outputs[0] = onnx_ir.val("nowhere", onnx_ir.DataType.FLOAT, [1])


def broken_foreign(m):
    m.graph[1].replace_input_with(1, onnx_ir.val("elsewhere", onnx_ir.DataType.FLOAT, [3]))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (broken_order, "before it is produced"),
        (broken_cycle, "before it is produced"),
        (broken_name, "name of another value"),
        (broken_nameless, "no name"),
        (broken_opset, "opset"),
        (broken_data, "no data"),
        (broken_dtype, "INT8"),
        (broken_shape, "declared"),
        (broken_output, "nowhere"),
        (broken_foreign, "elsewhere"),
    ],
)
def test_a_broken_rule_is_named(damage, message):
    m = model()
    damage(m)
    with pytest.raises(InvalidGraphError, match=message):
        verify(m)


def with_branch(read_late):
    g = GraphBuilder()
    x, cond = g.input("x", [3]), g.input("c", [], onnx_ir.DataType.BOOL)
    early = g.op("Relu", x)
    late = onnx_ir.val("late", onnx_ir.DataType.FLOAT, [3])
    branches = {}
    for name in ("then_branch", "else_branch"):
        inner = onnx_ir.node("Neg", [late if read_late else early])
        inner.outputs[0].name, inner.outputs[0].dtype = f"{name}_y", onnx_ir.DataType.FLOAT
        branches[name] = onnx_ir.Graph([], inner.outputs, nodes=[inner], name=name)
    return g.build(g.op("If", cond, **branches)).ir


def test_a_body_may_read_outer_values():
    verify(with_branch(read_late=False))


def test_a_body_may_not_read_what_does_not_exist():
    with pytest.raises(InvalidGraphError, match="late"):
        verify(with_branch(read_late=True))
