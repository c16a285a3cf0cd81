"""Recognises activation functions that exporters write out as arithmetic."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import onnx_ir

from edgekit.passes.base import NodePass
from edgekit.passes.canonicalize.algebra import (
    close,
    inner_values,
    lines,
    number,
    product,
    sum_with_number,
)
from edgekit.passes.canonicalize.fuse_clip import clip_bounds
from edgekit.passes.canonicalize.rewrite import add_node, attribute, producer, replace

_TANH_SLOPE = math.sqrt(2 / math.pi)
_TANH_CUBE = 0.044715 * _TANH_SLOPE


@dataclass(frozen=True)
class _Match:
    op_type: str
    data: onnx_ir.Value
    attributes: dict[str, float | str]


class FuseActivations(NodePass):
    """Writes Gelu (exact and with tanh), HardSigmoid, HardSwish, Softplus and Mish as one node.

    ```
    before   a = Div(x, 1.4142135); b = Erf(a); c = Add(b, 1.0); d = Mul(x, c); y = Mul(d, 0.5)
    after    y = Gelu(x)

    before   a = Add(x, 3.0); b = Clip(a, 0.0, 6.0); c = Mul(x, b); y = Div(c, 6.0)
    after    y = HardSwish(x)
    ```

    The order of factors and how constants are split between them do not matter. SiLU stays
    `Mul(x, Sigmoid(x))`: opset 21 has no operator for it, and every target either has both parts
    as integer operators or fuses the pair by itself.
    """

    ops = frozenset({"Clip", "Div", "Log", "Mul"})

    def rewrite(self, node: onnx_ir.Node) -> bool:
        """Fuse the formula that ends in one node."""
        output = node.outputs[0]
        for recognise in _RECOGNISE[node.op_type]:
            match = recognise(output)
            if match is not None:
                name = node.name
                new = add_node(
                    node, match.op_type, [match.data], match.attributes, like=output, name=name
                )
                replace(output, new)
                return True
        return False


def _gelu(root: onnx_ir.Value) -> _Match | None:
    """`0.5 * x * (1 + erf(x / sqrt(2)))`, or with tanh."""
    for gate, inner in _gates(root, "Erf", "Tanh"):
        exact = producer(inner, "Erf") is not None
        argument = _argument(inner)
        for x in _candidates(root, gate):
            whole = product(root, (x, gate))
            if not close(whole.number, 0.5) or sorted(map(id, whole.factors)) != sorted(
                (id(x), id(gate))
            ):
                continue
            if exact and _is_scaled(argument, x, math.sqrt(0.5)):
                return _Match("Gelu", x, {})
            if not exact and _is_tanh_argument(argument, x):
                return _Match("Gelu", x, {"approximate": "tanh"})
    return None


def _gates(root: onnx_ir.Value, *functions: str) -> Iterator[tuple[onnx_ir.Value, onnx_ir.Value]]:
    """Factors of the form `1 + f(...)`."""
    for value in inner_values(root):
        found = sum_with_number(value)
        if found is not None and close(found[0], 1.0) and producer(found[1], *functions):
            yield value, found[1]


def _candidates(root: onnx_ir.Value, gate: onnx_ir.Value) -> Iterator[onnx_ir.Value]:
    return (value for value in inner_values(root) if value not in (root, gate))


def _argument(value: onnx_ir.Value) -> onnx_ir.Value:
    node = value.producer()
    found = node.inputs[0] if node is not None else None
    return found if found is not None else value


def _is_scaled(value: onnx_ir.Value, x: onnx_ir.Value, factor: float) -> bool:
    found = product(value, (x,))
    return found.is_power(x, 1) and close(found.number, factor, x)


def _is_tanh_argument(value: onnx_ir.Value, x: onnx_ir.Value) -> bool:
    """`sqrt(2 / pi) * (x + 0.044715 * x**3)`, possibly with x pulled out of the sum."""
    whole = product(value, (x,))
    outside = [factor for factor in whole.factors if factor is x]
    sums = [factor for factor in whole.factors if factor is not x]
    node = producer(sums[0], "Add") if len(sums) == 1 else None
    if node is None or len(outside) > 1:
        return False
    linear, cubic = 1 - len(outside), 3 - len(outside)
    for low, high in (node.inputs[:2], node.inputs[1::-1]):
        slope = _coefficient(low, x, linear)
        cube = _coefficient(high, x, cubic)
        if slope is not None and cube is not None:
            return close(whole.number * slope, _TANH_SLOPE, x) and close(
                whole.number * cube, _TANH_CUBE, x
            )
    return False


def _coefficient(value: onnx_ir.Value | None, x: onnx_ir.Value, exponent: int) -> float | None:
    if value is None:
        return None
    if exponent == 0:
        return number(value, x)
    found = product(value, (x,))
    return found.number if found.is_power(x, exponent) else None


def _hard_swish(root: onnx_ir.Value) -> _Match | None:
    """`x * clip(x / 6 + 1 / 2, 0, 1)`."""
    for gate in inner_values(root):
        node = gate.producer()
        if node is None or node.op_type not in ("Clip", "HardSigmoid"):
            continue
        for slope, offset, high, x in _ramps(node):
            whole = product(root, (x, gate))
            if sorted(map(id, whole.factors)) != sorted((id(x), id(gate))):
                continue
            scale = whole.number
            if (
                close(scale * high, 1.0, x)
                and close(scale * slope, 1 / 6, x)
                and close(scale * offset, 0.5, x)
            ):
                return _Match("HardSwish", x, {})
    return None


def _hard_sigmoid(root: onnx_ir.Value) -> _Match | None:
    """`clip(a * x + b, 0, 1)`, or `clip(..., 0, 6) / 6`."""
    whole = product(root)
    if len(whole.factors) != 1:
        return None
    node = producer(whole.factors[0], "Clip")
    if node is None:
        return None
    scale = whole.number
    ramps = [ramp for ramp in _ramps(node) if close(scale * ramp[2], 1.0, ramp[3])]
    if not ramps:
        return None
    # The reading closest to the clip with an offset: a scaling further up is another layer's.
    chosen = next((ramp for ramp in ramps if ramp[1] != 0), None)
    if chosen is None:
        return None
    following = [ramp for ramp in ramps if ramp[1] == chosen[1]]
    slope, offset, _, x = following[-1]
    return _Match("HardSigmoid", x, {"alpha": scale * slope, "beta": scale * offset})


def _ramps(node: onnx_ir.Node) -> Iterator[tuple[float, float, float, onnx_ir.Value]]:
    """Readings of a clip from 0 as (slope, offset, upper bound, x)."""
    if node.op_type == "HardSigmoid" and node.inputs[0] is not None:
        yield attribute(node, "alpha", 0.2), attribute(node, "beta", 0.5), 1.0, node.inputs[0]
        return
    found = clip_bounds(node)
    if found is None or found[1].low != 0 or not math.isfinite(found[1].high):
        return
    for line in lines(found[0]):
        if line.slope > 0:
            yield line.slope, line.offset, found[1].high, line.value


def _softplus(root: onnx_ir.Value) -> _Match | None:
    """`log(1 + exp(x))`."""
    found = sum_with_number(_argument(root))
    node = producer(found[1], "Exp") if found is not None and close(found[0], 1.0) else None
    if node is None or node.inputs[0] is None:
        return None
    return _Match("Softplus", node.inputs[0], {})


def _mish(root: onnx_ir.Value) -> _Match | None:
    """`x * tanh(softplus(x))`."""
    node = root.producer()
    if node is None or node.op_type != "Mul":
        return None
    for x, gate in (node.inputs[:2], node.inputs[1::-1]):
        tanh = producer(gate, "Tanh")
        softplus = producer(tanh.inputs[0], "Softplus") if tanh is not None else None
        if x is not None and softplus is not None and softplus.inputs[0] is x:
            return _Match("Mish", x, {})
    return None


_RECOGNISE: dict[str, tuple[Callable[[onnx_ir.Value], _Match | None], ...]] = {
    "Clip": (_hard_sigmoid,),
    "Div": (_gelu, _hard_swish, _hard_sigmoid),
    "Log": (_softplus,),
    "Mul": (_gelu, _hard_swish, _mish, _hard_sigmoid),
}
