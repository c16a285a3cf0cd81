"""How lists of passes run, and what they say when one fails."""

import onnx_ir
import pytest

from edgekit.errors import EdgeKitError
from edgekit.ir.verify import InvalidGraphError
from edgekit.passes.base import FixedPoint, InPlacePass, NodePass, PassResult, run_passes
from edgekit.testing.graphs import GraphBuilder


def model():
    g = GraphBuilder()
    return g.build(g.op("Relu", g.op("Sin", g.input("x", [1])))).ir


class Rename(NodePass):
    """Turns one Relu into Sin, then there is nothing left to do."""

    ops = frozenset({"Relu"})

    def rewrite(self, node):
        node.op_type = "Sin"
        return True


class Tear(InPlacePass):
    def call(self, model):
        model.graph.outputs[0] = onnx_ir.val("nowhere")
        return PassResult(model, True)


class Fail(InPlacePass):
    def call(self, model):
        raise ValueError("out of luck")


class Always(InPlacePass):
    runs = 0

    def call(self, model):
        Always.runs += 1
        return PassResult(model, True)


def test_reports_say_what_changed():
    reports = run_passes(model(), [Rename(), Rename()])
    assert [(r.name, r.modified) for r in reports] == [("Rename", True), ("Rename", False)]


def test_a_torn_graph_names_the_pass():
    with pytest.raises(InvalidGraphError, match=r"pass Tear left an invalid graph.*nowhere"):
        run_passes(model(), [Tear()])


def test_a_failure_names_the_pass_and_those_before_it():
    with pytest.raises(EdgeKitError, match=r"pass Fail failed .*Rename.*out of luck"):
        run_passes(model(), [Rename(), Fail()])


def test_fixed_point_stops_when_nothing_changes_or_at_its_limit():
    assert FixedPoint([Rename()], at_most=9)(model()).modified
    FixedPoint([Always()], at_most=3)(model())
    assert Always.runs == 3
