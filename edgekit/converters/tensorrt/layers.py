"""Reads from a TensorRT build log which nodes became INT8 layers.

With detailed profiling verbosity the builder logs one message that starts with `Layers:`, a line
for each layer of the engine with its type, the datatypes it reads and the ONNX nodes in it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

HEADER = "Layers:"
"""How the message in the log begins."""

_LINE = re.compile(
    r"^Name: (?P<name>.*?), LayerType: (?P<kind>\w+), Inputs: (?P<inputs>.*?), "
    r"Constants: (?P<constants>.*?), Outputs: .*?Metadata: (?P<metadata>.*)$"
)
_TYPE = re.compile(r"Datatype: (\w+)")
_POINTWISE = "kgen"
"""Generated kernels around the multiplications: scaling, rounding, activations, copies."""


@dataclass(frozen=True)
class Layer:
    """One layer of an engine.

    Attributes:
        name: the builder's name for it.
        kind: such as `correlation`, `gemm` or `kgen`.
        inputs: datatypes of the tensors it reads.
        constants: datatypes of its constants.
        metadata: the ONNX nodes in it, as the builder writes them.
    """

    name: str
    kind: str
    inputs: tuple[str, ...]
    constants: tuple[str, ...]
    metadata: str

    def has(self, node: str) -> bool:
        """Whether an ONNX node is part of this layer."""
        return f"[ONNX Layer: {node}]" in self.metadata

    @property
    def multiplies_int8(self) -> bool:
        """Whether both operands of its multiplication are int8."""
        operands = (self.inputs + self.constants)[:2]
        return self.kind != _POINTWISE and operands == ("Int8", "Int8")


def parse_layers(message: str) -> tuple[Layer, ...]:
    """The layers in a log message that starts with `Layers:`."""
    matches = (_LINE.match(line) for line in message.splitlines())
    return tuple(
        Layer(
            m["name"],
            m["kind"],
            tuple(_TYPE.findall(m["inputs"])),
            tuple(_TYPE.findall(m["constants"])),
            m["metadata"],
        )
        for m in matches
        if m
    )


def missing_int8(layers: Iterable[Layer], expected: Iterable[str]) -> tuple[str, ...]:
    """The expected nodes that no layer multiplies in INT8."""
    proven = [layer for layer in layers if layer.multiplies_int8]
    return tuple(node for node in expected if not any(layer.has(node) for layer in proven))
