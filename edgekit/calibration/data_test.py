import io
import tracemalloc
import zipfile

import numpy as np
import pytest
from PIL import Image

from edgekit.calibration.data import open_data
from edgekit.errors import DataError, UsageError
from edgekit.ir import Preprocessing, Signature, TensorSpec
from edgekit.vocabulary import Layout


def signature(*shapes, dtype="float32", layout=None):
    names = ["image", "state", "extra"]
    specs = [TensorSpec(n, dtype, tuple(s), layout) for n, s in zip(names, shapes, strict=False)]
    return Signature(tuple(specs), ())


IMAGE = signature(("N", 4, 4, 3))


def read(source, sig=IMAGE, batch=2, **options):
    return list(open_data(source, sig, **options).batches(batch))


def pixels(count, shape=(4, 4, 3)):
    return np.arange(count * int(np.prod(shape)), dtype=np.uint8).reshape(count, *shape)


# What is read --------------------------------------------------------------------------------


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
@pytest.mark.parametrize("name", ["image", "anything"])
def test_npz_gives_batches_of_the_inputs_type(tmp_path, save, name):
    path = tmp_path / "data.npz"
    save(path, **{name: pixels(5), "labels": np.arange(5)})
    source = open_data(path, IMAGE)
    batches = list(source.batches(2))
    assert source.count == 5
    assert source.labels.tolist() == [0, 1, 2, 3, 4]
    assert [len(b["image"]) for b in batches] == [2, 2, 1]
    whole = np.concatenate([b["image"] for b in batches])
    assert whole.dtype == np.float32
    assert np.array_equal(whole, pixels(5))
    assert np.array_equal(np.concatenate([b["image"] for b in source.batches(3)]), whole)


def test_every_source_gives_the_same_samples(tmp_path):
    data = pixels(6).astype(np.float32)
    np.savez(tmp_path / "a.npz", image=data)
    np.savez(tmp_path / "f.npz", image=np.asfortranarray(data))
    np.save(tmp_path / "a.npy", data)
    sources = [
        str(tmp_path / "a.npz"),
        tmp_path / "f.npz",
        tmp_path / "a.npy",
        data,
        {"image": data},
        [{"image": sample} for sample in data],
        [{"image": data[:4]}, {"image": data[4:]}],
        lambda: iter(data),
        lambda: ({"image": sample[None]} for sample in data),
    ]
    for source in sources:
        batches = read(source, batch=4)
        assert [len(b["image"]) for b in batches] == [4, 2]
        assert np.array_equal(np.concatenate([b["image"] for b in batches]), data)


def test_samples_are_spread_evenly_and_labels_follow(tmp_path):
    data, labels = np.arange(100, dtype=np.float32).reshape(100, 1), np.arange(100)
    np.savez(tmp_path / "a.npz", x=data, labels=labels)
    sig = signature(("N", 1))
    for source in (tmp_path / "a.npz", {"image": data, "labels": labels}):
        opened = open_data(source, sig, samples=4)
        assert opened.count == 4
        assert opened.labels.tolist() == [0, 25, 50, 75]
        assert [b["image"].ravel().tolist() for b in opened.batches(3)] == [[0, 25, 50], [75]]
    few = open_data(lambda: iter(data), sig, samples=4)
    assert np.concatenate([b["image"] for b in few.batches(3)]).ravel().tolist() == [0, 1, 2, 3]


def test_fixed_batch_and_inputs_without_batch_axis():
    fixed = open_data(pixels(7), signature((3, 4, 4, 3)))
    assert fixed.count == 6
    assert fixed.batch_size(32) == 3
    assert [b["image"].shape for b in fixed.batches(32)] == [(3, 4, 4, 3)] * 2
    one = open_data(pixels(2), signature((1, 4, 4, 3)))
    assert [b["image"].shape for b in one.batches(32)] == [(1, 4, 4, 3)] * 2

    ids = np.arange(30, dtype=np.int64).reshape(3, 10)
    sig = signature((10,), dtype="int32")
    for source in (ids, list(ids), lambda: ({"image": row} for row in ids)):
        batches = read(source, sig, batch=8)
        assert [b["image"].shape for b in batches] == [(10,)] * 3
        assert batches[1]["image"].tolist() == ids[1].tolist()
        assert batches[1]["image"].dtype == np.int32


def test_several_inputs_go_together(tmp_path):
    sig = signature((1, 4), (1, 2, 3))
    arrays = {"state": np.ones((5, 2, 3)), "image": np.zeros((5, 4), np.float32)}
    np.savez(tmp_path / "a.npz", **arrays)
    for source in (tmp_path / "a.npz", arrays):
        batches = read(source, sig)
        assert len(batches) == 5
        assert {n: a.shape for n, a in batches[0].items()} == {"image": (1, 4), "state": (1, 2, 3)}
        assert batches[0]["state"].dtype == np.float32


def test_first_axes_that_differ_are_not_a_batch():
    sig = signature((1, 4), (3, 2))
    with pytest.raises(DataError, match="not a batch axis"):
        open_data({"image": np.zeros((6, 4)), "state": np.zeros((6, 2))}, sig)
    whole = {"image": np.zeros((6, 1, 4)), "state": np.zeros((6, 3, 2))}
    assert len(read(whole, sig)) == 6


def test_module_function_is_called_for_each_pass(tmp_path, monkeypatch):
    text = "import numpy as np\ndef rows():\n    for i in range(3):\n        yield {'x': [i]}\n"
    (tmp_path / "my_calibration_rows.py").write_text(text)
    monkeypatch.syspath_prepend(str(tmp_path))
    source = open_data("my_calibration_rows:rows", signature(("N", 1)))
    assert source.count is None
    for _ in range(2):
        rows = np.concatenate([b["image"] for b in source.batches(2)])
        assert rows.ravel().tolist() == [0, 1, 2]


def test_content_hash_follows_the_content(tmp_path):
    np.savez(tmp_path / "a.npz", x=pixels(3))
    np.savez(tmp_path / "b.npz", x=pixels(4))
    hashes = [open_data(tmp_path / n, IMAGE).content_hash for n in ("a.npz", "b.npz")]
    assert hashes[0] != hashes[1]
    assert len(hashes[0]) == 64
    arrays = [open_data(x, IMAGE).content_hash for x in (pixels(3), pixels(3), pixels(4))]
    assert arrays[0] == arrays[1] != arrays[2]


# Pictures ------------------------------------------------------------------------------------


def folder_of_pictures(folder, count=4, classes=("cat", "dog"), size=(8, 6)):
    for i in range(count):
        name = folder / classes[i % len(classes)] / f"{i}.png"
        name.parent.mkdir(exist_ok=True)
        Image.fromarray(np.full((size[1], size[0], 3), (10 * i, 20, 30), np.uint8)).save(name)
    return folder


def test_pictures_are_preprocessed_and_labelled_by_folder(tmp_path):
    folder_of_pictures(tmp_path)
    steps = Preprocessing(
        resize=(4, 4), color="bgr", scale=1 / 10, mean=(1, 2, 3), std=(1, 2, 4), layout=Layout.NCHW
    )
    source = open_data(tmp_path, signature(("N", 3, 4, 4)), preprocessing=steps)
    (batch,) = source.batches(8)
    assert batch["image"].shape == (4, 3, 4, 4)
    assert np.allclose(batch["image"][:, 0], (3 - 1) / 1)
    assert np.allclose(batch["image"][:, 1], (2 - 2) / 2)
    assert np.allclose(batch["image"][:, 2, 0, 0], [(v - 3) / 4 for v in (0, 2, 1, 3)])
    assert source.labels.tolist() == [0, 0, 1, 1]
    half = open_data(tmp_path, signature(("N", 3, 4, 4)), preprocessing=steps, samples=2)
    assert half.labels.tolist() == [0, 1]


def test_centre_crop_and_gray(tmp_path):
    ramp = np.arange(36, dtype=np.uint8).reshape(6, 6)
    Image.fromarray(ramp).save(tmp_path / "a.png")
    steps = Preprocessing(crop=(2, 4), color="gray")
    (batch,) = read(tmp_path, signature((1, 2, 4, 1)), preprocessing=steps)
    assert np.array_equal(batch["image"][0, ..., 0], ramp[2:4, 1:5])


@pytest.mark.parametrize("suffix", ["png", "jpg"])
@pytest.mark.parametrize("share", [0, 0.1, 0.6])
def test_broken_pictures_are_named(tmp_path, suffix, share):
    folder_of_pictures(tmp_path, classes=("all",))
    broken = tmp_path / "all" / f"2.{suffix}"
    noise = np.random.default_rng(0).integers(0, 256, (6, 8, 3), np.uint8)
    Image.fromarray(noise).save(broken)
    broken.write_bytes(broken.read_bytes()[: int(broken.stat().st_size * share)])
    source = open_data(tmp_path, signature(("N", 6, 8, 3)), preprocessing=Preprocessing())
    with pytest.raises(DataError, match=rf"2\.{suffix}"):
        list(source.batches(8))


def test_pictures_that_cannot_be_used(tmp_path):
    with pytest.raises(DataError, match="no pictures"):
        open_data(tmp_path, IMAGE, preprocessing=Preprocessing())
    folder_of_pictures(tmp_path)
    with pytest.raises(DataError, match="preprocessing spec"):
        open_data(tmp_path, IMAGE)
    with pytest.raises(DataError, match="shape"):
        open_data(tmp_path, IMAGE, preprocessing=Preprocessing())
    with pytest.raises(DataError, match="smaller than the crop"):
        open_data(tmp_path, IMAGE, preprocessing=Preprocessing(crop=(40, 40)))
    Image.fromarray(np.zeros((9, 9, 3), np.uint8)).save(tmp_path / "dog" / "z.png")
    source = open_data(tmp_path, signature(("N", None, None, 3)), preprocessing=Preprocessing())
    with pytest.raises(DataError, match="different sizes"):
        list(source.batches(8))


# Bad data ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (np.zeros((2, 4, 4, 3), np.complex64), "numbers"),
        (np.zeros((2, 4, 4, 3), object), "numbers"),
        (np.full((2, 4, 4, 3), np.nan, np.float32), "NaN"),
        (np.full((2, 4, 4, 3), np.inf), "NaN"),
        (np.full((2, 4, 4, 3), 1e300), "overflows"),
        (np.full((2, 4, 4, 3), 2**24 + 1, np.int32), "lose"),
        (np.zeros((2, 5, 4, 3), np.float32), r"shape \(2, 5, 4, 3\).*needs \(samples, 4, 4, 3\)"),
        (np.zeros((4, 4, 3), np.float32), "shape"),
        (np.zeros((0, 4, 4, 3), np.float32), "fewer than one batch"),
        (np.array(3), "axis of samples"),
        ({"wrong": np.zeros((2, 4, 4, 3)), "other": np.zeros(2)}, "'wrong'"),
        ([{"wrong": np.zeros((4, 4, 3)), "other": np.zeros(2)}], "'image'"),
        ([], "no samples"),
        ([3], "int"),
        (iter([np.zeros((4, 4, 3))]), "only once"),
        (3, "type int"),
    ],
)
def test_bad_data_is_refused_with_a_reason(data, message):
    with pytest.raises(DataError, match=message):
        read(data)


@pytest.mark.parametrize(
    ("values", "dtype", "good"),
    [
        (np.array([[200]], np.uint8), "int8", False),
        (np.array([[100]], np.uint8), "int8", True),
        (np.array([[1.0]], np.float32), "int32", False),
        (np.array([[2**31]], np.int64), "int32", False),
        (np.array([[-1]], np.int32), "uint8", False),
        (np.array([[2**24]], np.int64), "float32", True),
        (np.array([[0.1]], np.float64), "float32", True),
        (np.array([[2049]], np.int32), "float16", False),
        (np.array([[True]]), "float32", True),
    ],
)
def test_casts_lose_nothing_but_float_rounding(values, dtype, good):
    sig = signature(("N", 1), dtype=dtype)
    if good:
        assert read(values, sig)[0]["image"] == values.astype(dtype)
    else:
        with pytest.raises(DataError, match="cast would lose"):
            read(values, sig)


def test_float_data_for_a_quantized_input_says_how_to_quantize_it():
    values = np.array([[0.1, 0.9]], np.float32)
    with pytest.raises(DataError) as caught:
        read(values, signature(("N", 2), dtype="int8"))
    assert "round(x / scale) + zero_point, -128, 127" in caught.value.hint


def test_a_single_row_beside_many_is_repeated_as_the_hint_says(tmp_path):
    sig = signature(("N", 4), (1, 3))
    image = np.arange(8, dtype=np.float32).reshape(2, 4)
    state = np.ones((1, 3), np.float32)
    np.savez(tmp_path / "a.npz", image=image, state=state)
    with pytest.raises(DataError, match="different numbers of samples") as caught:
        read(tmp_path / "a.npz", sig)
    assert "numpy.repeat(state, 2, axis=0)" in caught.value.hint
    np.savez(tmp_path / "b.npz", image=image, state=np.repeat(state, 2, axis=0))
    batches = read(tmp_path / "b.npz", sig)
    assert [b["image"].tolist() for b in batches] == [[row.tolist()] for row in image]
    assert all(np.array_equal(b["state"], state) for b in batches)


@pytest.mark.parametrize(
    ("shape", "sig", "hint"),
    [
        ((2, 3, 4, 5), signature(("N", 4, 5, 3)), "data is NCHW, the model takes NHWC"),
        ((2, 4, 5, 3), signature(("N", 3, 4, 5)), "data is NHWC, the model takes NCHW"),
        ((4, 5, 3), signature(("N", 4, 5, 3)), "add one with"),
    ],
)
def test_a_wrong_shape_comes_with_a_hint(shape, sig, hint):
    with pytest.raises(DataError) as caught:
        open_data(np.zeros(shape), sig)
    assert hint in caught.value.hint


def test_data_that_is_not_there_or_not_data(tmp_path):
    with pytest.raises(DataError, match="no file"):
        open_data(tmp_path / "missing.npz", IMAGE)
    (tmp_path / "a.csv").write_text("1,2")
    with pytest.raises(DataError, match="not a kind of data"):
        open_data(tmp_path / "a.csv", IMAGE)
    with pytest.raises(UsageError, match="cannot be imported"):
        open_data("no_such_module_here:rows", IMAGE)
    with pytest.raises(UsageError, match="no arguments"):
        open_data("os.path:join", IMAGE)
    with pytest.raises(UsageError, match="positive"):
        open_data(pixels(2), IMAGE, samples=0)
    with pytest.raises(DataError, match="one input"):
        np.save(tmp_path / "a.npy", pixels(2))
        open_data(tmp_path / "a.npy", signature((1, 4), (1, 4)))
    with pytest.raises(DataError, match="different numbers of samples"):
        open_data({"image": pixels(2), "labels": np.zeros(3)}, IMAGE)


def test_endless_data_ends_at_the_number_of_samples():
    def endless():
        index = 0
        while True:
            yield {"image": pixels(1)[0] + np.float32(index)}
            index += 1

    source = open_data(endless, IMAGE, samples=5)
    values = np.concatenate([b["image"] for b in source.batches(2)])
    assert values[:, 0, 0, 0].tolist() == [0, 1, 2, 3, 4]
    assert source.content_hash == open_data(endless, IMAGE, samples=5).content_hash
    assert source.content_hash != open_data(endless, IMAGE, samples=6).content_hash


def test_a_data_function_that_exits_is_told():
    def leaves():
        raise SystemExit(3)
        yield

    with pytest.raises(DataError, match="SystemExit: 3"):
        open_data(leaves, IMAGE)


def test_an_exception_in_a_data_function_is_told():
    def rows():
        yield {"image": np.zeros((4, 4, 3))}
        raise KeyError("picture 7")

    with pytest.raises(DataError, match="KeyError: 'picture 7'"):
        read(rows)


@pytest.mark.parametrize("suffix", ["npz", "npy"])
def test_every_truncation_is_a_data_error(tmp_path, suffix):
    good = tmp_path / f"good.{suffix}"
    if suffix == "npz":
        np.savez_compressed(good, image=pixels(40))
    else:
        np.save(good, pixels(40))
    whole = good.read_bytes()
    bad = tmp_path / f"bad.{suffix}"
    for size in range(0, len(whole), max(1, len(whole) // 25)):
        bad.write_bytes(whole[:size])
        with pytest.raises(DataError, match="bad"):
            read(bad)


def test_flipped_bytes_never_escape_as_another_error(tmp_path):
    good = io.BytesIO()
    np.savez_compressed(good, image=pixels(40))
    whole = bytearray(good.getvalue())
    path, rng = tmp_path / "a.npz", np.random.default_rng(0)
    refused = 0
    for _ in range(150):
        damaged = bytearray(whole)
        damaged[rng.integers(len(whole))] ^= int(rng.integers(1, 256))
        path.write_bytes(damaged)
        try:
            read(path)
        except DataError:
            refused += 1
    assert refused > 75


def test_python_objects_are_not_unpickled(tmp_path):
    np.savez(tmp_path / "a.npz", image=np.array([{"a": 1}], object))
    np.save(tmp_path / "a.npy", np.array([{"a": 1}], object))
    for name in ("a.npz", "a.npy"):
        with pytest.raises(DataError, match="only numbers"):
            open_data(tmp_path / name, IMAGE)


def test_zip_bombs_and_lying_headers_are_refused(tmp_path):
    bomb = tmp_path / "bomb.npz"
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("image.npy", b"\0" * 1000)
        archive.filelist[0].file_size = 1 << 42
    with pytest.raises(DataError, match="expands"):
        open_data(bomb, IMAGE)
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        header, {"descr": "|u1", "fortran_order": False, "shape": (1 << 40, 4, 4, 3)}
    )
    with zipfile.ZipFile(tmp_path / "lie.npz", "w") as archive:
        archive.writestr("image.npy", header.getvalue())
    with pytest.raises(DataError, match="truncated or damaged"):
        open_data(tmp_path / "lie.npz", IMAGE)


def test_memory_does_not_grow_with_the_number_of_samples(tmp_path):
    sig = signature(("N", 64, 64, 3))

    def peak(count):
        path = tmp_path / f"{count}.npz"
        np.savez(path, image=np.zeros((count, 64, 64, 3), np.uint8))
        tracemalloc.start()
        for _ in open_data(path, sig).batches(16):
            pass
        used = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return used

    assert peak(1000) < 1.3 * peak(100)
