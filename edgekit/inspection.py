"""What is in a model, and what each target can and cannot take, without running anything."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from edgekit import registry
from edgekit.calibration.ranges import Ranges, TensorRange
from edgekit.errors import EdgeKitError, Reason
from edgekit.ir import Model, Signature
from edgekit.ir.analysis import macs, op_counts, parameters
from edgekit.passes.canonicalize.pipeline import canonicalize
from edgekit.passes.quantize.decide import decide, wanted_tensors
from edgekit.vocabulary import CpuPolicy, Target


@dataclass(frozen=True)
class TargetVerdict:
    """What one target makes of a model.

    Attributes:
        target: the target.
        unsupported: nodes that it cannot take at all; empty when the model converts.
        stays_float: nodes of an INT8 artifact that would stay in float.
        quantized: how many nodes would run in INT8.
        problem: why nothing can be said, such as a missing package; empty otherwise.
    """

    target: Target
    unsupported: tuple[Reason, ...] = ()
    stays_float: tuple[Reason, ...] = ()
    quantized: int = 0
    problem: str = ""


@dataclass(frozen=True)
class Inspection:
    """A model in numbers.

    Attributes:
        name: of the model.
        frontend: what read it, with its version.
        sha256: of the file.
        notes: of the frontend.
        signature: the source's inputs and outputs.
        operators: operator type → count, after canonicalization.
        parameters: number of weights.
        macs: multiply-accumulates of one sample.
        targets: one verdict each.
    """

    name: str
    frontend: str
    sha256: str | None
    notes: tuple[str, ...]
    signature: Signature
    operators: Mapping[str, int]
    parameters: int
    macs: int
    targets: tuple[TargetVerdict, ...]

    def to_json(self) -> dict[str, Any]:
        """This as a JSON object."""
        return asdict(self)


def inspect(model: Model) -> Inspection:
    """Look at a model.

    Args:
        model: as a frontend read it.

    Returns:
        Its contract, its size, and what each target would do with it.
    """
    canonical = canonicalize(model)
    source = model.source
    return Inspection(
        name=model.name,
        frontend=f"{source.frontend} {source.frontend_version}".strip(),
        sha256=source.sha256,
        notes=source.notes,
        signature=model.signature,
        operators=dict(sorted(op_counts(canonical).items())),
        parameters=parameters(canonical),
        macs=macs(canonical).total,
        targets=tuple(_verdict(canonical, target) for target in Target),
    )


def _verdict(model: Model, target: Target) -> TargetVerdict:
    try:
        converter = registry.converter(target)
        unsupported = converter.explain(model)
        legal = converter.legal_ops
        plan = decide(
            model, _any_ranges(wanted_tensors(model, legal)), legal, cpu=CpuPolicy.PORTABLE
        )
    except EdgeKitError as e:
        return TargetVerdict(target, problem=str(e))
    quantized = sum(node.int8 for node in plan.nodes.values())
    return TargetVerdict(target, unsupported, plan.float_nodes, quantized)


def _any_ranges(names: set[str]) -> Ranges:
    """Ranges that stand in for a calibration: which nodes can be INT8 does not depend on them."""
    unit = TensorRange(observed_min=-1.0, observed_max=1.0, low=-1.0, high=1.0, count=1)
    return Ranges(dict.fromkeys(names, unit), samples=0, observer="none")
