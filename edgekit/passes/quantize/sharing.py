"""Which tensors share one scale, and where a shared scale is not worth it.

An op that only moves or selects integers gives them the scale they came with. A Concat needs one
scale for all it joins, which would tie long chains of them (a dense or shuffled network) to the
widest tensor of the chain. So an operand that shares its scale with others already is requantized
for the Concat where a common scale would cost a bit.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

import onnx_ir

from edgekit.calibration.ranges import Ranges
from edgekit.errors import UsageError
from edgekit.passes.quantize.conditions import operand
from edgekit.passes.quantize.constants import constant_data, is_constant
from edgekit.passes.quantize.groups import Groups
from edgekit.passes.quantize.placed import Placed, Placement
from edgekit.passes.quantize.rules import LegalOps
from edgekit.passes.quantize.saturation import Interval

_A_BIT = 2.0
"""How much wider a common range must be than a tensor needs before it is not shared."""


@dataclass
class Sharing:
    """Sets of tensors with one scale.

    Attributes:
        groups: the sets, with their ranges and fixed parameters.
        variants: (node key, operand) → key of the entry through which that node reads a tensor
            whose own parameters it cannot share.
        origins: the tensor behind each of those entries.
        known: the tensors that are integers.
        readers: how many operands read each of them as such.
        needs: width of the narrowest range that a set was joined from, by root.
    """

    legal: LegalOps
    placement: Placement
    ranges: Ranges
    useful: dict[str, Interval]
    groups: Groups = field(default_factory=Groups)
    variants: dict[tuple[str, int], str] = field(default_factory=dict)
    origins: dict[str, onnx_ir.Value] = field(default_factory=dict)
    known: frozenset[str] = frozenset()
    readers: Counter[str] = field(default_factory=Counter)
    needs: dict[str, float] = field(default_factory=dict)


def share(
    placement: Placement, ranges: Ranges, legal: LegalOps, useful: dict[str, Interval]
) -> Sharing:
    """Join the tensors that share a scale.

    Args:
        placement: where integers are.
        ranges: what calibration found.
        legal: the target's table.
        useful: what interval of a tensor its readers can tell apart.
    """
    work = Sharing(legal, placement, ranges, useful)
    work.known = frozenset((*placement.tensors, *placement.carried))
    work.readers.update(name for p in placement.nodes if p.int8 for name in p.activations)
    for name in placement.tensors:
        if (own := _own(work, name)) is not None:
            work.groups.widen(name, *own)
    shared = [p for p in placement.nodes if p.rule is not None and p.rule.same_scale]
    for placed in placement.nodes:
        if placed.rule is not None and placed.rule.output is not None:
            for name in _results(work, placed):
                work.groups.fix(name, placed.rule.output.scale, placed.rule.output.zero_point)
    # Ops with one operand first: only then is it known what the others would tie together.
    for placed in (p for p in shared if len(p.reads) == 1):
        _join(work, placed)
    for placed in (p for p in shared if len(p.reads) != 1):
        _join(work, placed)
    return work


def _join(work: Sharing, placed: Placed) -> None:
    """Give a node's operands and results one scale; in order, so that fixed ones flow down."""
    keys = [_key(work, placed, index) for index in placed.reads]
    results = _results(work, placed)
    computed = [key for key in keys if key in work.known]
    fixed = {work.groups.parameters(key) for key in computed}
    alike = len(fixed) == 1 and len(computed) == len(keys)
    for position, (index, key) in enumerate(zip(placed.reads, keys, strict=True)):
        if len(keys) > 1 and key in work.known:
            insists = not alike and work.groups.parameters(key) is not None
            if insists or _apart(work, placed, key, results):
                keys[position] = _detach(work, placed, index)
    members = [*keys, *results]
    for member in members[1:]:
        _unite(work, members[0], member)


def _key(work: Sharing, placed: Placed, index: int) -> str:
    value = operand(placed.node, index)
    if value is None or not is_constant(value):
        return (value.name if value is not None else None) or ""
    return _detach(work, placed, index)


def _detach(work: Sharing, placed: Placed, index: int) -> str:
    """Let a node read an operand through an entry of its own; gives that entry's key."""
    value = operand(placed.node, index)
    name = (value.name if value is not None else None) or ""
    key = f"{name}#{placed.key}"
    work.variants[placed.key, index] = key
    if value is None:
        return key
    work.origins[key] = value
    if not is_constant(value):
        work.groups.widen(key, *_span(work, name))
    elif (data := constant_data(value)).size:
        work.groups.widen(key, float(data.min()), float(data.max()))
    return key


def _apart(work: Sharing, placed: Placed, key: str, results: list[str]) -> bool:
    """Whether a Concat should requantize an operand rather than tie its scale to the result's."""
    if placed.node.op_type != "Concat" or not results or _lone(work, key):
        return False
    mine, other = _range(work, key), _range(work, results[0])
    if mine is None or other is None or work.groups.find(key) == work.groups.find(results[0]):
        return False
    common = _width((min(mine[0], other[0]), max(mine[1], other[1])))
    return common >= _A_BIT * min(_need(work, key), _need(work, results[0]))


def _lone(work: Sharing, key: str) -> bool:
    """Whether only one node reads a tensor, which shares its scale with no other."""
    return work.readers[key] == 1 and work.groups.size(key) == 1


def _unite(work: Sharing, first: str, second: str) -> None:
    needs = [_need(work, key) for key in (first, second) if not _lone(work, key)]
    work.groups.join(first, second)
    if needs:
        work.needs[work.groups.find(first)] = min(needs)


def _need(work: Sharing, key: str) -> float:
    """Width of the narrowest range that a set was joined from."""
    span = _range(work, key)
    return work.needs.get(work.groups.find(key), _width(span) if span is not None else 0.0)


def _range(work: Sharing, key: str) -> tuple[float, float] | None:
    return work.groups.ranges.get(work.groups.find(key)) or _own(work, key)


def _width(span: tuple[float, float]) -> float:
    """Width of a range once it holds zero."""
    return max(span[1], 0.0) - min(span[0], 0.0)


def _results(work: Sharing, placed: Placed) -> list[str]:
    return [name for name in placed.results if name in work.known]


def _own(work: Sharing, name: str) -> tuple[float, float] | None:
    """The range of one tensor, as far as its readers can tell its values apart."""
    entry = work.ranges.tensors.get(name)
    if entry is None:
        return None
    useful = work.useful.get(name, Interval())
    low, high = max(entry.low, useful.low), min(entry.high, useful.high)
    return min(low, useful.high), max(high, useful.low)


def _span(work: Sharing, name: str) -> tuple[float, float]:
    """The range of one tensor, not of its group."""
    own = _own(work, name)
    if own is not None:
        return own
    fixed = work.groups.parameters(name)
    if fixed is None:
        raise no_range(name)
    (scale, zero_point), (bottom, top) = fixed, work.legal.activation.limits
    return (bottom - zero_point) * scale, (top - zero_point) * scale


def no_range(name: str) -> UsageError:
    """The error for a tensor that calibration did not watch."""
    return UsageError(
        f"the ranges have no entry for tensor '{name}'.",
        hint="calibrate with the tensors that wanted_tensors names for this target",
    )
