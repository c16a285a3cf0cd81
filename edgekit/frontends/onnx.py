"""Reads `.onnx` files."""

from __future__ import annotations

from pathlib import Path

import onnx
import onnx_ir
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from onnx_ir.passes.common import InlinePass

from edgekit.errors import EdgeKitError, ModelFileError
from edgekit.frontends.base import Frontend, LoadOptions
from edgekit.frontends.contrib import spell_out
from edgekit.frontends.external_data import (
    IN_MEMORY_LIMIT,
    check_tensor,
    node_tensors,
    settle,
    tensors_of,
)
from edgekit.frontends.layouts import find_layouts
from edgekit.frontends.onnx_support import check_nodes, check_operators, check_opset
from edgekit.frontends.provenance import file_source
from edgekit.ir import Model
from edgekit.ir.verify import InvalidGraphError, verify

PROTOBUF_LIMIT = (1 << 31) - 1
"""Most bytes of one protobuf message."""

NODE_LIMIT = 2_000_000
"""Most nodes that local functions may expand to."""


class OnnxFrontend(Frontend):
    """Reads ONNX models of opset 7 and up, with their external data."""

    def accepts(self, path: Path) -> bool:
        """Whether the name ends in `.onnx`; the format has no magic number."""
        return path.suffix.lower() == ".onnx" and path.is_file()

    def read(self, path: Path, options: LoadOptions) -> Model:
        """Read the file.

        External data must lie in the folder of the file. Up to 1 GB of it is read into memory;
        more stays a memory-mapped file, which must not change as long as the model is used.

        Raises:
            ModelFileError: if the file or its data is damaged, missing or outside the folder.
            UnsupportedError: with a reason for each operator or type that cannot be read.
        """
        ir = read_graph(path)
        version = onnx.__version__
        return Model(ir, find_layouts(ir.graph), None, file_source(path, "onnx", version))


def read_graph(
    path: Path, label: str | None = None, *, in_memory_limit: int = IN_MEMORY_LIMIT
) -> onnx_ir.Model:
    """Read and check an ONNX file; local functions come out inlined.

    Args:
        path: the file.
        label: what messages call it; default: its name.
        in_memory_limit: bytes of external data up to which constants are read at once; above, they
            stay memory-mapped files.

    Raises:
        ModelFileError: if it is damaged.
        UnsupportedError: with a reason for each operator or type that cannot be read.
    """
    label = label or path.name
    proto = _parse(path, label)
    try:
        spell_out(proto)
        _check(proto, path.parent, label)
        ir = onnx_ir.from_proto(proto)
        settle(ir, path.parent, in_memory_limit)
        if ir.functions:
            ir = InlinePass()(ir).model
        verify(ir)
    except InvalidGraphError as e:
        raise ModelFileError(f"{label} is not valid ONNX: {e}.") from e
    except EdgeKitError:
        raise
    except Exception as e:
        # onnx and onnx_ir raise whatever a malformed message leads them to.
        raise ModelFileError(
            f"{label} is not valid ONNX: {type(e).__name__}: {e}", hint="export or copy it again"
        ) from e
    return ir


def _check(proto: onnx.ModelProto, folder: Path, label: str) -> None:
    check_opset(proto, label)
    check_operators(proto, label)
    tensors = [*tensors_of(proto.graph)]
    tensors += [t for f in proto.functions for node in f.node for t in node_tensors(node)]
    for tensor in tensors:
        check_tensor(tensor, folder, label)
    check_nodes(proto, label)
    _check_function_calls(proto, label)


def _parse(path: Path, label: str) -> onnx.ModelProto:
    try:
        size = path.stat().st_size
        if size > PROTOBUF_LIMIT:
            raise ModelFileError(
                f"{label} has {size} bytes; a protobuf file ends at 2 GB.",
                hint="save it with external data: onnx.save(..., save_as_external_data=True)",
            )
        proto: onnx.ModelProto = onnx.ModelProto.FromString(path.read_bytes())
    except OSError as e:
        raise ModelFileError(f"{label} cannot be read: {e.strerror or e}.") from e
    except DecodeError as e:
        raise ModelFileError(
            f"{label} is not an ONNX model, or is truncated: {e}.", hint="export or copy it again"
        ) from e
    if not proto.ir_version or not proto.graph.output:
        raise ModelFileError(f"{label} is not an ONNX model: it has no graph with outputs.")
    return proto


def _check_function_calls(proto: onnx.ModelProto, label: str) -> None:
    """Refuse local functions that call themselves, or that explode when they are inlined."""
    calls = {
        (f.domain, f.name): [(node.domain, node.op_type) for node in f.node]
        for f in proto.functions
    }
    size: dict[tuple[str, str], int] = {}
    for _ in calls:
        for name in calls.keys() - size.keys():
            inner = [c for c in calls[name] if c in calls]
            if all(c in size for c in inner):
                size[name] = len(calls[name]) + sum(size[c] for c in inner)
    if endless := sorted(name for _, name in calls.keys() - size.keys()):
        names = ", ".join(endless)
        raise ModelFileError(f"{label} has functions that call themselves: {names}.")
    total = sum(size.get((node.domain, node.op_type), 1) for node in proto.graph.node)
    if total > NODE_LIMIT:
        raise ModelFileError(f"{label} has {total} nodes once its functions are inlined.")
