"""Turns a PyTorch module or exported program into ONNX; imports PyTorch."""

from __future__ import annotations

import contextlib
import inspect
import io
import logging
import re
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import onnx_ir
import torch
from onnx_ir.passes.common import ClearMetadataAndDocStringPass

from edgekit.errors import Reason, UnsupportedError, UsageError
from edgekit.frontends.graph_edges import BATCH, free_names

_NO_FORM = re.compile(r"No ONNX function found for <OpOverload\(op='([^']+)'")
_STATIC = "the batch is fixed to that of the example inputs: {}"
_CHAIN = 10
"""How many causes of an error are looked at."""

_NOISY = ("torch", "torch.onnx", "onnxscript", "onnx_ir")


@dataclass(frozen=True)
class TorchExported:
    """An ONNX model and what was noticed on the way.

    Attributes:
        ir: the model.
        notes: what the reader should know.
    """

    ir: onnx_ir.Model
    notes: tuple[str, ...] = ()


def export_module(module: Any, example_inputs: Any, label: str) -> TorchExported:
    """Export a module in evaluation mode; its modes are as before afterwards.

    The first axis of every input becomes the dynamic batch, unless the module fixes it.

    Args:
        module: an `nn.Module`.
        example_inputs: a tensor, a tuple of tensors, or a dict by argument name.
        label: what messages call it.

    Raises:
        UsageError: if the example inputs do not fit `forward`.
        UnsupportedError: with a reason for each operator without an ONNX form.
    """
    args, kwargs = _arguments(example_inputs)
    names = _bind(module, args, kwargs, label)
    modes = [(m, m.training) for m in module.modules()]
    try:
        module.eval()
        with torch.no_grad(), _quiet():
            return _traced(module, args, kwargs, names, label)
    finally:
        for inner, mode in modes:
            inner.training = mode


def export_program(program: Any, label: str) -> TorchExported:
    """Export a `torch.export.ExportedProgram`.

    Args:
        program: the exported program.
        label: what messages call it.

    Raises:
        UnsupportedError: with a reason for each operator without an ONNX form.
    """
    try:
        with torch.no_grad(), _quiet():
            onnx_program = torch.onnx.export(program, dynamo=True, verbose=False)
    except Exception as e:
        raise _refusal(e, label) from e
    return TorchExported(_finish(onnx_program.model))


def _arguments(example_inputs: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    if isinstance(example_inputs, Mapping):
        return (), dict(example_inputs)
    if isinstance(example_inputs, (tuple, list)):
        return tuple(example_inputs), {}
    return (example_inputs,), {}


def _bind(module: Any, args: tuple[Any, ...], kwargs: dict[str, Any], label: str) -> dict[str, Any]:
    try:
        return dict(inspect.signature(module.forward).bind(*args, **kwargs).arguments)
    except TypeError as e:
        raise UsageError(
            f"the example inputs do not fit forward of {label}: {e}.",
            hint="give a tensor, a tuple of tensors, or a dict by argument name",
        ) from e


def _traced(
    module: Any, args: tuple[Any, ...], kwargs: dict[str, Any], names: dict[str, Any], label: str
) -> TorchExported:
    try:
        doubled = [torch.utils._pytree.tree_map(_at_least_two, part) for part in (args, kwargs)]
        shapes = torch.utils._pytree.tree_map(_dynamic, names)
        return TorchExported(_export(module, doubled[0], doubled[1], shapes))
    except Exception as e:
        # Any trouble with a free batch is worth a second try with a fixed one.
        trouble = _line(e)
    try:
        model = _export(module, args, kwargs, None)
    except Exception as e:
        raise _refusal(e, label) from e
    return TorchExported(model, (_STATIC.format(trouble),))


def _export(module: Any, args: Any, kwargs: Any, shapes: Any) -> onnx_ir.Model:
    program = torch.export.export(module, args, kwargs, dynamic_shapes=shapes, strict=False)
    return _finish(torch.onnx.export(program, dynamo=True, verbose=False).model)


def _dynamic(value: Any) -> Any:
    if isinstance(value, torch.Tensor) and value.ndim:
        return {0: torch.export.Dim(BATCH, min=1)}
    return None


def _at_least_two(value: Any) -> Any:
    """A batch of one repeated, since PyTorch takes a size of one for a constant."""
    if isinstance(value, torch.Tensor) and value.ndim and value.shape[0] == 1:
        return torch.cat([value, value])
    return value


def _finish(model: onnx_ir.Model) -> onnx_ir.Model:
    """Call the outputs `output`, `output_1`, ..., the common first axis `batch`; drop traces."""
    ClearMetadataAndDocStringPass()(model)
    graph = model.graph
    names = [f"output_{i}" if i else "output" for i in range(len(graph.outputs))]
    free_names(graph, set(names))
    taken = {v.name for v in graph.inputs}
    for value, name in zip(graph.outputs, names, strict=True):
        if value not in graph.inputs:
            value.name = f"{name}_" if name in taken else name
    first = {str(v.shape[0]) for v in graph.inputs if v.shape}
    symbols = {v.shape[0] for v in graph.inputs if v.shape and not isinstance(v.shape[0], int)}
    if len(first) == 1 and symbols:
        _rename_symbol(graph, next(iter(first)))
    return model


def _rename_symbol(graph: onnx_ir.Graph, old: str) -> None:
    values = [*graph.inputs, *(v for node in graph.all_nodes() for v in node.outputs)]
    for value in values:
        if value.shape is not None and any(str(d) == old for d in value.shape):
            value.shape = onnx_ir.Shape([BATCH if str(d) == old else d for d in value.shape])


def _refusal(error: Exception, label: str) -> UnsupportedError:
    chain: list[str] = []
    current: BaseException | None = error
    while current is not None and len(chain) < _CHAIN:
        chain.append(str(current))
        current = current.__cause__ or current.__context__
    missing = sorted({op for text in chain for op in _NO_FORM.findall(text)})
    if missing:
        reasons = [Reason(op, op, "has no ONNX form", "replace it in the module") for op in missing]
        return UnsupportedError(f"{label} uses PyTorch operators:", reasons=reasons)
    return UnsupportedError(
        f"{label} cannot be exported by torch.export: {_line(error)}",
        hint="torch.export.export(module, inputs) must work; its message says what is in the way",
    )


def _line(error: Exception) -> str:
    current: BaseException = error
    while current.__cause__ is not None:
        current = current.__cause__
    lines = [line.strip() for line in str(current).splitlines() if line.strip()]
    return (lines[0] if lines else type(current).__name__)[:300]


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep the exporter's progress and warnings off the user's screen."""
    loggers = [logging.getLogger(name) for name in _NOISY]
    levels = [logger.level for logger in loggers]
    with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            for logger in loggers:
                logger.setLevel(logging.CRITICAL)
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)
