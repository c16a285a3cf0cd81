"""How constants are stored (inside or behind the flatbuffer, dense or sparse), and their scales."""

from __future__ import annotations

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from hypothesis import given, settings
from hypothesis import strategies as st

from edgekit.errors import ModelFileError, UnsupportedError
from edgekit.frontends.tflite.reader import read_model
from edgekit.testing.tiny_tflite import Scale, TinyModel, run_imported, run_interpreter


def adder(constant):
    """x + constant."""
    tiny = TinyModel()
    x, y = tiny.input((4, 8)), tiny.tensor((4, 8))
    c = tiny.constant(constant)
    tiny.op("ADD", [x, c], [y], options_kind="AddOptions")
    tiny.output(y)
    return tiny, c


def test_constants_behind_the_flatbuffer():
    """Models over 2 GB keep them there."""
    values = np.arange(32, dtype=np.float32).reshape(4, 8)
    tiny, c = adder(values)
    buffer = tiny._buffers[tiny._tensors[c].buffer]
    buffer.data, buffer.offset, buffer.size = None, 1 << 20, values.nbytes
    buffer.offset = -(-len(tiny.pack()) // 16) * 16
    data = tiny.pack().ljust(buffer.offset, b"\0") + values.tobytes()
    feed = np.ones((4, 8), np.float32)
    np.testing.assert_array_equal(run_imported(data, [feed])[0], values + 1)
    np.testing.assert_array_equal(run_interpreter(data, [feed])[0], values + 1)
    with pytest.raises(ModelFileError, match="points to byte"):
        read_model(data[:-1])


def sparse(matrix, block):
    """CSR over blocks of `block` columns, as the schema describes it."""
    rows, columns = matrix.shape
    blocks = matrix.reshape(rows, columns // block, block)
    present = [np.flatnonzero(np.any(row, axis=1)) for row in blocks]
    made = schema.SparsityParametersT()
    made.traversalOrder = np.array([0, 1, 2] if block > 1 else [0, 1], np.int32)
    made.blockMap = np.array([1] if block > 1 else [], np.int32)
    levels = [schema.DimensionMetadataT() for _ in made.traversalOrder]
    levels[0].format, levels[0].denseSize = 0, rows
    levels[1].format = 1
    levels[1].arraySegmentsType = levels[1].arrayIndicesType = 1
    levels[1].arraySegments, levels[1].arrayIndices = schema.Int32VectorT(), schema.Int32VectorT()
    levels[1].arraySegments.values = np.cumsum([0, *map(len, present)]).astype(np.int32)
    levels[1].arrayIndices.values = np.concatenate(present).astype(np.int32)
    if block > 1:
        levels[2].format, levels[2].denseSize = 0, block
    made.dimMetadata = levels
    return made, np.concatenate([blocks[r, c] for r, cs in enumerate(present) for c in cs])


@settings(max_examples=20, deadline=None, derandomize=True)
@given(block=st.sampled_from([1, 2, 4]), seed=st.integers(0, 1000), share=st.floats(0.1, 0.9))
def test_sparse_constants(block, seed, share):
    rng = np.random.default_rng(seed)
    mask = np.repeat(rng.random((4, 8 // block)) < share, block, axis=1)
    mask[0, :block] = True
    matrix = (rng.uniform(1, 2, (4, 8)) * mask).astype(np.float32)
    tiny = TinyModel()
    x, w, y = tiny.input((4, 8)), tiny.constant(matrix), tiny.tensor((4, 8))
    dense = tiny.tensor((4, 8))
    tiny._tensors[w].sparsity, stored = sparse(matrix, block)
    tiny._buffers[tiny._tensors[w].buffer].data = np.frombuffer(stored.tobytes(), np.uint8)
    tiny.op("DENSIFY", [w], [dense])
    tiny.op("ADD", [x, dense], [y], options_kind="AddOptions")
    tiny.output(y)
    feed = np.zeros((4, 8), np.float32)
    np.testing.assert_array_equal(run_imported(tiny.pack(), [feed])[0], matrix)
    np.testing.assert_array_equal(run_interpreter(tiny.pack(), [feed])[0], matrix)


@pytest.mark.parametrize("damage", ["segments", "indices", "order", "size"])
def test_damaged_sparsity_is_a_file_error(damage):
    matrix = np.eye(4, 8, dtype=np.float32)
    tiny, c = adder(matrix)
    parameters, stored = sparse(matrix, 1)
    level = parameters.dimMetadata[1]
    if damage == "segments":
        level.arraySegments.values = np.array([0, 3, 1, 2, 4], np.int32)
    elif damage == "indices":
        level.arrayIndices.values = np.array([0, 1, 2, 99], np.int32)
    elif damage == "order":
        parameters.traversalOrder = np.array([0, 5], np.int32)
    else:
        parameters.dimMetadata[0].denseSize = 1 << 30
    tiny._tensors[c].sparsity = parameters
    tiny._buffers[tiny._tensors[c].buffer].data = np.frombuffer(stored.tobytes(), np.uint8)
    with pytest.raises(ModelFileError):
        read_model(tiny.pack())


def quantized(scale, shape=(4, 8)):
    tiny = TinyModel()
    w, y = tiny.constant(np.zeros(shape, np.int8), scale=scale), tiny.tensor(shape)
    tiny.op("DEQUANTIZE", [w], [y])
    tiny.output(y)
    return tiny


@pytest.mark.parametrize(
    ("scale", "message"),
    [
        (Scale(0.1, axis=2), "quantized along axis 2, but it has only 2 axes"),
        (Scale([0.1, 0.2], axis=0), "has 2 scales"),
        (Scale(-0.1), "negative or infinite scale"),
        (Scale(float("nan")), "negative or infinite scale"),
    ],
)
def test_scales_that_the_runtime_refuses_or_cannot_use(scale, message):
    with pytest.raises(ModelFileError, match=message):
        read_model(quantized(scale).pack())


def test_other_forms_of_quantization_have_a_reason():
    tiny = quantized(Scale(0.1))
    parameters = tiny._tensors[0].quantization
    parameters.detailsType = schema.QuantizationDetails.BlockwiseQuantization
    parameters.details = schema.BlockwiseQuantizationT()
    with pytest.raises(UnsupportedError, match="BlockwiseQuantization"):
        read_model(tiny.pack())


def test_a_constant_of_the_wrong_size_is_a_file_error():
    tiny, c = adder(np.ones((4, 8), np.float32))
    tiny._tensors[c].shape = np.array([4, 9], np.int32)
    with pytest.raises(ModelFileError, match="needs 144 bytes, but the file holds 128"):
        read_model(tiny.pack())


def test_a_tensor_that_nothing_produces_is_a_file_error():
    tiny = TinyModel()
    x, orphan, y = tiny.input((2,)), tiny.tensor((2,), name="orphan"), tiny.tensor((2,))
    tiny.op("ADD", [x, orphan], [y], options_kind="AddOptions")
    tiny.output(y)
    with pytest.raises(ModelFileError, match=r"'orphan'.*before any operator produces it"):
        run_imported(tiny.pack(), [])
