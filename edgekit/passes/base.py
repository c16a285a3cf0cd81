"""What a pass is, and how a list of them runs.

A pass is an `onnx_ir.passes` object (`requires`, `call`, `ensures`) that works on an
`onnx_ir.Model` in place and reports whether it changed anything. EdgeKit's passes derive from
`onnx_ir.passes.InPlacePass` and are constructed with their options.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass

import onnx_ir
from onnx_ir.passes import InPlacePass, PassBase, PassResult

from edgekit.errors import EdgeKitError
from edgekit.ir.verify import verify

__all__ = ["InPlacePass", "PassReport", "PassResult", "run_passes"]

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class PassReport:
    """What one pass of a list did."""

    name: str
    modified: bool


def run_passes(model: onnx_ir.Model, passes: Sequence[PassBase]) -> tuple[PassReport, ...]:
    """Run passes in order on `model`, in place, and verify the graph after each that changed it.

    Raises:
        EdgeKitError: if a pass fails or leaves an invalid graph; it names the pass and those
            that ran before it.
    """
    done: list[PassReport] = []
    for step in passes:
        name = type(step).__name__
        try:
            modified = step(model).modified
            if modified:
                verify(model)
        except EdgeKitError:
            raise
        except Exception as e:
            before = ", ".join(report.name for report in done) or "none"
            raise EdgeKitError(f"pass {name} failed (passes before it: {before}): {e}") from e
        logger.debug("pass %s: %s", name, "modified" if modified else "no change")
        done.append(PassReport(name, modified))
    return tuple(done)
