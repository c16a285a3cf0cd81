"""`edgekit convert`: one model in, one verified artifact per target out."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgekit.cli.errors import report
from edgekit.cli.supervise import supervise
from edgekit.vocabulary import CpuPolicy, IoType, Layout, Precision, Target

if TYPE_CHECKING:
    from edgekit.bundle import Artifact, Bundle


@click.command(name="convert")
@click.argument("model", type=click.Path(path_type=Path))
@click.option(
    "-t",
    "--target",
    "targets",
    multiple=True,
    type=click.Choice([str(t) for t in Target]),
    help="What to compile for; repeat for several. Default: all four.",
)
@click.option(
    "-p",
    "--precision",
    type=click.Choice([str(p) for p in Precision]),
    help="Arithmetic of the artifacts. Default: fp32.",
)
@click.option(
    "-c",
    "--calibration",
    metavar="DATA",
    help="Calibration data: .npz, .npy, a folder of pictures, or package.module:function.",
)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Folder of the bundle. Default: <model>_edgekit.",
)
@click.option("--samples", type=click.IntRange(min=1), help="Use at most N calibration samples.")
@click.option(
    "--io",
    type=click.Choice([str(i) for i in IoType]),
    help="Type of the inputs and outputs. Default: float.",
)
@click.option(
    "--io-layout",
    type=click.Choice([str(x) for x in Layout]),
    help="Axis order of image inputs and outputs. Default: the source's.",
)
@click.option(
    "--cpu",
    type=click.Choice([str(c) for c in CpuPolicy]),
    help="x86 CPUs that INT8 must be exact on: every one, or those with VNNI.",
)
@click.option(
    "--recipe",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="YAML file with these options and more; flags take precedence.",
)
@click.option(
    "--allow-code", is_flag=True, help="Run code stored in the model file. Trusted files only."
)
@click.option("--json", "as_json", is_flag=True, help="Print the manifest as JSON.")
@click.option("--force", is_flag=True, help="Replace an existing bundle.")
def command(output: Path | None, **options: Any) -> int:
    """Compile MODEL into one artifact per target, and compare each with the float model.

    MODEL is a .keras, .h5, .onnx, .tflite or .pt2 file or a SavedModel folder.
    """
    from edgekit.bundle.staging import remove_partial

    folder = output or Path(f"{options['model'].stem}_edgekit")
    work = functools.partial(_convert, folder, **options)
    return supervise(lambda: report(work), functools.partial(remove_partial, folder))


def _convert(
    output: Path, *, model: Path, targets: tuple[str, ...], as_json: bool, **options: Any
) -> int:
    from edgekit.cli.progress import Bars
    from edgekit.outcome import check_outcome
    from edgekit.sdk import convert

    bars = Bars()
    try:
        bundle = convert(model, output=output, targets=targets or None, progress=bars, **options)
    finally:
        bars.finish()
    if as_json:
        import json

        click.echo(json.dumps(bundle.manifest.to_json(), indent=2))
    else:
        render(bundle)
    check_outcome(bundle)
    return 0


_COLUMNS = (
    "target",
    "precision",
    "size",
    "status",
    "top-1 agreement",
    "SQNR",
    "max error",
    "float nodes",
)


def render(bundle: Bundle) -> None:
    """Print the artifacts as a table, with their notes below."""
    rows = [_COLUMNS, *(_row(item) for item in bundle.artifacts)]
    widths = [max(len(row[i]) for row in rows) for i in range(len(_COLUMNS))]
    for row in rows:
        click.echo("  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip())
    for item in bundle.artifacts:
        for note in item.notes:
            click.echo(f"{item.target}: {note}")
    click.echo(f"written to {bundle.path}")


def _row(item: Artifact) -> tuple[str, ...]:
    size = f"{item.bytes / 1024:.1f} KiB" if item.path else "-"
    head = (item.target, item.precision, size, item.status)
    check = item.verification
    if check is None:
        return (*head, "not run", "not run", "not run", str(len(item.float_nodes)))
    agreement = "-" if check.agreement is None else f"{check.agreement:.1%} of {check.samples}"
    decibels = "identical" if check.sqnr_db is None else f"{check.sqnr_db:.1f} dB"
    return (*head, agreement, decibels, f"{check.max_abs_error:.3g}", str(len(item.float_nodes)))
