"""Writes `tflite_operators.md` from the tables that the TFLite converter works by.

python docs/generate_operators.py            # write the page
python docs/generate_operators.py --check    # exit 1 if the page is not what the tables say
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

from edgekit.converters.tflite.kernels import KERNELS, WHY_NOT
from edgekit.converters.tflite.legal import LEGAL
from edgekit.converters.tflite.ops.unsupported import LOWERINGS as REFUSED
from edgekit.converters.tflite.table import LOWERINGS
from edgekit.errors import Reason
from edgekit.ir import Model, Source
from edgekit.passes.quantize.rules import OpRule

PAGE = Path(__file__).with_name("tflite_operators.md")
COMMAND = "python docs/generate_operators.py"

REWRITTEN = {"GlobalAveragePool": "ReduceMean", "GlobalMaxPool": "ReduceMax"}
"""Operators that channels-last rewriting turns into others, before anything is lowered."""

INTRODUCTION = f"""# ONNX operators on the TFLite target

<!-- Written by `{COMMAND}`. Change the tables, not this page. -->

What the TFLite converter lowers, as `edgekit/converters/tflite/table.py` lists it. The input is a
canonical graph at opset 21, so an operator that canonicalization folds, fuses or inlines never gets
here. A lowering may still refuse a node for its attributes, types or shapes; `edgekit inspect`
names each node that is refused, and why.

The column INT8 says what happens to a node in `-p int8`:

- **yes**: the legal-op table `legal.py` quantizes it, unless a condition named there fails;
- **follows**: it moves or selects values, so it is in INT8 where its neighbours are;
- **if quantized**: calibration leaves it in float; where the source model has Q/DQ pairs around
  it already, the converter uses TFLite's int8 kernel;
- empty: it has no int8 kernel that is used here. A node with float operands runs in float.
"""


def page() -> str:
    """The whole page."""
    lowered = sorted({*LOWERINGS, *REWRITTEN} - refused())
    lines = [INTRODUCTION, f"## Lowered: {len(lowered)}\n"]
    lines += table(("operator", "lowered in", "INT8", "notes"), map(row, lowered))
    lines += ["", f"## Refused: {len(refused())}\n", "Each node is reported with this reason.\n"]
    lines += table(("operator", "reason", "what to do"), map(refusal, sorted(refused())))
    return "\n".join(lines) + "\n"


def refused() -> set[str]:
    """Operators whose only lowering says why there is none."""
    return {op for op in REFUSED if LOWERINGS[op] is REFUSED[op]}


def table(head: tuple[str, ...], rows: Iterator[tuple[str, ...]]) -> list[str]:
    """A Markdown table."""
    return [_line(head), _line(("---",) * len(head)), *map(_line, rows)]


def _line(cells: tuple[str, ...]) -> str:
    return "| " + " | ".join(cells) + " |"


def row(op: str) -> tuple[str, str, str, str]:
    """One operator that is lowered."""
    if op in REWRITTEN:
        where = f"`layout.py`, as {REWRITTEN[op]}"
    else:
        where = f"`ops/{LOWERINGS[op].__module__.rpartition('.')[2]}.py`"
    rule = LEGAL.rule(op)
    if rule is not None:
        return op, where, "follows" if rule.passive else "yes", "; ".join(notes(rule))
    why = LEGAL.float_reasons.get(op) or WHY_NOT.get(op, "")
    return op, where, "if quantized" if op in KERNELS else "", why


def notes(rule: OpRule) -> Iterator[str]:
    """What the legal-op table demands of a node."""
    if rule.weight is not None:
        yield f"constant weight: {'per channel' if rule.weight.axis else 'per tensor'}"
    if rule.bias is not None:
        yield f"bias: {rule.bias.kind.value}"
    if rule.same_scale:
        yield "one scale for inputs and outputs"
    if rule.output is not None:
        yield f"output scale {rule.output.scale:g}, zero point {rule.output.zero_point}"
    for condition in rule.conditions:
        yield f"not if {condition.reason}"


def refusal(op: str) -> tuple[str, str, str]:
    """One operator that is refused, asked of the converter itself."""
    found = explain(op)
    return op, found.reason, found.hint


def explain(op: str) -> Reason:
    """What the converter says of a graph with one node of a type."""
    import onnx_ir

    from edgekit.converters.tflite.converter import TFLiteConverter

    read = onnx_ir.val("x", onnx_ir.DataType.FLOAT, [1])
    made = onnx_ir.val("y", onnx_ir.DataType.FLOAT, [1])
    node = onnx_ir.node(op, [read], outputs=[made], name="node")
    graph = onnx_ir.Graph([read], [made], nodes=[node], opset_imports={"": 21}, name=op)
    model = Model(onnx_ir.Model(graph, ir_version=10), source=Source(op))
    return TFLiteConverter().explain(model)[0]


def main(arguments: list[str]) -> int:
    """Write or check the page."""
    if arguments not in ([], ["--check"]):
        sys.stderr.write(f"usage: {COMMAND} [--check]\n")
        return 2
    text = page()
    if not arguments:
        PAGE.write_text(text, encoding="utf-8")
    elif not PAGE.is_file() or PAGE.read_text(encoding="utf-8") != text:
        sys.stderr.write(f"{PAGE.name} is not what the tables say; run `{COMMAND}`\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
