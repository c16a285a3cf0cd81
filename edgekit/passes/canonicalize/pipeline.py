"""The list of passes that brings every model into the one form that all targets start from."""

from __future__ import annotations

from onnx_ir.passes import PassBase

from edgekit.errors import InputError, ModelFileError, UnsupportedError
from edgekit.ir.model import Model
from edgekit.passes.base import FixedPoint, run_passes
from edgekit.passes.canonicalize.deduplicate_constants import DeduplicateConstants
from edgekit.passes.canonicalize.drop_zero_states import DropZeroStates
from edgekit.passes.canonicalize.eliminate_common import EliminateCommon
from edgekit.passes.canonicalize.explicit_pads import ExplicitPads
from edgekit.passes.canonicalize.find_fault import find_fault, find_torn_constant
from edgekit.passes.canonicalize.fold_affine import FoldAffine
from edgekit.passes.canonicalize.fold_constants import FoldConstants
from edgekit.passes.canonicalize.fold_pads import FoldPads
from edgekit.passes.canonicalize.fuse_activations import FuseActivations
from edgekit.passes.canonicalize.fuse_batch_moments import FuseBatchMoments
from edgekit.passes.canonicalize.fuse_clip import FuseClip
from edgekit.passes.canonicalize.fuse_gemm import FuseGemm
from edgekit.passes.canonicalize.fuse_layer_norm import FuseLayerNorm
from edgekit.passes.canonicalize.globalize_pools import GlobalizePools
from edgekit.passes.canonicalize.infer_shapes import InferShapes
from edgekit.passes.canonicalize.inline_branches import InlineBranches
from edgekit.passes.canonicalize.inline_functions import InlineFunctions
from edgekit.passes.canonicalize.lift_constants import LiftConstants
from edgekit.passes.canonicalize.lift_matmul import LiftMatMul
from edgekit.passes.canonicalize.lower_batch_norm import LowerBatchNorm
from edgekit.passes.canonicalize.merge_affine import MergeAffine
from edgekit.passes.canonicalize.move_dequantize import MoveDequantize
from edgekit.passes.canonicalize.name_values import NameValues
from edgekit.passes.canonicalize.remove_dead_code import RemoveDeadCode
from edgekit.passes.canonicalize.remove_no_ops import RemoveNoOps
from edgekit.passes.canonicalize.simplify_shapes import SimplifyShapes
from edgekit.passes.canonicalize.transposes import SinkTransposes
from edgekit.passes.canonicalize.upgrade_opset import UpgradeOpset

_MOST_ROUNDS = 8


def canonical_passes() -> list[PassBase]:
    """The passes in order. Each leaves a valid graph that computes the same."""
    return [
        # One flat graph of known opset first: all that follows reads opset 21 only.
        InlineFunctions(),
        NameValues(),  # inference finds values by their names
        LiftConstants(),  # upgrading reads constants
        UpgradeOpset(),
        InferShapes(),
        # Shapes: each round may reveal constants for the next.
        FixedPoint(
            [
                FoldConstants(),
                InlineBranches(),
                DropZeroStates(),
                SimplifyShapes(),
                RemoveNoOps(),
                RemoveDeadCode(),
                InferShapes(),
            ],
            at_most=_MOST_ROUNDS,
        ),
        ExplicitPads(),
        # Formulas want equal parts to be one value.
        DeduplicateConstants(),
        EliminateCommon(),
        # Activations before scalings: folding the 3 of `clip(x + 3, 0, 6)` into a convolution
        # would hide the formula.
        FuseClip(),
        FuseActivations(),
        FuseBatchMoments(),
        FuseLayerNorm(),
        LiftMatMul(),
        # Transposes before scalings: it brings a BatchNormalization next to its convolution.
        SinkTransposes(),
        InferShapes(),
        FixedPoint(
            [
                FoldPads(),  # before scalings: a shift folds into a convolution that pads not
                FoldAffine(),
                MergeAffine(),
                MoveDequantize(),
                FoldConstants(),
                SimplifyShapes(),
                RemoveNoOps(),
                RemoveDeadCode(),
            ],
            at_most=_MOST_ROUNDS,
        ),
        GlobalizePools(),
        FuseGemm(),
        # What no neighbour took.
        LowerBatchNorm(),
        MergeAffine(),
        RemoveNoOps(),
        DeduplicateConstants(),
        EliminateCommon(),
        RemoveDeadCode(),
        NameValues(),
        InferShapes(),
    ]


def canonicalize(model: Model) -> Model:
    """Bring a model into canonical form.

    Args:
        model: any ONNX graph from opset 7 on. It is not changed.

    Returns:
        A model at opset 21 that computes the same, with inputs and outputs of the same names,
        order and dtypes, constants as initializers, every value named and its shape inferred.

    Raises:
        UnsupportedError: if the graph cannot be brought to opset 21.
        ModelFileError: if the graph is not valid ONNX.
    """
    torn = find_torn_constant(model.ir)
    if torn is not None:
        raise _invalid(model, torn)
    try:
        copy = model.clone()
        run_passes(copy.ir, canonical_passes())
    except (UnsupportedError, InputError):
        raise
    except Exception as e:
        complaint = find_fault(model.ir)
        if complaint is None:
            raise
        raise _invalid(model, complaint) from e
    return copy


def _invalid(model: Model, complaint: str) -> ModelFileError:
    return ModelFileError(
        f"'{model.name}' is not a valid ONNX model: {complaint}.", hint="export the model again"
    )
