import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgekit.converters.base import EmitOptions
from edgekit.converters.tflite.converter import TFLiteConverter
from edgekit.errors import UnsupportedError
from edgekit.ir import Model, Oracle, Source
from edgekit.testing.tflite import convert_and_run, model_of

GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}


def layer(
    op,
    *,
    steps=3,
    batch=2,
    inputs=3,
    units=4,
    direction="forward",
    layout=0,
    states=(),
    outputs=("y", "h", "c"),
    peephole=False,
    bias=True,
    attributes="",
    seed=0,
):
    """A graph of one recurrent node."""
    rng = np.random.default_rng(seed)
    ways = 2 if direction == "bidirectional" else 1
    gates = GATES[op]
    outputs = [name for name in outputs if name != "c" or op == "LSTM"]
    constants = {
        "w": rng.normal(size=(ways, gates * units, inputs)),
        "r": rng.normal(size=(ways, gates * units, units)) / 2,
    }
    if bias:
        constants["b"] = rng.normal(size=(ways, 2 * gates * units)) / 2
    if peephole:
        constants["p"] = rng.normal(size=(ways, 3 * units)) / 2
    constants = {name: value.astype(np.float32) for name, value in constants.items()}
    x_shape = (batch, steps, inputs) if layout else (steps, batch, inputs)
    state_shape = (batch, ways, units) if layout else (ways, batch, units)
    feeds = {"x": rng.normal(size=x_shape).astype(np.float32)}
    feeds |= {name: rng.normal(size=state_shape).astype(np.float32) for name in states}
    operands = ["x", "w", "r", "b" if bias else "", ""]
    operands += ["h0" if "h0" in states else "", "c0" if "c0" in states else ""]
    operands += ["p" if peephole else ""]
    while not operands[-1]:
        operands.pop()
    declared = [f"float[{_sizes(v)}] {n}" for n, v in {**feeds, **constants}.items()]
    results = [name if name in outputs else "" for name in ("y", "h", "c")[: 3 - (op != "LSTM")]]
    while not results[-1]:
        results.pop()
    options = f'hidden_size={units}, layout={layout}, direction="{direction}"{attributes}'
    y_shape = (batch, steps, ways, units) if layout else (steps, ways, batch, units)
    shapes = {"y": y_shape, "h": state_shape, "c": state_shape}
    declared_outputs = [f"float[{_sizes(np.empty(shapes[n]))}] {n}" for n in outputs]
    text = (
        f'<ir_version: 10, opset_import: ["" : 21]> g ({", ".join(declared)}) => '
        f"({', '.join(declared_outputs)}) "
        f"{{ {', '.join(results)} = {op} <{options}> ({', '.join(operands)}) }}"
    )
    return model_of(text, constants), feeds


def _sizes(array):
    return ",".join(str(size) for size in array.shape)


def assert_matches(model, feeds, atol=2e-5):
    got, ops = convert_and_run(model, feeds)
    with Oracle(model) as oracle:
        expected = oracle.run(feeds)
    for name, value in expected.items():
        assert got[name].shape == value.shape, name
        np.testing.assert_allclose(got[name], value, rtol=1e-4, atol=atol, err_msg=name)
    return ops


@settings(max_examples=40, deadline=None)
@given(
    op=st.sampled_from(sorted(GATES)),
    steps=st.integers(1, 6),
    batch=st.integers(1, 3),
    inputs=st.integers(1, 4),
    units=st.integers(1, 5),
    direction=st.sampled_from(["forward", "reverse", "bidirectional"]),
    with_states=st.booleans(),
    outputs=st.sampled_from([("y",), ("h",), ("y", "h", "c"), ("h", "c")]),
    bias=st.booleans(),
    seed=st.integers(0, 99),
)
def test_every_form_matches_onnx_runtime(op, with_states, **form):
    states = (("h0", "c0") if op == "LSTM" else ("h0",)) if with_states else ()
    assert_matches(*layer(op, states=states, **form))


@pytest.mark.parametrize("direction", ["forward", "reverse"])
@pytest.mark.parametrize("states", [(), ("h0", "c0")])
def test_peepholes(direction, states):
    for steps in (2, 6):
        assert_matches(
            *layer("LSTM", steps=steps, peephole=True, direction=direction, states=states)
        )


@pytest.mark.parametrize("states", [(), ("h0",)])
def test_reset_after_the_recurrent_product(states):
    assert_matches(*layer("GRU", attributes=", linear_before_reset=1", states=states))


@pytest.mark.parametrize(
    ("op", "attributes"),
    [
        ("RNN", ', activations=["Relu"]'),
        ("RNN", ', activations=["Affine"], activation_alpha=[0.5], activation_beta=[0.1]'),
        ("RNN", ', activations=["Softsign"]'),
        ("GRU", ', activations=["HardSigmoid", "Softplus"]'),
        ("GRU", ', activations=["Sigmoid", "LeakyRelu"], activation_alpha=[0.3]'),
        ("LSTM", ', activations=["HardSigmoid", "Tanh", "Relu"]'),
        (
            "LSTM",
            ', activations=["Sigmoid", "ScaledTanh", "Tanh"], activation_alpha=[1.5], '
            "activation_beta=[0.7]",
        ),
        ("LSTM", ", clip=0.4"),
        ("GRU", ", clip=0.4"),
        ("LSTM", ", input_forget=1"),
    ],
)
def test_activations_and_clipping(op, attributes):
    assert_matches(*layer(op, steps=5, attributes=attributes))


def test_batch_first():
    # ONNX Runtime has no batch-first layout: the same weights, time first, are the reference.
    model, feeds = layer("LSTM", steps=5, layout=1, states=("h0", "c0"), direction="bidirectional")
    got, _ = convert_and_run(model, feeds)
    plain, _ = layer("LSTM", steps=5, layout=0, states=("h0", "c0"), direction="bidirectional")
    with Oracle(plain) as oracle:
        expected = oracle.run({name: value.swapaxes(0, 1) for name, value in feeds.items()})
    np.testing.assert_allclose(got["y"], expected["y"].transpose(2, 0, 1, 3), atol=2e-5)
    for name in ("h", "c"):
        np.testing.assert_allclose(got[name], expected[name].swapaxes(0, 1), atol=2e-5)


def test_a_long_lstm_is_one_operator_that_remembers_nothing(tmp_path):
    model, feeds = layer("LSTM", steps=40, outputs=("y", "h"))
    assert assert_matches(model, feeds).count("UNIDIRECTIONAL_SEQUENCE_LSTM") == 1
    emitted = TFLiteConverter().emit(Model(model, source=Source("m")), tmp_path, EmitOptions())
    from ai_edge_litert.interpreter import Interpreter

    runner = Interpreter(model_path=str(emitted.path)).get_signature_runner()
    first = {name: value.copy() for name, value in runner(**feeds).items()}
    runner(x=feeds["x"] * 100)
    second = runner(**feeds)
    for name, value in first.items():
        np.testing.assert_array_equal(second[name], value)


def test_a_dynamic_batch_stays_dynamic():
    model, feeds = layer("LSTM", steps=5)
    for value in (*model.graph.inputs, *model.graph.outputs):
        axis = 1 if value.name == "x" or value.name == "h" or value.name == "c" else 2
        value.shape = type(value.shape)([*value.shape[:axis], "N", *value.shape[axis + 1 :]])
    assert_matches(model, {"x": np.repeat(feeds["x"], 2, axis=1)})


@pytest.mark.parametrize(
    ("form", "reason"),
    [
        ({"op": "GRU", "steps": 600, "outputs": ("h",)}, "600 steps is too long"),
        ({"op": "RNN", "attributes": ', activations=["Thing"]'}, "activation Thing is unknown"),
    ],
)
def test_what_cannot_be_lowered_says_why(tmp_path, form, reason):
    model, _ = layer(**form)
    with pytest.raises(UnsupportedError, match=reason):
        TFLiteConverter().emit(Model(model, source=Source("m")), tmp_path, EmitOptions())
