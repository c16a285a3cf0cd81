"""The quantization plan: every decision for one target, visible and editable.

A plan is a JSON document with two tables. `tensors` holds the parameters of each quantized
tensor; `nodes` says for each node whether it runs in INT8 and which entry each of its operands is
read through. `apply` turns a plan into Q/DQ pairs and decides nothing itself.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edgekit.calibration.ranges import read_json
from edgekit.errors import InputError, Reason
from edgekit.passes.quantize._document import Reader
from edgekit.vocabulary import CpuPolicy, Target, Word

VERSION = 1
"""Version of the plan document."""

DTYPES = {"int8": (-128, 127), "uint8": (0, 255), "int32": (-(2**31), 2**31 - 1)}
"""Integer types a plan can store, with their limits."""


class NodePrecision(Word):
    """The arithmetic of one node."""

    INT8 = "int8"
    FLOAT = "float"
    INTEGER = "integer"
    """It has no float tensors (shape arithmetic, indices), so there is nothing to quantize."""


@dataclass(frozen=True)
class TensorPlan:
    """How one tensor is quantized: real = (integer − zero_point) × scale.

    Attributes:
        tensor: name of the tensor in the graph. Usually the key of the entry; a tensor that
            different nodes read with different parameters has an entry for each of them.
        dtype: `int8`, `uint8` or `int32`.
        scale: one value, or one per channel; positive.
        zero_point: as many values as `scale`.
        axis: the channel axis; None for one scale.
        low: lowest integer used (weights may keep within fewer bits than the type has).
        high: highest integer used.
        constant: whether the tensor is an initializer, stored as integers.
        why: where the parameters come from.
    """

    tensor: str
    dtype: str
    scale: tuple[float, ...]
    zero_point: tuple[int, ...]
    low: int
    high: int
    axis: int | None = None
    constant: bool = False
    why: str = ""

    def same_parameters(self, other: TensorPlan) -> bool:
        """Whether integers mean the same in both."""
        mine = (self.dtype, self.scale, self.zero_point, self.axis)
        return mine == (other.dtype, other.scale, other.zero_point, other.axis)


@dataclass(frozen=True)
class NodePlan:
    """What becomes of one node.

    Attributes:
        op: its ONNX operator type.
        precision: what it computes in.
        reason: why it stays float, or what is special about it.
        hint: what the user can do about it.
        inputs: operand index → key of the `tensors` entry it is read through.
    """

    op: str
    precision: NodePrecision
    reason: str = ""
    hint: str = ""
    inputs: Mapping[int, str] = field(default_factory=dict)

    @property
    def int8(self) -> bool:
        """Whether it runs in integers."""
        return self.precision is NodePrecision.INT8


@dataclass(frozen=True)
class QuantPlan:
    """Every quantization decision for one target.

    Attributes:
        target: who the plan is for.
        cpu: which x86 CPUs the artifact must be exact on.
        tensors: parameters, by key.
        nodes: decision for every node of the graph, by node name.
        outputs: graph output → key of the entry it leaves through.
        model_hash: digest of the graph the plan was made for.
    """

    target: Target
    cpu: CpuPolicy
    tensors: Mapping[str, TensorPlan]
    nodes: Mapping[str, NodePlan]
    outputs: Mapping[str, str] = field(default_factory=dict)
    model_hash: str = ""

    @property
    def float_nodes(self) -> tuple[Reason, ...]:
        """The nodes that stay in float, with the reason."""
        return tuple(
            Reason(name, node.op, node.reason, node.hint)
            for name, node in self.nodes.items()
            if node.precision is NodePrecision.FLOAT
        )

    def to_json(self) -> dict[str, Any]:
        """This as a JSON object."""
        return {
            "version": VERSION,
            "target": str(self.target),
            "cpu": str(self.cpu),
            "model_hash": self.model_hash,
            "tensors": {key: _tensor_json(entry) for key, entry in self.tensors.items()},
            "nodes": {name: _node_json(node) for name, node in self.nodes.items()},
            "outputs": dict(self.outputs),
        }

    @classmethod
    def from_json(cls, document: Any) -> QuantPlan:
        """Read and validate a JSON object.

        Raises:
            InputError: naming the part of the document that is wrong.
        """
        top = Reader(document, "the quantization plan")
        version = top.integer("version")
        if version != VERSION:
            raise InputError(
                f"the quantization plan has version {version}; this EdgeKit reads {VERSION}."
            )
        tensors = {key: _read_tensor(reader) for key, reader in top.table("tensors")}
        plan = cls(
            target=Target(top.word("target", [str(t) for t in Target])),
            cpu=CpuPolicy(top.word("cpu", [str(c) for c in CpuPolicy])),
            tensors=tensors,
            nodes={name: _read_node(reader) for name, reader in top.table("nodes")},
            outputs=top.strings("outputs"),
            model_hash=top.text("model_hash"),
        )
        _check_keys(plan)
        return plan

    def save(self, path: Path) -> None:
        """Write the document."""
        path.write_text(json.dumps(self.to_json(), indent=1) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, path: Path) -> QuantPlan:
        """Read a document that `save` wrote.

        Raises:
            InputError: if the file cannot be read or is not valid.
        """
        return cls.from_json(read_json(path))


def _tensor_json(entry: TensorPlan) -> dict[str, Any]:
    return {
        "tensor": entry.tensor,
        "dtype": entry.dtype,
        "scale": list(entry.scale),
        "zero_point": list(entry.zero_point),
        "axis": entry.axis,
        "range": [entry.low, entry.high],
        "constant": entry.constant,
        "why": entry.why,
    }


def _node_json(node: NodePlan) -> dict[str, Any]:
    document: dict[str, Any] = {"op": node.op, "precision": str(node.precision)}
    if node.reason:
        document["reason"] = node.reason
    if node.hint:
        document["hint"] = node.hint
    if node.inputs:
        document["inputs"] = {str(index): key for index, key in node.inputs.items()}
    return document


def _read_tensor(reader: Reader) -> TensorPlan:
    dtype = reader.word("dtype", list(DTYPES))
    low, high = reader.pair("range")
    scale, zero_point = reader.numbers("scale"), reader.integers("zero_point")
    axis = reader.optional_integer("axis")
    bottom, top = DTYPES[dtype]
    reader.require(bottom <= low < high <= top, f"'range' must lie within {dtype}")
    reader.require(bool(scale) and min(scale) > 0, "'scale' must be positive")
    reader.require(len(scale) == len(zero_point), "'scale' and 'zero_point' differ in length")
    reader.require(all(bottom <= z <= top for z in zero_point), f"'zero_point' is not {dtype}")
    reader.require(axis is None or axis >= 0, "'axis' must not be negative")
    reader.require(axis is not None or len(scale) == 1, "many scales need an 'axis'")
    return TensorPlan(
        tensor=reader.text("tensor"),
        dtype=dtype,
        scale=scale,
        zero_point=zero_point,
        low=low,
        high=high,
        axis=axis,
        constant=reader.boolean("constant"),
        why=reader.text("why"),
    )


def _read_node(reader: Reader) -> NodePlan:
    inputs = reader.strings("inputs")
    reader.require(
        all(key.isdecimal() and key.isascii() for key in inputs),
        "'inputs' keys must be operand indices",
    )
    return NodePlan(
        op=reader.text("op"),
        precision=NodePrecision(reader.word("precision", [str(p) for p in NodePrecision])),
        reason=reader.text("reason"),
        hint=reader.text("hint"),
        inputs={int(index): key for index, key in inputs.items()},
    )


def _check_keys(plan: QuantPlan) -> None:
    for name, node in plan.nodes.items():
        for index, key in node.inputs.items():
            if key not in plan.tensors:
                raise InputError(
                    f"nodes['{name}'] reads operand {index} through '{key}', "
                    "which is not in 'tensors'."
                )
    for name, key in plan.outputs.items():
        if key not in plan.tensors:
            raise InputError(f"outputs['{name}'] names '{key}', which is not in 'tensors'.")
