import onnx_ir
import pytest

from edgekit.frontends.graph_edges import Port, name_edges


@pytest.mark.parametrize("own_name", ["x", "copy of x"])
def test_an_output_that_copies_an_input_keeps_names_unambiguous(own_name):
    source = onnx_ir.Value(name="a", type=onnx_ir.TensorType(onnx_ir.DataType.FLOAT))
    nodes = [onnx_ir.node("Identity", [source]), onnx_ir.node("Relu", [source])]
    outputs = [node.outputs[0] for node in nodes]
    for name, value in zip(["b", "c"], outputs, strict=True):
        value.name, value.type = name, source.type
    graph = onnx_ir.Graph([source], outputs, nodes=nodes, opset_imports={"": 18}, name="g")
    model = onnx_ir.Model(graph, ir_version=9)
    sizes = (None, 4)
    ports = [("b", Port(own_name, sizes)), ("c", Port("y", sizes))]
    name_edges(model, [("a", Port("x", sizes))], ports)
    again = onnx_ir.from_proto(onnx_ir.to_proto(model))
    assert [value.name for value in again.graph.inputs] == ["x"]
    assert [value.name for value in again.graph.outputs] == [own_name, "y"]
    assert (again.graph.outputs[0] is again.graph.inputs[0]) == (own_name == "x")
