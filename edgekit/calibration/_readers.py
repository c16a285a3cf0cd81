"""The kinds of data source, each as rows by input name."""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgekit.calibration._images import ImageFolder, load_image
from edgekit.calibration._match import LABELS, Slot, fit, pair_names
from edgekit.calibration._npz import NpzFile, damage_named, read_header
from edgekit.errors import DataError, InputError, UsageError
from edgekit.ir.preprocessing import Preprocessing
from edgekit.ir.signature import Signature, TensorSpec
from edgekit.vocabulary import Layout

Rows = dict[str, NDArray[Any]]


@dataclass(frozen=True)
class Reader:
    """Samples before they are cast and batched.

    Attributes:
        where: what the source is called in messages.
        slots: how each array feeds its input.
        count: number of samples; None if unknown.
        rows: gives blocks of samples in order, by input name, first axis samples; takes the
            preferred number of rows per block.
        digest: SHA-256 of the content.
        at: the samples of given indices, where the source can be read in any order.
        labels: one per sample, where the data has them.
    """

    where: str
    slots: tuple[Slot, ...]
    count: int | None
    rows: Callable[[int], Iterator[Rows]]
    digest: Callable[[], str]
    at: Callable[[NDArray[np.int64]], Rows] | None = None
    labels: NDArray[Any] | None = None


def open_reader(source: Any, signature: Signature, preprocessing: Preprocessing | None) -> Reader:
    """The reader for a source, by its kind.

    Raises:
        DataError: if the source is of no known kind or does not fit.
        UsageError: if `module:function` cannot be imported.
    """
    if isinstance(source, (str, Path)):
        return _open_path(str(source), signature, preprocessing)
    if callable(source):
        return _from_calls(source, signature, f"the function '{_name_of(source)}'")
    if isinstance(source, np.ndarray):
        return _from_arrays({signature.inputs[0].name: source}, signature, "the array")
    if isinstance(source, Mapping):
        arrays = {str(name): np.asarray(values) for name, values in source.items()}
        return _from_arrays(arrays, signature, "the dict of arrays")
    if isinstance(source, Iterator):
        raise DataError(
            "an iterator can be run through only once, and calibration needs to start again.",
            hint="pass a list of samples, or the function that makes the iterator",
        )
    if isinstance(source, Iterable):
        return _from_calls(lambda: source, signature, "the iterable")
    raise DataError(f"data cannot be read from an object of type {type(source).__name__}.")


def _open_path(source: str, signature: Signature, preprocessing: Preprocessing | None) -> Reader:
    path = Path(source)
    if path.is_dir():
        return _from_images(path, signature, preprocessing)
    if path.is_file():
        if path.suffix.lower() == ".npz":
            return _from_npz(path, signature)
        if path.suffix.lower() == ".npy":
            return _from_npy(path, signature)
        raise DataError(
            f"'{source}' is not a kind of data that is read.",
            hint="data is an .npz, an .npy, a folder of pictures, or package.module:function",
        )
    module, colon, function = source.rpartition(":")
    if colon and all(part.isidentifier() for part in (*module.split("."), *function.split("."))):
        return _from_calls(_imported(module, function), signature, f"'{source}'")
    raise DataError(
        f"there is no file or folder '{source}'.",
        hint="data is an .npz, an .npy, a folder of pictures, or package.module:function",
    )


def _from_npz(path: Path, signature: Signature) -> Reader:
    file = NpzFile(path)
    where = f"'{path}'"
    pairs = pair_names(list(file.headers), signature, where)
    slots = tuple(
        fit(spec, pairs[spec.name], file.headers[pairs[spec.name]].shape, where)
        for spec in signature.inputs
    )
    names = {slot.spec.name: slot.array for slot in slots}
    count = _same_length({a: file.headers[a].shape[0] for a in names.values()}, where)
    labels = None
    if LABELS in file.headers and LABELS not in names.values():
        _same_length({slots[0].array: count, LABELS: file.headers[LABELS].shape[0]}, where)
        labels = file.load(LABELS)

    def rows(step: int) -> Iterator[Rows]:
        streams = [file.rows(array, step) for array in names.values()]
        for blocks in zip(*streams, strict=True):
            yield dict(zip(names, blocks, strict=True))

    return Reader(where, slots, count, rows, lambda: _hash_files([path]), labels=labels)


def _from_npy(path: Path, signature: Signature) -> Reader:
    with damage_named(path):
        with path.open("rb") as stream:
            header = read_header(stream, path, path.stem)
        if 0 in header.shape:
            raise DataError(f"'{path}' holds no samples.")
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    _only_input(signature, f"'{path}'")
    reader = _from_arrays({signature.inputs[0].name: array}, signature, f"'{path}'")
    return Reader(
        reader.where,
        reader.slots,
        reader.count,
        reader.rows,
        lambda: _hash_files([path]),
        reader.at,
    )


def _from_arrays(arrays: Mapping[str, NDArray[Any]], signature: Signature, where: str) -> Reader:
    pairs = pair_names(list(arrays), signature, where)
    for array in pairs.values():
        if arrays[array].dtype.kind not in "biuf" or not arrays[array].ndim:
            raise DataError(
                f"{where}: '{array}' is {arrays[array].dtype}{list(arrays[array].shape)}; "
                "it must be an array of numbers with an axis of samples."
            )
    slots = tuple(
        fit(spec, pairs[spec.name], arrays[pairs[spec.name]].shape, where)
        for spec in signature.inputs
    )
    chosen = {slot.spec.name: arrays[slot.array] for slot in slots}
    count = _same_length({name: len(array) for name, array in chosen.items()}, where)
    labels = arrays.get(LABELS) if LABELS not in pairs.values() else None
    if labels is not None:
        _same_length({"the samples": count, LABELS: len(labels)}, where)

    def rows(step: int) -> Iterator[Rows]:
        for start in range(0, count, step):
            yield {name: array[start : start + step] for name, array in chosen.items()}

    return Reader(
        where,
        slots,
        count,
        rows,
        lambda: hash_rows(rows),
        lambda indices: {name: array[indices] for name, array in chosen.items()},
        labels,
    )


def _from_images(folder: Path, signature: Signature, preprocessing: Preprocessing | None) -> Reader:
    where = f"the folder '{folder}'"
    spec = _only_input(signature, where)
    if preprocessing is None and spec.dtype.startswith("float"):
        raise DataError(
            f"{where} needs a preprocessing spec: nothing says how pixel values become "
            f"the input {spec}.",
            hint="give resize, color, scale, mean, std and layout, as used in deployment",
        )
    steps = preprocessing or Preprocessing(layout=spec.layout or Layout.NHWC)
    pictures = ImageFolder.open(folder)
    count = len(pictures.files)
    slot = fit(spec, spec.name, (count, *load_image(pictures.files[0], steps).shape), where)

    def at(indices: NDArray[np.int64]) -> Rows:
        loaded = [load_image(pictures.files[i], steps) for i in indices]
        for i, image in zip(indices, loaded, strict=True):
            fit(spec, str(pictures.files[i]), (count, *image.shape), where)
        if len({image.shape for image in loaded}) > 1:
            raise DataError(
                f"{where} holds pictures of different sizes.", hint="give a resize or a crop"
            )
        return {spec.name: np.stack(loaded)}

    def rows(step: int) -> Iterator[Rows]:
        for start in range(0, count, step):
            yield at(np.arange(start, min(start + step, count)))

    return Reader(
        where,
        (slot,),
        count,
        rows,
        lambda: _hash_files(pictures.files, folder),
        at,
        pictures.labels,
    )


def _from_calls(make: Callable[[], Any], signature: Signature, where: str) -> Reader:
    """Samples from a function that is called for each pass; the first one tells the shapes."""

    def items() -> Iterator[Mapping[str, Any]]:
        try:
            for item in make():
                yield _as_dict(item, signature, where)
        except InputError:
            raise
        except (Exception, SystemExit) as e:
            raise DataError(f"{where} failed: {type(e).__name__}: {e}.") from e

    first = next(items(), None)
    if first is None:
        raise DataError(f"{where} yields no samples.")
    slots = tuple(
        fit(spec, spec.name, _with_samples(first[spec.name], spec).shape, where)
        for spec in signature.inputs
    )

    def rows(_: int) -> Iterator[Rows]:
        for item in items():
            block = {}
            for slot in slots:
                block[slot.spec.name] = _with_samples(item[slot.spec.name], slot.spec)
                fit(slot.spec, slot.spec.name, block[slot.spec.name].shape, where)
            _same_length({name: len(values) for name, values in block.items()}, where)
            yield block

    return Reader(where, slots, None, rows, lambda: hash_rows(rows))


def _with_samples(value: Any, spec: TensorSpec) -> NDArray[Any]:
    """A yielded array with samples on its first axis.

    An array of exactly the shape of an input with fixed sizes is one run of the model; one that
    lacks the first axis is one sample.
    """
    array = np.asarray(value)
    one_run = array.shape == spec.shape and (not spec.shape or spec.shape[0] != 1)
    return array[None] if one_run or array.ndim == len(spec.shape) - 1 else array


def _as_dict(item: Any, signature: Signature, where: str) -> Mapping[str, Any]:
    if not isinstance(item, Mapping):
        if isinstance(item, np.ndarray) and len(signature.inputs) == 1:
            return {signature.inputs[0].name: item}
        raise DataError(
            f"{where} yields {type(item).__name__} objects.",
            hint="yield dicts of arrays by input name",
        )
    pairs = pair_names([str(name) for name in item], signature, where)
    return {name: item[array] for name, array in pairs.items()}


def _imported(module: str, function: str) -> Callable[[], Any]:
    try:
        found: Any = import_module(module)
        for part in function.split("."):
            found = getattr(found, part)
    except (ImportError, AttributeError) as e:
        raise UsageError(
            f"the data function '{module}:{function}' cannot be imported: {e}.",
            hint="it must be on the Python path",
        ) from e
    if not callable(found):
        raise UsageError(f"'{module}:{function}' is not a function.")
    takes = [p for p in inspect.signature(found).parameters.values() if p.default is p.empty]
    if any(p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY) for p in takes):
        raise UsageError(f"the data function '{module}:{function}' must take no arguments.")
    make: Callable[[], Any] = found
    return make


def _only_input(signature: Signature, where: str) -> TensorSpec:
    if len(signature.inputs) != 1:
        raise DataError(
            f"{where} can feed one input; the model has {len(signature.inputs)}.",
            hint="use an .npz with one array per input",
        )
    return signature.inputs[0]


def _same_length(lengths: Mapping[str, int], where: str) -> int:
    if len(set(lengths.values())) > 1:
        shown = ", ".join(f"'{name}' {length}" for name, length in lengths.items())
        longest = max(lengths.values())
        single = next((name for name, length in lengths.items() if length == 1), None)
        hint = "the first axis of every array counts the samples"
        if single is not None:
            hint += (
                f"; if '{single}' is the same for all of them, repeat it: "
                f"numpy.repeat({single}, {longest}, axis=0)"
            )
        raise DataError(
            f"{where}: the arrays have different numbers of samples: {shown}.", hint=hint
        )
    return next(iter(lengths.values()))


def _hash_files(paths: Sequence[Path], root: Path | None = None) -> str:
    digest = hashlib.sha256()
    for path in paths:
        if root is not None:
            digest.update(path.relative_to(root).as_posix().encode() + b"\0")
        with path.open("rb") as stream:
            while block := stream.read(1 << 16):
                digest.update(block)
    return digest.hexdigest()


def hash_rows(rows: Callable[[int], Iterator[Rows]]) -> str:
    """SHA-256 of samples: of their inputs' names, types, shapes and bytes."""
    digest = hashlib.sha256()
    for block in rows(64):
        for name, values in block.items():
            digest.update(f"{name}:{values.dtype.str}:{values.shape[1:]}".encode())
            digest.update(np.ascontiguousarray(values).tobytes())
    return digest.hexdigest()


def _name_of(function: Any) -> str:
    return getattr(function, "__name__", type(function).__name__)
