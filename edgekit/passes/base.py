"""What a pass is, and how a list of them runs.

A pass is an `onnx_ir.passes` object (`requires`, `call`, `ensures`) that works on an
`onnx_ir.Model` in place and reports whether it changed anything. EdgeKit's passes derive from
`onnx_ir.passes.InPlacePass` and are constructed with their options; one that looks at nodes of
certain types, one after the other, derives from `NodePass`.
"""

from __future__ import annotations

import logging
from abc import abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

import onnx_ir
from onnx_ir.passes import InPlacePass, PassBase, PassResult

from edgekit.errors import EdgeKitError
from edgekit.ir.verify import InvalidGraphError, verify

__all__ = ["FixedPoint", "InPlacePass", "NodePass", "PassReport", "PassResult", "run_passes"]

logger = logging.getLogger(__name__)

DEFAULT_DOMAINS = ("", "ai.onnx")


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
        except InvalidGraphError as e:
            raise InvalidGraphError(f"pass {name} left an invalid graph: {e.message}") from e
        except EdgeKitError:
            raise
        except Exception as e:
            before = ", ".join(report.name for report in done) or "none"
            raise EdgeKitError(f"pass {name} failed (passes before it: {before}): {e}") from e
        logger.debug("pass %s: %s", name, "modified" if modified else "no change")
        done.append(PassReport(name, modified))
    return tuple(done)


class NodePass(InPlacePass):
    """A pass that looks at every node of certain types, in the main graph and in subgraphs.

    A subclass names the types in `ops` and fills in `rewrite`.
    """

    ops: ClassVar[frozenset[str]]

    def call(self, model: onnx_ir.Model) -> PassResult:
        """Rewrite each node of `ops` once, in topological order."""
        modified = False
        for node in nodes_of(model, self.ops):
            modified = self.rewrite(node) or modified
        return PassResult(model, modified)

    @abstractmethod
    def rewrite(self, node: onnx_ir.Node) -> bool:
        """Change the graph around `node` and say whether anything changed."""


def nodes_of(model: onnx_ir.Model, ops: frozenset[str]) -> Iterator[onnx_ir.Node]:
    """Nodes of the standard domain whose type is in `ops`; those removed meanwhile are skipped."""
    for graph in tuple(model.graphs()):
        for node in tuple(graph):
            if node.op_type in ops and node.graph is graph and node.domain in DEFAULT_DOMAINS:
                yield node


class FixedPoint(InPlacePass):
    """Runs a list of passes again and again until none of them changes anything.

    Args:
        passes: the list; the graph is verified after each pass that changed it.
        at_most: how often the list runs at most.
    """

    def __init__(self, passes: Sequence[PassBase], *, at_most: int) -> None:
        super().__init__()
        self.passes = tuple(passes)
        self.at_most = at_most

    def call(self, model: onnx_ir.Model) -> PassResult:
        """Run the list until nothing changes."""
        modified = False
        for _ in range(self.at_most):
            if not any(report.modified for report in run_passes(model, self.passes)):
                break
            modified = True
        return PassResult(model, modified)
