"""`edgekit build`: the TensorRT plan of a bundle, on the machine that will run it."""

from __future__ import annotations

from pathlib import Path

import click


@click.command(name="build")
@click.argument("bundle", type=click.Path(path_type=Path))
def command(bundle: Path) -> int:
    """Build the TensorRT plan of BUNDLE for the GPU of this machine.

    The plan is written beside the bundle's ONNX file. TensorRT's log is read to check that every
    layer that should be INT8 is.
    """
    from edgekit.building import build

    built = build(bundle)
    click.echo(f"{built.path}: for {built.serves}, {built.int8_layers} INT8 layers")
    return 0
