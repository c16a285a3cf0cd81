import tracemalloc

import numpy as np
import onnx_ir
import pytest

from edgekit.calibration import calibrate, graph_hash, open_data
from edgekit.errors import DataError, UsageError
from edgekit.ir import Oracle
from edgekit.passes.canonicalize.infer_shapes import InferShapes
from edgekit.testing.graphs import GraphBuilder

RNG = np.random.default_rng(0)


def model_of(batch="N", op="Relu"):
    b = GraphBuilder()
    x = b.input("x", (batch, 3, 8, 8))
    hidden = b.op("Conv", x, RNG.normal(size=(4, 3, 3, 3)))
    model = b.build(b.op(op, hidden))
    InferShapes()(model.ir)
    return model


def data_of(count):
    return RNG.normal(size=(count, 3, 8, 8)).astype(np.float32)


@pytest.mark.parametrize("batch", ["N", 1, 4])
def test_ranges_are_those_of_the_tensors(batch):
    model, data = model_of(batch), data_of(12)
    ranges = calibrate(model, data, observer="minmax")
    names = [value.name for node in model.graph for value in node.outputs]
    size = batch if isinstance(batch, int) else 12
    with Oracle(model.ir, outputs=names) as oracle:
        runs = [oracle.run({"x": data[i : i + size]}) for i in range(0, 12, size)]
    assert ranges.samples == 12
    assert set(ranges.tensors) == {"x", *names}
    for name in names:
        values = np.concatenate([run[name] for run in runs])
        found = ranges.tensors[name]
        assert np.isclose(found.low, values.min(), rtol=1e-5)
        assert np.isclose(found.high, values.max(), rtol=1e-5)
        assert found.count == values.size
    assert ranges.tensors["x"].high == data.max()


def test_only_the_tensors_asked_for_are_observed():
    model = model_of()
    assert set(calibrate(model, data_of(2), tensors=["x"]).tensors) == {"x"}
    with pytest.raises(UsageError, match="no float activation named y"):
        calibrate(model, data_of(2), tensors=["y"])


def test_progress_and_the_number_of_samples():
    model, calls = model_of(), []
    ranges = calibrate(
        model, data_of(10), samples=6, batch_size=4, progress=lambda *a: calls.append(a)
    )
    assert calls == [(4, 6), (6, 6)]
    assert ranges.samples == 6
    endless = calibrate(model, lambda: iter(data_of(5)), samples=3)
    assert endless.samples == 3


def test_samples_limit_an_open_source_too():
    source = open_data(data_of(10), model_of().signature)
    assert calibrate(model_of(), source, samples=4, batch_size=3).samples == 6


def test_activations_that_are_not_finite_name_the_tensor():
    model = model_of(op="Log")
    with pytest.raises(DataError, match=r"tensor 'v\d+_0' takes NaN"):
        calibrate(model, data_of(2))


def test_the_document_tells_what_it_was_made_from():
    model, data = model_of(), data_of(4)
    first, second = calibrate(model, data), calibrate(model, data_of(4))
    assert first.data_hash != second.data_hash
    assert first.model_hash == second.model_hash == graph_hash(model)
    assert graph_hash(model_of(op="Erf")) != first.model_hash
    assert first.observer == "percentile:99.999"


@pytest.mark.parametrize("observer", ["minmax", "moving-average", "percentile"])
def test_memory_does_not_grow_with_the_number_of_samples(tmp_path, observer):
    model = model_of()

    def peak(count):
        np.savez(tmp_path / "a.npz", x=np.zeros((count, 3, 8, 8), np.float32))
        tracemalloc.start()
        calibrate(model, tmp_path / "a.npz", observer=observer, batch_size=16)
        used = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return used

    peak(100)
    assert peak(1000) < 1.3 * peak(100)


def test_a_model_that_fails_on_the_data_says_so():
    b = GraphBuilder()
    ids = b.input("ids", ("N", 1), onnx_ir.DataType.INT64)
    model = b.build(b.op("Gather", np.ones((4, 2), np.float32), ids))
    InferShapes()(model.ir)
    with pytest.raises(DataError, match="fails on the calibration data"):
        calibrate(model, np.array([[1], [9]]))
