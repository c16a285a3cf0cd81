import numpy as np

from edgekit.ir import Oracle
from edgekit.passes.half import LIMIT, rounds, sensitive_nodes
from edgekit.testing.tflite import model_of


def model(gain):
    """The difference of two nearly equal products, amplified; the second is exact in float16."""
    rng = np.random.default_rng(0)
    first, second = rng.normal(size=(2, 32, 32)).astype("f")
    return model_of(
        '<ir_version: 10, opset_import: ["" : 21]>'
        "g (float[N, 32] x, float[32, 32] a, float[32, 32] c, float[32, 32] b, float gain)"
        " => (float[N, 32] y) { p = MatMul(x, a) q = MatMul(x, c)"
        " d = Sub(p, q)"
        " m = Mul(d, gain) s = Add(m, x) y = MatMul(s, b) }",
        {"a": first, "c": first.astype(np.float16).astype("f"), "b": second, "gain": gain},
    )


def probes():
    rng = np.random.default_rng(1)
    return [{"x": rng.normal(size=(4, 32)).astype("f")} for _ in range(4)]


def test_ordinary_weights_are_rounded():
    assert sensitive_nodes(model(np.float32(0)), probes()) == ()


def test_amplified_weights_stay_and_the_rest_is_within_the_limit():
    graph = model(np.float32(300))
    kept = sensitive_nodes(graph, probes())
    assert [reason.op for reason in kept] == ["MatMul"]
    assert kept[0].node == next(iter(graph.graph)).name
    assert "float16" in kept[0].reason
    expected = [Oracle(graph).run(p)["y"] for p in probes()]
    weight = graph.graph.initializers["b"]
    rounded = model(np.float32(300))
    value = rounded.graph.initializers["b"]
    value.const_value = type(value.const_value)(
        weight.const_value.numpy().astype(np.float16).astype("f"), name="b"
    )
    got = [Oracle(rounded).run(p)["y"] for p in probes()]
    assert np.abs(np.array(got) - expected).max() <= LIMIT * np.ptp(expected)


def test_what_is_rounded():
    assert rounds(np.ones((16, 16), "f"))
    assert not rounds(np.ones(4096, "f"))
    assert not rounds(np.ones((2, 2), "f"))
    assert not rounds(np.full((16, 16), 1e6, "f"))
    assert not rounds(np.ones((16, 16), np.int32))
