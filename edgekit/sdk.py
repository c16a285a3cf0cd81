"""The public functions: the same words as the command line."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from edgekit.bundle import Bundle
from edgekit.calibration.ranges import Ranges
from edgekit.compile import compile_model
from edgekit.errors import UsageError
from edgekit.ir import Model, Preprocessing
from edgekit.progress import SILENT, Progress, stage
from edgekit.recipe import DEFAULT_SAMPLES, Recipe
from edgekit.vocabulary import CpuPolicy, IoType, Layout, Precision, Target, Word


def load(source: Any, *, example_inputs: Any = None, allow_code: bool = False) -> Model:
    """Read a trained model.

    Args:
        source: path of a `.keras`, `.h5`, `.onnx`, `.tflite` or `.pt2` file or of a SavedModel
            folder; or a `torch.nn.Module` or Keras model in memory.
        example_inputs: inputs that a `torch.nn.Module` is traced with (a tensor, a tuple or a
            dict).
        allow_code: run code that is stored in the file (Lambda layers, pickles). Only for files
            that you trust as much as a program.

    Returns:
        The model in ONNX form with the source's own inputs and outputs.

    Raises:
        ModelFileError: if the file is missing, damaged, or not what it claims to be.
        UnsupportedError: with one reason for each operator that cannot be read.
        MissingDependencyError: if the package that reads this kind of file is not installed.
    """
    from edgekit.frontends.load import load as read

    return read(source, example_inputs=example_inputs, allow_code=allow_code)


def calibrate(
    model: Model,
    data: Any,
    *,
    samples: int = DEFAULT_SAMPLES,
    observer: str | None = None,
    preprocessing: Preprocessing | None = None,
    progress: Progress = SILENT,
) -> Ranges:
    """Measure the range of every tensor over a calibration set, for any target.

    Memory is bounded by the model, not by the number of samples.

    Args:
        model: what `load` gave.
        data: an `.npz` or `.npy` file, a folder of pictures, `package.module:function`, or
            arrays in memory; the first axis counts samples.
        samples: at most this many are used.
        observer: how ranges are chosen from the statistics; None takes the default.
        preprocessing: how pictures become input tensors.
        progress: told how far the work is.

    Raises:
        DataError: if the data does not fit the model.
    """
    from edgekit.calibration import calibrate as measure
    from edgekit.calibration.data import open_data
    from edgekit.passes.canonicalize.pipeline import canonicalize

    feed = open_data(
        data,
        model.signature,
        preprocessing=preprocessing or model.preprocessing,
        samples=samples,
    )
    return measure(canonicalize(model), feed, observer=observer, progress=progress.update)


def convert(
    model: Model | str | Path | Any,
    *,
    output: str | Path,
    targets: Sequence[Target | str] | Target | str | None = None,
    precision: Precision | str | None = None,
    calibration: Any = None,
    samples: int | None = None,
    preprocessing: Preprocessing | None = None,
    io: IoType | str | None = None,
    io_layout: Layout | str | None = None,
    cpu: CpuPolicy | str | None = None,
    recipe: Recipe | str | Path | None = None,
    allow_code: bool = False,
    force: bool = False,
    progress: Progress = SILENT,
) -> Bundle:
    """Compile a model into one artifact per target, each run and compared with float.

    An argument that is not None takes precedence over the recipe.

    Args:
        model: what `load` gave, or anything that `load` takes.
        output: folder of the bundle; it appears in whole or not at all.
        targets: `tflite`, `openvino`, `onnxruntime`, `tensorrt`; None takes all four.
        precision: `fp32`, `fp16` or `int8`.
        calibration: data as `calibrate` takes it, or the `Ranges` that it gave.
        samples: at most this many calibration samples are used.
        preprocessing: how pictures become input tensors.
        io: `int8` gives integer inputs and outputs.
        io_layout: `nhwc` or `nchw` images at the inputs and outputs, instead of the source's.
        cpu: `vnni` lets INT8 artifacts rely on VNNI instructions.
        recipe: a recipe, or the path of its YAML file.
        allow_code: see `load`.
        force: replace an existing bundle.
        progress: told how far the work is.

    Returns:
        The bundle. An artifact with status `failed` does not raise; see its notes.

    Raises:
        UsageError: if an argument or the recipe is wrong.
        InputError: if a file, the data or the output folder is wrong.
        UnsupportedError: if no target can take the model.
        MissingDependencyError: if a package that a target needs is not installed.
    """
    base = recipe if isinstance(recipe, Recipe) else Recipe()
    if isinstance(recipe, (str, Path)):
        base = Recipe.read(Path(recipe))
    chosen = base.with_options(
        targets=_targets(targets),
        precision=_word(Precision, precision),
        samples=samples,
        preprocessing=preprocessing,
        io=_word(IoType, io),
        io_layout=_word(Layout, io_layout),
        cpu=_word(CpuPolicy, cpu),
        allow_code=allow_code or None,
    )
    if isinstance(model, Model):
        source = model
    else:
        with stage(progress, "read the model"):
            source = load(model, allow_code=chosen.allow_code)
    ranges = calibration if isinstance(calibration, Ranges) else None
    return compile_model(
        source,
        chosen,
        Path(output),
        data=None if ranges is not None else calibration,
        ranges=ranges,
        force=force,
        progress=progress,
    )


def _targets(given: Sequence[Target | str] | Target | str | None) -> tuple[Target, ...] | None:
    if given is None:
        return None
    many = [given] if isinstance(given, str) else given
    return tuple(Target(_word(Target, item)) for item in many)


def _word(words: type[Word], given: Word | str | None) -> Word | None:
    if given is None:
        return None
    try:
        return words(given)
    except ValueError:
        choices = ", ".join(map(str, words))
        raise UsageError(
            f"{given!r} is not a {words.__name__}.", hint=f"choose from {choices}"
        ) from None
