"""What came of a compile: its manifest, and whether a build should stop on it."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

from edgekit.bundle import Artifact, Bundle, Manifest, Port
from edgekit.bundle.manifest import port_to_json
from edgekit.errors import GateError, UnsupportedError
from edgekit.ir import Model, TensorSpec
from edgekit.recipe import Recipe


def manifest_of(
    source: Model,
    recipe: Recipe,
    calibration: Mapping[str, Any] | None,
    artifacts: Sequence[Artifact],
) -> Manifest:
    """What the manifest says of a compile, on this machine."""
    from edgekit import __version__
    from edgekit.environment import environment

    signature = source.signature
    preprocessing = source.preprocessing
    return Manifest(
        edgekit=__version__,
        source={
            **vars(source.source),
            "notes": list(source.source.notes),
            "inputs": _ports_json(signature.inputs),
            "outputs": _ports_json(signature.outputs),
        },
        options={
            "targets": [str(t) for t in recipe.targets],
            "precision": str(recipe.precision),
            "io": str(recipe.io),
            "io_layout": None if recipe.io_layout is None else str(recipe.io_layout),
            "cpu": str(recipe.cpu),
            "keep_float": [o.keep_float for o in recipe.overrides],
        },
        environment=environment().to_json(),
        calibration=calibration,
        preprocessing=None if preprocessing is None else preprocessing.to_json(),
        artifacts=tuple(artifacts),
    )


def _ports_json(specs: Sequence[TensorSpec]) -> list[dict[str, Any]]:
    return [port_to_json(Port(spec)) for spec in specs]


def refuse_if_nothing_came_out(artifacts: Sequence[Artifact], model: Model) -> None:
    """Raise when there would be nothing in the bundle.

    Raises:
        UnsupportedError: with the reasons of every target.
    """
    if any(item.path for item in artifacts):
        return
    if len(artifacts) == 1:
        raise UnsupportedError("\n".join(artifacts[0].notes))
    lines = itertools.chain.from_iterable(item.notes for item in artifacts)
    text = "\n".join(dict.fromkeys(lines))
    raise UnsupportedError(f"no target can take '{model.name}'.\n{text}")


def check_outcome(bundle: Bundle) -> None:
    """Turn failed artifacts into the error that a build should stop on.

    Raises:
        UnsupportedError: if a target could not take the model.
        GateError: if an artifact does not run, or is not the model it was made from.
    """
    failed = [item for item in bundle.artifacts if item.status == "failed"]
    wrong = [item for item in failed if item.path]
    text = "\n".join(f"{item.target}: {note}" for item in failed for note in item.notes)
    if wrong:
        raise GateError(f"{len(wrong)} of the artifacts failed verification.\n{text}")
    if failed:
        raise UnsupportedError(
            f"{len(failed)} of {len(bundle.artifacts)} targets cannot take the model.\n{text}",
            hint=f"the others are in '{bundle.path}'; choose targets with -t",
        )
