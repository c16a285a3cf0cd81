"""Random quantized networks give on TFLite what their Q/DQ graph means."""

import tempfile
from pathlib import Path

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edgekit.calibration import calibrate
from edgekit.converters.base import EmitOptions
from edgekit.converters.tflite.converter import TFLiteConverter
from edgekit.converters.tflite.legal import LEGAL
from edgekit.ir import Oracle
from edgekit.passes.canonicalize.infer_shapes import InferShapes
from edgekit.passes.canonicalize.remove_dead_code import RemoveDeadCode
from edgekit.passes.quantize.apply import apply
from edgekit.passes.quantize.decide import decide, wanted_tensors
from edgekit.passes.quantize.io import quantized_io
from edgekit.testing.graphs import GraphBuilder
from edgekit.testing.tflite import run
from edgekit.vocabulary import IoType, Precision

SIZE, CHANNELS = 6, 3
INTEGER = (
    "Neg",
    "Relu",
    "Sigmoid",
    "HardSigmoid",
    "HardSwish",
    "Tanh",
    "MaxPool",
    "AveragePool",
    "Conv",
    "Depthwise",
)
JOINS = ("Add", "Mul", "Max", "Concat")
FLOAT = ("Erf", "Sin")
KINDS = (*INTEGER, *JOINS, *FLOAT, "Transpose")


def step(b, rng, made, kind):
    """Append one operator on (N, CHANNELS, SIZE, SIZE)."""
    x = made[rng.integers(len(made))]
    if kind == "Conv":
        weight = rng.normal(size=(CHANNELS, CHANNELS, 3, 3)) / 3
        return b.op("Conv", x, weight, rng.normal(size=CHANNELS), pads=[1, 1, 1, 1])
    if kind == "Depthwise":
        weight = rng.normal(size=(CHANNELS, 1, 3, 3)) / 2
        return b.op("Conv", x, weight, pads=[1, 1, 1, 1], group=CHANNELS)
    if kind.endswith("Pool"):
        return b.op(kind, x, kernel_shape=[3, 3], pads=[1, 1, 1, 1])
    if kind == "Transpose":
        return b.op(kind, x, perm=[0, 1, 3, 2])
    if kind == "Concat":
        both = b.op(kind, x, made[rng.integers(len(made))], axis=1)
        return b.op("Conv", both, rng.normal(size=(CHANNELS, 2 * CHANNELS, 1, 1)) / 2)
    if kind in JOINS:
        return b.op(kind, x, made[rng.integers(len(made))])
    return b.op(kind, x)


def network(seed, kinds):
    rng, b = np.random.default_rng(seed), GraphBuilder()
    made = [b.input("x", ("N", CHANNELS, SIZE, SIZE))]
    for kind in kinds:
        made.append(step(b, rng, made[-3:], kind))
    model = b.build(*made[-2:] if len(made) > 2 else made[-1:])
    RemoveDeadCode()(model.ir)
    InferShapes()(model.ir)
    return model


def rms(error):
    return np.sqrt(np.mean(np.square(error)))


def real(array, edge):
    """Real values of an output, which may be integers."""
    values = array.astype(np.float64)
    return values if edge is None else (values - edge.zero_point) * edge.scale


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    seed=st.integers(0, 10_000),
    kinds=st.lists(st.sampled_from(KINDS), min_size=1, max_size=8),
    io=st.sampled_from(IoType),
)
def test_random_networks(seed, kinds, io):
    model = network(seed, kinds)
    data = np.random.default_rng(seed).normal(size=(4, CHANNELS, SIZE, SIZE)).astype(np.float32)
    ranges = calibrate(model, data, tensors=wanted_tensors(model, LEGAL))
    plan = decide(model, ranges, LEGAL)
    graph, feeds, edges = apply(model, plan), {"x": data}, {}
    if io is IoType.INT8:
        graph, edges = quantized_io(graph)
        if "x" in edges:
            steps = np.round(data / edges["x"].scale) + edges["x"].zero_point
            feeds = {"x": np.clip(steps, -128, 127).astype(np.int8)}
    with tempfile.TemporaryDirectory() as folder:
        emitted = TFLiteConverter().emit(graph, Path(folder), EmitOptions(Precision.INT8, io))
        got = run(emitted.path.read_bytes(), feeds)
    with Oracle(graph.ir, exact=True, threads=1) as oracle:
        expected = oracle.run(feeds)
    with Oracle(model.ir, threads=1) as oracle:
        floating = oracle.run({"x": data})
    # What the plan quantizes runs in integers.
    assert {r.op for r in emitted.float_nodes} <= {r.op for r in plan.float_nodes}
    for name, value in expected.items():
        assert got[name].dtype == value.dtype
        assert got[name].shape == value.shape
        exact, found = real(value, edges.get(name)), real(got[name], edges.get(name))
        # Kernels round differently by one step; a chain of them adds up to a few. A float operator
        # may amplify these (a steep Erf); it amplifies quantization's own noise just as much.
        noise = rms(exact - floating[name]) if not set(FLOAT).isdisjoint(kinds) else 0.0
        assert rms(found - exact) <= 0.01 * np.ptp(exact) + noise + 1e-5
