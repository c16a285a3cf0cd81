"""Recipe → bundle: the pipeline, stage by stage.

canonicalize → (change the I/O layout) → calibrate once → for each target: decide, apply, emit,
run on the real runtime and compare with the float model → manifest.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgekit import registry
from edgekit.bundle import Artifact, Bundle, Port, Verification
from edgekit.bundle.bundle import MANIFEST, file_record
from edgekit.bundle.manifest import deployed_bytes
from edgekit.bundle.staging import check_destination, staged_folder
from edgekit.converters.base import Converter, EmitOptions, Emitted
from edgekit.errors import EdgeKitError, Reason, UnsupportedError, UsageError
from edgekit.ir import Model
from edgekit.outcome import manifest_of, refuse_if_nothing_came_out
from edgekit.passes.canonicalize.pipeline import canonicalize
from edgekit.passes.fold_weight_dequantize import fold_weight_dequantize
from edgekit.progress import SILENT, Progress, stage
from edgekit.recipe import Recipe
from edgekit.verification import Probe, compare, probe, probe_batch
from edgekit.vocabulary import IoType, Layout, Precision, Target

if TYPE_CHECKING:
    from edgekit.calibration.data import DataSource
    from edgekit.calibration.ranges import Ranges
    from edgekit.passes.quantize.plan import QuantPlan

logger = logging.getLogger(__name__)

FP_TOLERANCE = {Precision.FP32: 5e-3, Precision.FP16: 5e-2}
"""Greatest difference, as a share of the outputs' range, that float arithmetic explains."""

LEAST_SQNR = 10.0
"""Decibels below which an INT8 artifact gets a warning: the noise is a third of the signal."""

LEAST_RANGE = 1e-3
"""Outputs that vary less than this over the probes say little: a saturated sigmoid, mostly."""


@dataclass(frozen=True)
class _Job:
    """Everything that the targets share.

    Attributes:
        source: the model as its file has it.
        model: the canonical graph, with the I/O layout that was asked for.
        recipe: what was asked for.
        ranges: of the calibration; None where nothing is quantized.
        probes: samples and what the float model makes of them.
        sensitive: nodes whose weights float16 must leave alone; empty for other precisions.
        folder: where the bundle is being written.
    """

    source: Model
    model: Model
    recipe: Recipe
    ranges: Ranges | None
    probes: Probe
    sensitive: tuple[Reason, ...]
    folder: Path


def compile_model(
    source: Model,
    recipe: Recipe,
    output: Path,
    *,
    data: Any = None,
    ranges: Ranges | None = None,
    force: bool = False,
    progress: Progress = SILENT,
) -> Bundle:
    """Compile a model into a bundle.

    Args:
        source: the model, as a frontend read it.
        recipe: what to make of it.
        output: the bundle's folder; it appears in whole or not at all.
        data: calibration data in memory, instead of the recipe's path.
        ranges: ranges of an earlier calibration of this model; saves a new one.
        force: replace an existing bundle.
        progress: told about every stage.

    Raises:
        UsageError: if INT8 is asked for without calibration data.
        OutputError: if the folder is taken or cannot be written.
        MissingDependencyError: if a target needs a package that is not installed.
        UnsupportedError: if no target can take the model.
        DataError: if the data does not fit the model.
    """
    data = data if data is not None else recipe.calibration
    if recipe.precision is not Precision.INT8:
        ranges = None
    elif data is None and ranges is None:
        raise UsageError(
            "int8 needs calibration data.", hint="add -c DATA, samples like those in production"
        )
    source = replace(source, preprocessing=recipe.preprocessing or source.preprocessing)
    check_destination(output, replace=force, marker=MANIFEST)
    converters = {target: registry.converter(target) for target in recipe.targets}
    with stage(progress, "canonicalize"):
        model = _with_layout(source, recipe.io_layout)
        if recipe.precision is not Precision.INT8:
            model = fold_weight_dequantize(model)
    if ranges is not None and model.signature != source.signature:
        raise UsageError(
            "ranges that were measured on the source's layout do not fit another one.",
            hint="give the calibration data instead of the ranges, or drop io_layout",
        )
    feed = None if data is None else _open(data, source, model, recipe)
    with staged_folder(output, replace=force, marker=MANIFEST) as folder:
        if recipe.precision is Precision.INT8:
            if ranges is None and feed is not None:
                ranges = _calibrate(model, feed, recipe, converters, progress)
            (folder / "plans").mkdir()
        if ranges is not None:
            ranges.save(folder / "ranges.json")
        with stage(progress, "run the float model"):
            batches = None if feed is None else feed.batches(probe_batch(model.signature))
            probes = probe(model, batches, "random" if feed is None else "calibration")
        with stage(progress, "look for weights that need float32"):
            sensitive = _sensitive(model, recipe, probes)
        job = _Job(source, model, recipe, ranges, probes, sensitive, folder)
        artifacts = [_artifact(job, converters[target], progress) for target in recipe.targets]
        refuse_if_nothing_came_out(artifacts, model)
        manifest = manifest_of(source, recipe, _calibration(job, feed), artifacts)
        text = json.dumps(manifest.to_json(), indent=2, allow_nan=False) + "\n"
        (folder / MANIFEST).write_text(text, encoding="utf-8")
    return Bundle(output, manifest)


# The model and its data --------------------------------------------------------------------------


def _with_layout(source: Model, layout: Layout | None) -> Model:
    if layout is None:
        return canonicalize(source)
    from edgekit.passes.io_layout import change_io_layout

    return canonicalize(change_io_layout(canonicalize(source), layout))


def _open(data: Any, source: Model, model: Model, recipe: Recipe) -> DataSource:
    """The data, in the layout that the model takes after `--io-layout`."""
    from edgekit.calibration.data import open_data

    have, want = source.signature, model.signature
    feed = open_data(data, have, preprocessing=source.preprocessing, samples=recipe.samples)
    orders = {
        spec.name: _PERMUTATIONS[new.layout]
        for spec, new in zip(have.inputs, want.inputs, strict=True)
        if new.layout is not None and spec.shape != new.shape
    }
    return feed.transposed(orders) if orders else feed


_PERMUTATIONS = {Layout.NCHW: (0, 3, 1, 2), Layout.NHWC: (0, 2, 3, 1)}
"""To a layout from the other one."""


def _sensitive(model: Model, recipe: Recipe, probes: Probe) -> tuple[Reason, ...]:
    if recipe.precision is not Precision.FP16:
        return ()
    from edgekit.passes.half import sensitive_nodes

    return sensitive_nodes(model.ir, [feeds for feeds, _ in probes.batches])


def _calibrate(
    model: Model,
    feed: DataSource,
    recipe: Recipe,
    converters: Mapping[Target, Converter],
    progress: Progress,
) -> Ranges:
    from edgekit.calibration import calibrate
    from edgekit.calibration.calibrate import DEFAULT_OBSERVER
    from edgekit.passes.quantize.decide import wanted_tensors

    # A node that is kept in float leaves tensors to quantize that a fused one would not have had.
    wanted = None
    if not recipe.overrides:
        wanted = sorted(wanted_tensors(model, *(c.legal_ops for c in converters.values())))
    with stage(progress, "calibrate", feed.count):
        return calibrate(
            model,
            feed,
            observer=recipe.observer or DEFAULT_OBSERVER,
            tensors=wanted,
            progress=progress.update,
        )


# One target --------------------------------------------------------------------------------------


def _artifact(job: _Job, converter: Converter, progress: Progress) -> Artifact:
    """Emit and verify; a target that cannot take the model leaves a record that says why."""
    target = str(converter.target)
    try:
        with stage(progress, f"{target}: convert"):
            graph, plan, inputs, outputs = _prepare(job, converter)
            folder = job.folder / target
            folder.mkdir()
            keep = frozenset(reason.node for reason in job.sensitive)
            options = EmitOptions(job.recipe.precision, job.recipe.io, job.recipe.cpu, keep)
            emitted = converter.emit(graph, folder, options)
    except UnsupportedError as e:
        _remove(job.folder / target)
        return Artifact(
            target,
            str(job.recipe.precision),
            "",
            "",
            0,
            "failed",
            float_nodes=(),
            notes=(e.message, *(() if e.hint is None else (e.hint,))),
        )
    with stage(progress, f"{target}: verify"):
        status, check, notes = _verify(job, target, emitted, inputs, outputs)
    files = tuple(file_record(job.folder, path) for path in _main_first(emitted))
    return Artifact(
        target=target,
        precision=str(job.recipe.precision),
        path=files[0].path,
        sha256=files[0].sha256,
        bytes=deployed_bytes(files),
        status=status,
        inputs=inputs,
        outputs=outputs,
        files=files,
        verification=check,
        float_nodes=_merged(job.sensitive if plan is None else plan.float_nodes, emitted),
        notes=(*emitted.notes, *notes),
    )


def _prepare(
    job: _Job, converter: Converter
) -> tuple[Model, QuantPlan | None, tuple[Port, ...], tuple[Port, ...]]:
    """The graph that a converter emits, with the plan and the ports that go with it."""
    signature = job.model.signature
    inputs = tuple(Port(spec) for spec in signature.inputs)
    outputs = tuple(Port(spec) for spec in signature.outputs)
    if job.ranges is None:
        return job.model, None, inputs, outputs
    from edgekit.passes.quantize.apply import apply
    from edgekit.passes.quantize.decide import decide
    from edgekit.passes.quantize.io import quantized_io

    recipe, target = job.recipe, converter.target
    keep = [o.keep_float for o in recipe.overrides if not o.targets or target in o.targets]
    plan = decide(job.model, job.ranges, converter.legal_ops, cpu=recipe.cpu, keep_float=keep)
    plan.save(job.folder / "plans" / f"{target}.json")
    graph = apply(job.model, plan)
    if recipe.io is IoType.INT8:
        graph, parameters = quantized_io(graph)
        inputs = tuple(_port(graph.signature.inputs, p, parameters) for p in inputs)
        outputs = tuple(_port(graph.signature.outputs, p, parameters) for p in outputs)
    return graph, plan, inputs, outputs


def _port(specs: tuple[Any, ...], port: Port, parameters: Mapping[str, Any]) -> Port:
    spec = next(s for s in specs if s.name == port.spec.name)
    found = parameters.get(spec.name)
    if found is None:
        return replace(port, spec=spec)
    return Port(spec, float(found.scale), int(found.zero_point))


def _verify(
    job: _Job,
    target: str,
    emitted: Emitted,
    inputs: tuple[Port, ...],
    outputs: tuple[Port, ...],
) -> tuple[str, Verification | None, tuple[str, ...]]:
    runtime = registry.runtime(target)
    found = runtime.probe()
    if not found.usable:
        return "emitted", None, (f"not run here: {found.detail}",)
    try:
        with runtime.open(emitted.path, trusted=True) as session:
            check, problem = compare(
                session,
                job.probes,
                runtime=f"{runtime.name} {found.version}".strip(),
                inputs=inputs,
                outputs=outputs,
            )
    except EdgeKitError as e:
        return "failed", None, (f"{target} does not run it: {e.message}",)
    problem = problem or _beyond_rounding(job, check)
    if problem:
        return "failed", check, (problem,)
    return "verified", check, _warning(job, check)


def _beyond_rounding(job: _Job, check: Verification) -> str | None:
    tolerance = FP_TOLERANCE.get(job.recipe.precision)
    if tolerance is None:
        return None
    limit = tolerance * max(job.probes.output_range(), LEAST_RANGE)
    if check.max_abs_error <= limit:
        return None
    return (
        f"its outputs differ from the float model by up to {check.max_abs_error:.3g}, "
        f"more than rounding explains ({limit:.3g})"
    )


def _warning(job: _Job, check: Verification) -> tuple[str, ...]:
    """What a user should know of an INT8 artifact before trusting it."""
    loud = check.sqnr_db is not None and check.sqnr_db < LEAST_SQNR
    if job.recipe.precision is not Precision.INT8 or not loud:
        return ()
    cause = "the model loses much of its precision in int8"
    if check.data == "random":
        cause += ", or the random inputs are unlike the calibration data"
    return (
        f"its outputs are far from the float model's (SQNR {check.sqnr_db:.1f} dB on {check.data} "
        f"data): {cause}; keep sensitive nodes in float with overrides in a recipe, or use fp16",
    )


def _merged(planned: tuple[Reason, ...], emitted: Emitted) -> tuple[Reason, ...]:
    known = {reason.node for reason in planned}
    return (*planned, *(r for r in emitted.float_nodes if r.node not in known))


def _main_first(emitted: Emitted) -> list[Path]:
    return [emitted.path, *sorted(p for p in emitted.files if p != emitted.path)]


def _remove(folder: Path) -> None:
    import shutil

    shutil.rmtree(folder, ignore_errors=True)


def _calibration(job: _Job, feed: DataSource | None) -> dict[str, Any] | None:
    if job.ranges is not None:
        ranges = job.ranges
        return {
            "content_hash": ranges.data_hash,
            "samples": ranges.samples,
            "observer": ranges.observer,
        }
    if feed is None:
        return None
    return {"content_hash": feed.content_hash, "samples": job.probes.samples, "observer": None}
