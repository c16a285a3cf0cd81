"""Recurrent nodes on one input, on OpenVINO with more than one sample."""

import numpy as np
import pytest

from edgekit import registry
from edgekit.converters.base import EmitOptions
from edgekit.converters.openvino.converter import OpenVINOConverter
from edgekit.ir import Model, Oracle, Source
from edgekit.testing.tflite import model_of

HEAD = '<ir_version: 10, opset_import: ["" : 21]>\n'
GATES = {"GRU": 3, "LSTM": 4, "RNN": 1}
STEPS, FEATURES, HIDDEN = 5, 3, 4
TAILS = {
    "raw": ("float[5,{d},N,4] {y}", ""),
    "squeezed": ("float[5,N,4] {y}", "{y} = Squeeze ({r}, axis)"),
    "batch first": ("float[N,5,{d},4] {y}", "{y} = Transpose <perm=[2,0,1,3]> ({r})"),
    "activated": ("float[5,{d},N,4] {y}", "{y} = Relu ({r})"),
}


def layers(op, directions, tail, transposed):
    """Recurrent nodes that read x, and maybe a Transpose of it."""
    rng = np.random.default_rng(5)
    shape, line = TAILS[tail]
    operands, outputs, lines, constants = ["float[5,N,3] x"], [], [], {}
    for index, direction in enumerate(directions):
        count, rows = (2 if direction == "bidirectional" else 1), GATES[op] * HIDDEN
        sizes = {"w": (count, rows, FEATURES), "r": (count, rows, HIDDEN), "b": (count, 2 * rows)}
        for name, size in sizes.items():
            constants[f"{name}{index}"] = rng.normal(size=size).astype(np.float32)
            operands.append(f"float[{','.join(map(str, size))}] {name}{index}")
        result, out = (f"y{index}", f"y{index}") if not line else (f"t{index}", f"y{index}")
        outputs.append(shape.format(d=count, y=out))
        lines.append(
            f'{result} = {op} <hidden_size=4, direction="{direction}"> (x, w{index}, r{index}, '
            f"b{index})"
        )
        lines.append(line.format(y=out, r=result))
    if "{r}, axis" in line:
        operands.append("int64[1] axis")
        constants["axis"] = np.array([1], np.int64)
    if transposed:
        outputs.append("float[N,5,3] seen")
        lines.append("seen = Transpose <perm=[1,0,2]> (x)")
    text = f"g ({', '.join(operands)}) => ({', '.join(outputs)}) {{ {chr(10).join(lines)} }}"
    return Model(model_of(HEAD + text, constants), source=Source("layers"))


@pytest.mark.parametrize("tail", TAILS)
@pytest.mark.parametrize(
    ("op", "directions", "transposed"),
    [
        ("GRU", ("forward", "reverse"), False),
        ("LSTM", ("forward", "reverse"), False),
        ("RNN", ("forward", "reverse", "forward"), False),
        ("GRU", ("forward",), True),
        ("LSTM", ("bidirectional", "bidirectional"), True),
        ("LSTM", ("bidirectional",), False),
    ],
)
def test_readers_of_one_sequence_do_not_mix_samples(op, directions, transposed, tail, tmp_path):
    if tail == "squeezed" and "bidirectional" in directions:
        tail = "raw"
    model = layers(op, directions, tail, transposed)
    before = [node.op_type for node in model.graph]
    feeds = {"x": np.random.default_rng(6).normal(size=(5, 2, 3)).astype(np.float32)}
    with Oracle(model.ir, threads=1) as oracle:
        expected = oracle.run(feeds)
    emitted = OpenVINOConverter().emit(model, tmp_path, EmitOptions())
    assert [node.op_type for node in model.graph] == before
    with registry.runtime("openvino").open(emitted.path, threads=1, trusted=True) as session:
        got = session.run(feeds)
    assert list(got) == list(expected)
    for name, value in expected.items():
        np.testing.assert_allclose(got[name], value, rtol=1e-4, atol=1e-5, err_msg=name)
