"""The types of a legal-op table: what a target can run in INT8, as data.

A table (`edgekit/converters/<target>/legal.py`, exported as `LEGAL`) holds one `OpRule` for each
operator that may be quantized. `decide` reads the table; nothing else about a target is known to
quantization. What is *wanted* (ranges, overrides) never appears here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from types import MappingProxyType
from typing import TYPE_CHECKING

from edgekit.vocabulary import CpuPolicy, Target

if TYPE_CHECKING:
    import onnx_ir


@dataclass(frozen=True)
class QType:
    """An integer type with the part of its range that is used.

    Attributes:
        dtype: NumPy name of the stored type: `int8`, `uint8` or `int32`.
        symmetric: whether the zero point is always 0; only for signed types.
        narrow: whether the lowest value is left out, so that the range mirrors around zero.
        bits: how many bits of the type are used.
    """

    dtype: str
    symmetric: bool
    narrow: bool = False
    bits: int = 8

    @property
    def limits(self) -> tuple[int, int]:
        """Lowest and highest integer, both included."""
        if self.dtype.startswith("u"):
            return 0, 2**self.bits - 1
        half = 2 ** (self.bits - 1)
        return -half + int(self.narrow), half - 1


@dataclass(frozen=True)
class Axis:
    """The output-channel axis of a weight, which may depend on an attribute of the node.

    Attributes:
        default: the axis; negative counts from the end.
        attribute: name of an integer attribute that changes it (`transB` of Gemm).
        otherwise: the axis where that attribute is not zero.
    """

    default: int
    attribute: str | None = None
    otherwise: int | None = None


@dataclass(frozen=True)
class WeightRule:
    """How a constant operand of a compute op is quantized.

    Attributes:
        operand: its index among the node's inputs.
        axis: per-channel axis; None means one scale for the tensor.
        rank: rank at which `axis` holds (MatMul: 2); other ranks get one scale. None: any.
        ungrouped: per channel only where the node's `group` is 1.
        type: the integer type.
    """

    operand: int = 1
    axis: Axis | None = None
    rank: int | None = None
    ungrouped: bool = False
    type: QType = QType("int8", symmetric=True, narrow=True)


class BiasKind(str, Enum):
    """What becomes of a constant bias."""

    INT32 = "int32"
    """Stored as int32, zero point 0, scale = input scale × weight scale."""

    FLOAT = "float"
    """Left as it is."""


@dataclass(frozen=True)
class BiasRule:
    """The bias operand of a compute op."""

    operand: int = 2
    kind: BiasKind = BiasKind.INT32


@dataclass(frozen=True)
class Fixed:
    """Quantization parameters that a kernel insists on, or that suit any input."""

    scale: float
    zero_point: int


@dataclass(frozen=True)
class Condition:
    """Something that must hold for a node to be quantized.

    Attributes:
        test: takes the node, gives whether the condition holds.
        reason: why the node stays float where it does not.
        hint: what the user can do about it.
    """

    test: Callable[[onnx_ir.Node], bool]
    reason: str
    hint: str = ""


@dataclass(frozen=True)
class OpRule:
    """How operators of some types are quantized.

    Attributes:
        ops: ONNX operator types this rule is for.
        inputs: indices of the operands that are quantized; None for every float operand. A
            constant among them is quantized with its own min-max.
        weight: how the weight is quantized where that operand is constant.
        bias: how a constant bias is treated.
        same_scale: whether inputs and outputs share one scale and zero point.
        passive: whether the op only moves or selects values, so that it follows its neighbours
            into INT8 and never asks for it by itself.
        output: parameters of the output that are fixed by the op's mathematical range.
        conditions: what must hold of a node.
    """

    ops: tuple[str, ...]
    inputs: tuple[int, ...] | None = None
    weight: WeightRule | None = None
    bias: BiasRule | None = None
    same_scale: bool = False
    passive: bool = False
    output: Fixed | None = None
    conditions: tuple[Condition, ...] = ()


@dataclass(frozen=True)
class Activation:
    """An activation that a kernel applies before it rounds its output.

    Attributes:
        op: ONNX operator type.
        bounds: for Clip, the (low, high) pairs that can be fused; empty: any.
    """

    op: str
    bounds: tuple[tuple[float, float], ...] = ()


@dataclass(frozen=True)
class Fusion:
    """Ops whose output stays unquantized where only a fusable activation reads it."""

    anchors: frozenset[str]
    activations: tuple[Activation, ...]


@dataclass(frozen=True)
class LegalOps:
    """What one target may quantize, and how.

    Attributes:
        target: whose table this is.
        activation: the type of activations.
        rules: one entry per operator that may be quantized.
        closed: whether a quantized node's outputs must be quantized too (integer kernels end in a
            requantization). Otherwise only the inputs that ask for it are.
        fusions: patterns that leave the inner tensor unquantized.
        residual: ops (Conv) whose sum with another tensor is fused when that other tensor is
            quantized; only meaningful where `closed` is false.
        float_reasons: why an operator has no rule, by operator type.
        weight_bits: bits of weights on each CPU policy; 7 where products of 8-bit values would
            saturate in 16 bits.
    """

    target: Target
    activation: QType
    rules: tuple[OpRule, ...]
    closed: bool
    fusions: tuple[Fusion, ...] = ()
    residual: frozenset[str] = frozenset()
    float_reasons: Mapping[str, str] = field(default_factory=dict)
    weight_bits: Mapping[CpuPolicy, int] = field(default_factory=dict)
    _by_op: Mapping[str, OpRule] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        table = {op: rule for rule in self.rules for op in rule.ops}
        object.__setattr__(self, "_by_op", MappingProxyType(table))

    def rule(self, op: str) -> OpRule | None:
        """The rule for an operator type; None where it stays float."""
        return self._by_op.get(op)

    def why_float(self, op: str) -> str:
        """Why an operator type without a rule stays in float."""
        default = f"{op} is not an operator that {self.target} runs in INT8"
        return self.float_reasons.get(op, default)

    def bits(self, cpu: CpuPolicy) -> int:
        """Bits of a weight under a CPU policy."""
        return self.weight_bits.get(cpu, 8)
