"""Canonicalization of whole models: real ones, big ones, and what it loads."""

import subprocess
import sys

import numpy as np
import onnx
import onnx_ir
import onnxruntime
import pytest

from edgekit.errors import ModelFileError
from edgekit.ir import Model, Oracle
from edgekit.ir.verify import verify
from edgekit.passes.canonicalize.pipeline import canonicalize
from edgekit.testing.data import shared
from edgekit.testing.graphs import GraphBuilder

REAL = {
    "dtln_1.onnx": {"LSTM": 2},
    "fastestdet.onnx": {"Conv": 70},
    "resnet20_cifar10.onnx": {"Conv": 19, "BatchNormalization": 0, "Identity": 0, "Gemm": 1},
    "selfie_segmentation_landscape.onnx": {"HardSwish": 11, "Clip": 0, "Sigmoid": 11},
}


def waves(spec, seed):
    """Smooth inputs in [0, 1], so that the outputs of the models are not degenerate."""
    shape = [size if isinstance(size, int) else 3 for size in spec.shape]
    rng = np.random.default_rng(seed)
    grid = np.indices(shape).astype(np.float64)
    phase = sum(g * rng.uniform(0.02, 0.2) for g in grid)
    return (0.5 + 0.5 * np.sin(phase + rng.uniform(0, 6))).astype(spec.dtype)


def unoptimized(model):
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(onnx_ir.to_proto(model.ir).SerializeToString(), options)


@pytest.mark.parametrize("name", REAL)
def test_real_models_keep_their_outputs(name):
    before = Model(onnx_ir.load(shared(f"models/{name}")))
    after = canonicalize(before)
    verify(after.ir)
    onnx.checker.check_model(onnx_ir.to_proto(after.ir), full_check=True)
    counts = [node.op_type for node in after.graph]
    for op, count in REAL[name].items():
        assert counts.count(op) == count
    assert [s.name for s in before.signature.outputs] == [s.name for s in after.signature.outputs]
    plain = unoptimized(before)
    with Oracle(before.ir, threads=1) as first, Oracle(after.ir, threads=1) as second:
        for seed in range(2):
            feeds = {spec.name: waves(spec, seed) for spec in before.signature.inputs}
            old, new = first.run(feeds), second.run(feeds)
            exact = dict(zip(first.outputs, plain.run(list(first.outputs), feeds), strict=True))
            for key, expected in old.items():
                # Some models amplify rounding: their own outputs depend on ONNX Runtime's level
                # of optimization by more than the bound.
                noise = float(np.abs(exact[key] - expected).max())
                bound = max(1e-5 * max(float(np.ptp(expected)), 0.1), 3 * noise)
                np.testing.assert_allclose(new[key], expected, rtol=0, atol=bound)


def test_every_value_has_a_shape_with_the_symbolic_batch():
    after = canonicalize(Model(onnx_ir.load(shared("models/resnet20_cifar10.onnx"))))
    shapes = [value.shape for node in after.graph for value in node.outputs]
    assert all(shape is not None and str(shape[0]) == "N" for shape in shapes)


def test_constants_stay_where_they_are():
    """A weight that no pass touches is shared with the source, so memory does not double."""
    g = GraphBuilder()
    weight = g.constant(np.ones((64, 64), np.float32), "weight")
    model = g.build(g.op("Relu", g.op("MatMul", g.input("x", ["N", 64]), weight)))
    after = canonicalize(model)
    assert after.graph.initializers["weight"].const_value is weight.const_value


class HugeTensor(onnx_ir.TensorProtocol):
    """A weight of 3 GB that must be neither read nor serialized."""

    name = "weight"
    shape = onnx_ir.Shape([1024, 768 * 1024])
    dtype = onnx_ir.DataType.FLOAT
    doc_string = None
    size = 1024 * 768 * 1024
    nbytes = 4 * size

    def __init__(self):
        self.raw = None
        self.metadata_props = {}
        self.meta = {}

    def numpy(self):
        raise AssertionError("the weight was read")

    def tobytes(self):
        raise AssertionError("the weight was serialized")

    __array__ = numpy
    __dlpack__ = numpy
    __dlpack_device__ = numpy


@pytest.mark.parametrize("opset", [9, 21, 24])
def test_weights_over_2_gb_are_not_serialized(opset):
    g = GraphBuilder(opset)
    weight = onnx_ir.val("weight", const_value=HugeTensor())
    g._constants.append(weight)
    y = g.op("MatMul", g.input("x", ["N", 1024]), weight)
    y = g.op("Swish", y) if opset > 21 else y
    y = g.op("Slice", y, starts=[0], ends=[5], axes=[1]) if opset < 10 else g.op("Relu", y)
    after = canonicalize(g.build(y))
    assert after.graph.initializers["weight"].const_value is weight.const_value


def test_a_torn_constant_is_a_damaged_file():
    tensor = onnx.TensorProto(name="w", data_type=1, dims=[1 << 20], raw_data=bytes(8))
    g = GraphBuilder()
    g._constants.append(onnx_ir.val("w", const_value=onnx_ir.from_proto(tensor)))
    with pytest.raises(ModelFileError, match="'w'"):
        canonicalize(g.build(g.op("Add", g.input("x", [1]), g._constants[0])))


def test_a_graph_that_breaks_the_standard_is_a_damaged_file():
    g = GraphBuilder()
    with pytest.raises(ModelFileError, match="not a valid ONNX model"):
        canonicalize(g.build(g.op("Add", g.input("x", [1, 4, 3]), g.op("Squeeze"))))


def test_sizes_keep_the_name_of_the_batch_through_flattening_and_resizing():
    g = GraphBuilder()
    x = g.input("x", ["N", 4, 8, 8])
    y = g.op("Resize", x, None, np.array([1, 1, 2, 2], np.float32), mode="nearest")
    y = g.op("Transpose", g.op("Reshape", y, np.array([-1, 1024])), perm=[1, 0])
    y = g.op("Reshape", g.op("Transpose", g.op("Sin", y), perm=[1, 0]), np.array([-1, 4, 16, 16]))
    after = canonicalize(g.build(y))
    assert after.signature.outputs[0].shape == ("N", 4, 16, 16)


def test_stale_shapes_in_the_file_are_not_believed():
    g = GraphBuilder()
    y = g.op("Relu", g.input("x", ["N", 3]))
    y.shape, y.dtype = onnx_ir.Shape([7, 9]), onnx_ir.DataType.FLOAT
    out = g.op("Sin", y)
    after = canonicalize(g.build(out))
    assert [str(d) for d in after.graph[0].outputs[0].shape] == ["N", "3"]


def test_neither_tensorflow_nor_torch_is_loaded():
    code = (
        "import sys; import edgekit.passes.canonicalize.pipeline, edgekit.passes.io_layout;"
        "heavy = {'tensorflow', 'torch', 'openvino', 'onnxruntime', 'onnx.reference'};"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], check=False)
    assert done.returncode == 0
