"""`edgekit inspect`: signature, operators, size, and what each target can take."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgekit.cli.errors import report
from edgekit.cli.supervise import supervise

if TYPE_CHECKING:
    from edgekit.errors import Reason
    from edgekit.inspection import Inspection, TargetVerdict


@click.command(name="inspect")
@click.argument("model", type=click.Path(path_type=Path))
@click.option(
    "--allow-code", is_flag=True, help="Run code stored in the model file. Trusted files only."
)
@click.option("--all", "show_all", is_flag=True, help="List every node, not one line per reason.")
@click.option("--json", "as_json", is_flag=True, help="Print everything as JSON.")
def command(model: Path, allow_code: bool, show_all: bool, as_json: bool) -> int:
    """Show what is in MODEL, what each target can and cannot take, and why."""
    work = functools.partial(_inspect, model, allow_code, show_all, as_json)
    return supervise(lambda: report(work), lambda pid: None)


def _inspect(path: Path, allow_code: bool, show_all: bool, as_json: bool) -> int:
    from edgekit.inspection import inspect
    from edgekit.sdk import load

    found = inspect(load(path, allow_code=allow_code))
    if as_json:
        import json

        click.echo(json.dumps(found.to_json(), indent=2))
    else:
        render(found, show_all)
    return 0


def render(found: Inspection, show_all: bool) -> None:
    """Print an inspection."""
    click.echo(f"{found.name}  read by {found.frontend}")
    for note in found.notes:
        click.echo(f"  note: {note}")
    for kind, specs in (("input", found.signature.inputs), ("output", found.signature.outputs)):
        for spec in specs:
            click.echo(f"  {kind:11}{spec}")
    click.echo(f"  {'parameters':11}{found.parameters:,}")
    click.echo(f"  {'MACs':11}{found.macs:,} per sample")
    listing = ", ".join(f"{op} {count}" for op, count in found.operators.items())
    click.echo(f"  {'operators':11}{listing}")
    for verdict in found.targets:
        click.echo()
        _render_verdict(verdict, show_all)


def _render_verdict(verdict: TargetVerdict, show_all: bool) -> None:
    if verdict.problem:
        click.echo(f"{verdict.target}: {verdict.problem}")
        return
    if verdict.unsupported:
        click.echo(f"{verdict.target}: cannot take this model")
        _list(verdict.unsupported, show_all)
        return
    click.echo(
        f"{verdict.target}: converts; int8 runs {verdict.quantized} nodes in integers, "
        f"{len(verdict.stays_float)} stay float"
    )
    _list(verdict.stays_float, show_all)


def _list(reasons: Sequence[Reason], show_all: bool) -> None:
    if show_all:
        for reason in reasons:
            click.echo(f"  - {reason}")
        return
    groups: dict[tuple[str, str, str], list[str]] = {}
    for reason in reasons:
        groups.setdefault((reason.op, reason.reason, reason.hint), []).append(reason.node)
    for (op, why, hint), nodes in groups.items():
        tail = f" ({hint})" if hint else ""
        more = f" and {len(nodes) - 1} more" if len(nodes) > 1 else ""
        click.echo(f"  - {op} '{_short(nodes[0])}'{more}: {why}{tail}")


def _short(name: str) -> str:
    """A node name that fits on a line; names of fused TensorFlow operators run to hundreds."""
    keep = 28
    return name if len(name) <= 2 * keep + 3 else f"{name[:keep]}...{name[-keep:]}"
