"""PyTorch modules, exported programs and pickles."""

from __future__ import annotations

import json
import zipfile

import numpy as np
import pytest

from edgekit.errors import EdgeKitError, ModelFileError, UnsupportedError, UsageError
from edgekit.frontends.load import load
from edgekit.frontends.torch_archive import check_export
from edgekit.ir import Oracle
from edgekit.testing.damage import damaged

torch = pytest.importorskip("torch")
pytest.importorskip("onnxscript")


class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = torch.nn.Conv2d(3, 4, 3)
        self.norm = torch.nn.BatchNorm2d(4)
        self.drop = torch.nn.Dropout()
        self.head = torch.nn.Linear(4, 2)

    def forward(self, image, scale):
        y = self.drop(self.norm(self.conv(image))) * scale
        return self.head(y.mean((2, 3))), y


def example(batch):
    rng = torch.Generator().manual_seed(batch)
    return torch.randn(batch, 3, 6, 6, generator=rng), torch.rand(batch, 4, 1, 1, generator=rng)


def trained():
    torch.manual_seed(0)
    net = Net()
    net(*example(8))
    return net


def run(model, *arrays):
    names = [spec.name for spec in model.signature.inputs]
    with Oracle(model.ir) as oracle:
        return list(oracle.run({n: a.numpy() for n, a in zip(names, arrays, strict=True)}).values())


@pytest.mark.parametrize("batch", [1, 3])
def test_module_with_a_dynamic_batch(batch, capfd):
    net = trained()
    net.drop.eval()
    model = load(net, example_inputs=example(batch))
    assert [str(s) for s in model.signature.inputs] == [
        "image: float32[batch, 3, 6, 6] nchw",
        "scale: float32[batch, 4, 1, 1]",
    ]
    assert [s.name for s in model.signature.outputs] == ["output", "output_1"]
    assert net.training
    assert not net.drop.training
    assert (model.source.name, model.source.frontend) == ("Net", "torch")
    net.eval()
    for expected, result in zip(net(*example(5)), run(model, *example(5)), strict=True):
        np.testing.assert_allclose(result, expected.detach().numpy(), atol=1e-5)
    assert capfd.readouterr().out == ""


def test_inputs_by_name():
    image, scale = example(2)
    model = load(trained(), example_inputs={"image": image, "scale": scale})
    assert [s.name for s in model.signature.inputs] == ["image", "scale"]
    assert not any(v.metadata_props for v in model.graph)


def test_module_that_fixes_its_batch():
    class Fixed(torch.nn.Module):
        def forward(self, x):
            return x.reshape(2, 12) @ torch.ones(12, 3)

    model = load(Fixed(), example_inputs=torch.ones(2, 3, 4))
    assert model.signature.inputs[0].shape == (2, 3, 4)
    assert "the batch is fixed" in model.source.notes[0]
    np.testing.assert_allclose(run(model, torch.ones(2, 3, 4))[0], np.full((2, 3), 12))


def test_recurrent_module():
    class Recurrent(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.lstm = torch.nn.LSTM(4, 3, batch_first=True)

        def forward(self, series):
            return self.lstm(series)[0]

    net = Recurrent()
    model = load(net, example_inputs=torch.zeros(1, 5, 4))
    series = torch.randn(2, 5, 4) if model.signature.dynamic_batch else torch.randn(1, 5, 4)
    np.testing.assert_allclose(run(model, series)[0], net(series).detach().numpy(), atol=1e-5)
    assert "LSTM" in {node.op_type for node in model.graph}


def test_example_inputs_must_be_there_and_fit():
    with pytest.raises(UsageError, match="example inputs"):
        load(Net())
    with pytest.raises(UsageError, match="do not fit forward of Net"):
        load(Net(), example_inputs={"picture": torch.ones(1)})
    with pytest.raises(UnsupportedError, match="cannot be exported"):
        load(Net(), example_inputs=(torch.ones(1), torch.ones(1)))


def test_operator_without_an_onnx_form():
    class Odd(torch.nn.Module):
        def forward(self, x):
            return torch.special.airy_ai(x)

    with pytest.raises(UnsupportedError) as error:
        load(Odd(), example_inputs=torch.ones(2, 2))
    assert [reason.op for reason in error.value.reasons] == ["aten.special_airy_ai"]


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    path = tmp_path_factory.mktemp("torch") / "net.pt2"
    batch = torch.export.Dim("batch")
    program = torch.export.export(
        trained().eval(), example(2), dynamic_shapes={"image": {0: batch}, "scale": {0: batch}}
    )
    torch.export.save(program, path)
    return path


def test_exported_program(exported):
    model = load(exported)
    assert str(model.signature.inputs[0]) == "image: float32[batch, 3, 6, 6] nchw"
    assert model.source.path == "net.pt2"
    for expected, result in zip(
        trained().eval()(*example(3)), run(model, *example(3)), strict=True
    ):
        np.testing.assert_allclose(result, expected.detach().numpy(), atol=1e-5)


def rewritten(source, target, change):
    """A copy of an archive whose members went through `change(name, content)`."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w") as new:
        for name in old.namelist():
            new.writestr(name, change(name, old.read(name)))
    return target


def in_program(edit):
    def change(name, content):
        if not name.endswith("models/model.json"):
            return content
        program = json.loads(content)
        edit(program)
        return json.dumps(program)

    return change


def evil_expression(program):
    values = program["graph_module"]["graph"]["tensor_values"]
    values["image"]["sizes"][0]["as_expr"]["expr_str"] = "exec(chr(97))"


def evil_target(program):
    program["graph_module"]["graph"]["nodes"][0]["target"] = "torch.ops.load_library"


def evil_guard(program):
    program["guards_code"] = ["__import__('os').system('true')"]


@pytest.mark.parametrize(
    ("edit", "reason"),
    [
        (evil_expression, "would run 'exec(chr(97))'"),
        (evil_target, "is not an operator of PyTorch"),
        (evil_guard, "would run"),
    ],
)
def test_code_in_an_exported_program_is_refused_unread(exported, tmp_path, edit, reason):
    path = rewritten(exported, tmp_path / "evil.pt2", in_program(edit))
    with pytest.raises(UnsupportedError) as error:
        load(path)
    assert reason in str(error.value)


def test_pickles_and_binaries_in_an_exported_program_are_refused(exported, tmp_path):
    evil = b"\x80\x02cos\nsystem\nX\x04\x00\x00\x00true\x85R."
    path = rewritten(exported, tmp_path / "a.pt2", lambda n, c: evil if "sample_inputs" in n else c)
    with pytest.raises(UnsupportedError, match="would call 'os system'"):
        load(path)
    for name in ("net/data/aotinductor/model/x.so", "net/data/constants/custom_obj_0"):
        with zipfile.ZipFile(rewritten(exported, path, lambda n, c: c), "a") as f:
            f.writestr(name, b"x")
        with pytest.raises(UnsupportedError, match="refused before it is loaded"):
            load(path)


def test_checkpoint_and_pickled_module(tmp_path):
    torch.save(trained().state_dict(), tmp_path / "weights.pth")
    with pytest.raises(UnsupportedError, match="weights without the network"):
        load(tmp_path / "weights.pth", allow_code=True)
    sequential = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.ReLU())
    torch.save(sequential, tmp_path / "net.pt")
    with pytest.raises(UnsupportedError, match="is a pickle"):
        load(tmp_path / "net.pt")
    with pytest.raises(UsageError, match="example inputs"):
        load(tmp_path / "net.pt", allow_code=True)
    model = load(tmp_path / "net.pt", allow_code=True, example_inputs=torch.ones(2, 3))
    assert (model.source.name, model.source.path) == ("net", "net.pt")
    expected = sequential(torch.ones(4, 3)).detach().numpy()
    np.testing.assert_allclose(run(model, torch.ones(4, 3))[0], expected, atol=1e-6)


def test_torchscript_is_explained(tmp_path):
    torch.jit.save(torch.jit.script(torch.nn.ReLU()), tmp_path / "script.pt")
    with pytest.raises(UnsupportedError, match="TorchScript"):
        load(tmp_path / "script.pt")


def test_damaged_archives_never_raise_anything_else(exported, tmp_path):
    content = exported.read_bytes()
    path = tmp_path / "net.pt2"
    outcomes = set()
    for seed in range(150):
        path.write_bytes(damaged(content, seed))
        try:
            check_export(path, allow_code=False)
            outcomes.add("sound")
        except EdgeKitError as e:
            outcomes.add(type(e).__name__)
    assert outcomes >= {"sound", "ModelFileError"}
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(ModelFileError):
        load(path)


def test_program_that_pytorch_cannot_load(exported, tmp_path):
    path = rewritten(
        exported, tmp_path / "odd.pt2", lambda n, c: b"{}" if n.endswith("model.json") else c
    )
    with pytest.raises(ModelFileError, match="cannot be loaded by PyTorch"):
        load(path)
