"""Decides which nodes keep float32 weights when a model's weights are rounded to float16.

Rounding to float16 is harmless almost everywhere (a relative error of 2^-11). In a few models some
early weights are amplified on their way to the outputs. They are found by measuring: each node's
weights are rounded alone, and those that move the outputs most stay float32 until what is left
stays within the limit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import onnx_ir
from numpy.typing import NDArray

from edgekit.errors import Reason
from edgekit.ir import Oracle

Arrays = Mapping[str, NDArray[Any]]

SMALL_CONSTANT = 256
"""Elements below which storing a constant as float16 saves nothing worth a node."""

LARGEST = float(np.finfo(np.float16).max)
"""Largest finite float16, 65504."""

LIMIT = 2e-3
"""Greatest difference of an output, as a share of its range, that rounding may make on the probes.

A fifth of what users are told to expect (1e-2), since other inputs may do worse than the probes.
"""

_PROBES = 4
_SEARCH_BYTES = 256 << 20
"""Models with more weights than this are not searched: their weights do not fit in feeds twice."""


def rounds(array: NDArray[Any]) -> bool:
    """Whether a float32 constant is worth storing as float16, and can be.

    Biases and other vectors weigh little, and their rounding shifts every output.
    """
    if array.ndim < 2 or array.size < SMALL_CONSTANT or array.dtype != np.float32:
        return False
    return bool(np.abs(array).max() <= LARGEST)


def sensitive_nodes(model: onnx_ir.Model, probes: Sequence[Arrays]) -> tuple[Reason, ...]:
    """The nodes whose weights must stay float32.

    Args:
        model: a canonical float graph; it is not changed.
        probes: inputs to measure with; the first few are used.

    Returns:
        One reason per node; empty for most models.
    """
    weights = _weights(model)
    if not weights or sum(map(_bytes, weights.values())) > _SEARCH_BYTES:
        return ()
    with _Trial(model, weights, probes[:_PROBES]) as trial:
        if trial.error(weights) <= LIMIT:
            return ()
        alone = {name: trial.error([name]) for name in weights}
        gain = {name: alone[name] ** 2 / _bytes(weights[name]) for name in weights}
        order = sorted(weights, key=gain.__getitem__, reverse=True)
        kept = order[: _fewest(len(order), lambda n: trial.error(order[n:]) <= LIMIT)]
    ops = {node.name: node.op_type for node in model.graph}
    return tuple(
        Reason(
            name,
            ops[name],
            f"rounding its weights to float16 moves an output by {alone[name]:.1%} of its range",
        )
        for name in kept
    )


def _fewest(most: int, enough: Callable[[int], bool]) -> int:
    """The least n up to `most` that is enough, as if every greater one were too."""
    low, high = 0, 1
    while high < most and not enough(high):
        low, high = high, 2 * high
    high = min(high, most)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high


def _bytes(values: Sequence[onnx_ir.Value]) -> int:
    return sum(v.const_value.nbytes for v in values if v.const_value is not None)


def _weights(model: onnx_ir.Model) -> dict[str, list[onnx_ir.Value]]:
    """Node name → the constants it reads that would be rounded."""
    found: dict[str, list[onnx_ir.Value]] = {}
    for node in model.graph:
        for value in node.inputs:
            constant = value.const_value if value is not None else None
            if value is None or constant is None or constant.dtype != onnx_ir.DataType.FLOAT:
                continue
            if rounds(constant.numpy()):
                found.setdefault(node.name or "", []).append(value)
    return found


class _Trial:
    """Runs the graph with some weights rounded, in one session: weights become inputs."""

    def __init__(
        self,
        model: onnx_ir.Model,
        weights: Mapping[str, Sequence[onnx_ir.Value]],
        probes: Sequence[Arrays],
    ) -> None:
        self._rounded = {
            name: {v.name or "": _rounded(v) for v in values} for name, values in weights.items()
        }
        self._probes = probes
        copy = model.clone()
        for name in dict.fromkeys(n for group in self._rounded.values() for n in group):
            # An initializer that is also an input is a default that a feed replaces.
            copy.graph.inputs.append(copy.graph.initializers[name])
        self._oracle = Oracle(copy)
        self._expected = [self._oracle.run(feeds) for feeds in probes]
        self._spans = _spans(self._expected)

    def error(self, nodes: Iterable[str]) -> float:
        """Greatest change of an output, as a share of its range, with these nodes rounded."""
        feeds = {k: v for name in nodes for k, v in self._rounded[name].items()}
        worst = 0.0
        for probe, expected in zip(self._probes, self._expected, strict=True):
            got = self._oracle.run({**probe, **feeds})
            for name, span in self._spans.items():
                change = np.abs(got[name].astype(np.float64) - expected[name])
                worst = max(worst, float(np.nanmax(change, initial=0.0)) / span)
        return worst

    def __enter__(self) -> _Trial:
        return self

    def __exit__(self, *error: object) -> None:
        self._oracle.close()


def _rounded(value: onnx_ir.Value) -> NDArray[Any]:
    constant = value.const_value
    array = constant.numpy() if constant is not None else np.zeros((), np.float32)
    return array.astype(np.float16).astype(np.float32)


def _spans(outputs: Sequence[Mapping[str, NDArray[Any]]]) -> dict[str, float]:
    """Range of each float output over the probes; outputs that do not vary are left out."""
    spans = {}
    for name, first in outputs[0].items():
        if first.dtype != np.float32:
            continue
        values = np.concatenate([o[name].ravel() for o in outputs]).astype(np.float64)
        values = values[np.isfinite(values)]
        if values.size and np.ptp(values) > 0:
            spans[name] = float(np.ptp(values))
    return spans
