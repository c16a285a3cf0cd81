"""Files are read back and run, also with their constants behind the flatbuffer."""

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter

from edgekit.converters.tflite.converter import lower_graph
from edgekit.converters.tflite.writer import serialize, write
from edgekit.ir import Model, Source
from edgekit.testing.tflite import node_model


def dense(seed=0):
    rng = np.random.default_rng(seed)
    operands = {"a": rng.normal(size=(2, 8)), "b": rng.normal(size=(8, 4))}
    operands = {name: array.astype(np.float32) for name, array in operands.items()}
    model = node_model("MatMul", operands, constants=["b"], dynamic=["a"])
    return lower_graph(Model(model, source=Source("dense"))).graph, operands


def test_constants_may_lie_behind_the_flatbuffer(tmp_path):
    graph, operands = dense()
    path = tmp_path / "large.tflite"
    write(graph, path, description="", metadata={"note": b"words"}, limit=0)
    content = path.read_bytes()
    model = schema.ModelT.InitFromPackedBuf(content, 0)
    outside = [buffer for buffer in model.buffers if buffer.offset > 1]
    assert outside
    assert all(buffer.offset % 16 == 0 for buffer in outside)
    note = model.buffers[model.metadata[0].buffer]
    assert content[note.offset : note.offset + note.size] == b"words"
    runner = Interpreter(str(path), num_threads=1).get_signature_runner()
    got = runner(a=operands["a"])["y"]
    np.testing.assert_allclose(got, operands["a"] @ operands["b"], rtol=1e-5, atol=1e-5)


def test_names_signature_and_dynamic_batch_are_in_the_file():
    content = serialize(dense()[0], description="words", metadata={"note": b"words"})
    model = schema.ModelT.InitFromPackedBuf(content, 0)
    assert model.description == b"words"
    signature = model.signatureDefs[0]
    assert [entry.name for entry in signature.inputs] == [b"a"]
    assert [entry.name for entry in signature.outputs] == [b"y"]
    tensor = model.subgraphs[0].tensors[signature.inputs[0].tensorIndex]
    assert list(tensor.shapeSignature) == [-1, 8]
    assert list(tensor.shape) == [1, 8]


def test_equal_constants_are_stored_once():
    graph, _ = dense()
    twin, _ = dense()
    graph.operators.extend(twin.operators)
    graph.inputs.append(("other", twin.inputs[0][1]))
    graph.outputs.append(("z", twin.outputs[0][1]))
    model = schema.ModelT.InitFromPackedBuf(serialize(graph, description="", metadata={}), 0)
    assert sum(buffer.data is not None and len(buffer.data) == 128 for buffer in model.buffers) == 1


def test_the_same_graph_gives_the_same_bytes():
    first, second = (serialize(dense()[0], description="", metadata={}) for _ in range(2))
    assert first == second
