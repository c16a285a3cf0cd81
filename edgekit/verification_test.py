import math

import numpy as np
import onnx_ir
import pytest

from edgekit.bundle import Port
from edgekit.errors import DataError, UnsupportedError
from edgekit.ir import Model, Signature, TensorSpec
from edgekit.runtimes.base import Session
from edgekit.testing.models import small_cnn
from edgekit.verification import compare, dequantize, probe, quantize, random_batches, samples_in


class Fake(Session):
    """Gives what it is told to, under names of its own."""

    def __init__(self, change):
        self.signature = Signature(
            (TensorSpec("in", "float32", ("N", 3, 8, 8)),),
            (TensorSpec("out", "float32", ("N", 10)),),
        )
        self.change = change
        self.expected = None

    def _run(self, feeds):
        return {"out": self.change(next(self.expected))}


def checked(change):
    model = Model(small_cnn())
    probes = probe(model, None, "random")
    session = Fake(change)
    session.expected = iter([outputs["scores"] for _, outputs in probes.batches])
    ports = [tuple(map(Port, specs)) for specs in (model.signature.inputs, model.signature.outputs)]
    return probes, *compare(session, probes, runtime="fake 1", inputs=ports[0], outputs=ports[1])


def test_identical():
    probes, check, problem = checked(lambda scores: scores)
    assert problem is None
    assert (check.agreement, check.sqnr_db, check.max_abs_error) == (1.0, None, 0.0)
    assert check.samples == probes.samples == 8
    assert probes.output_range() > 0


def test_noise_is_measured():
    probes, check, _ = checked(lambda scores: scores + np.float32(0.01))
    signal = np.concatenate([o["scores"].ravel() for _, o in probes.batches]).astype(np.float64)
    expected = 10 * math.log10(np.square(signal).sum() / (1e-4 * signal.size))
    assert check.sqnr_db == pytest.approx(expected, abs=0.01)
    assert check.max_abs_error == pytest.approx(0.01, rel=1e-4)
    assert check.agreement == 1.0


def test_other_answers_are_counted():
    _, check, _ = checked(lambda scores: -scores)
    assert check.agreement == 0.0


def test_values_that_are_not_finite_are_a_problem():
    _, check, problem = checked(lambda scores: scores * np.float32(np.nan))
    assert "NaN" in problem
    assert math.isfinite(check.max_abs_error)


def test_integer_ports():
    port = Port(TensorSpec("x", "int8", (4,)), 0.5, 3)
    stored = quantize(np.array([0.0, 0.25, 0.75, 1e6], "f"), port)
    assert stored.tolist() == [3, 3, 5, 127]
    assert stored.dtype == np.int8
    assert dequantize(stored[:3], port).tolist() == [0.0, 0.0, 1.0]


def test_random_inputs_fit_the_signature():
    signature = Signature(
        (TensorSpec("a", "float32", ("N", 4, 4, 3)), TensorSpec("ids", "int64", (1, 7))), ()
    )
    batches = list(random_batches(signature))
    assert len(batches) == 8
    for batch in batches:
        assert batch["a"].shape == (1, 4, 4, 3)
        assert batch["a"].dtype == np.float32
        assert set(np.unique(batch["ids"])) <= {0, 1}
    again = list(random_batches(signature))
    assert all(np.array_equal(x["a"], y["a"]) for x, y in zip(batches, again, strict=True))


def dynamic(text):
    return Model(onnx_ir.from_onnx_text(HEADER + text))


HEADER = '<ir_version: 9, opset_import: ["" : 18]>\n'


def test_dynamic_axes_get_sizes_that_the_model_runs_on():
    pooled = dynamic(
        "g (float[1,1,H,W] x) => (float[1,1,h,w] y) { y = AveragePool <kernel_shape=[32,32]> (x) }"
    )
    probes = probe(pooled, None, "random")
    assert probes.batches[0][0]["x"].shape == (1, 1, 64, 64)
    assert probes.samples == 8
    one = dynamic("g (float[N,4] x) => (float[1,4] y) <int64[2] s = {1,4}> { y = Reshape (x, s) }")
    assert probe(one, None, "random").batches[0][0]["x"].shape == (1, 4)


def test_more_than_one_sample_at_a_time_where_the_model_allows_it():
    feeds, _ = probe(Model(small_cnn()), None, "random").batches[0]
    assert next(iter(feeds.values())).shape[0] == 2


def test_models_and_data_that_do_not_run():
    gather = dynamic(
        "g (int64[N] i) => (float[N] y) <float[2] e = {1.0,2.0}> { y = Gather (e, i) }"
    )
    with pytest.raises(DataError, match="the model fails on the data"):
        probe(gather, iter([{"i": np.array([7])}]), "calibration")
    never = dynamic(
        "g (float[N,4] x) => (float[3,5] y) <int64[2] s = {3,5}> { y = Reshape (x, s) }"
    )
    with pytest.raises(UnsupportedError, match="no made-up inputs"):
        probe(never, None, "random")


def test_another_shape_is_a_problem():
    _, _, problem = checked(lambda scores: scores[:, None])
    assert "has shape (2, 1, 10), not (2, 10)" in problem


def test_samples_of_a_run():
    fixed = Signature((TensorSpec("a", "float32", (5, 2)),), ())
    dynamic = Signature((TensorSpec("a", "float32", ("N", 2)),), ())
    feeds = {"a": np.zeros((5, 2), "f")}
    assert samples_in(fixed, feeds) == samples_in(dynamic, feeds) == 5
    assert samples_in(Signature((TensorSpec("a", "float32", ()),), ()), {"a": np.float32(0)}) == 1
