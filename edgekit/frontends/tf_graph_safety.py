"""Names the operators of a TensorFlow graph that run code or touch files when they are executed.

TensorFlow graphs are programs. Reading one must not run such operators, not even by the constant
folding of a converter, so they are looked for before anything is loaded.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from edgekit.errors import Reason, UnsupportedError

_CODE = ("runs Python code", "remove the py_function or numpy_function from the model")
_FILE = ("reads or writes files", "do file access outside the model")
_NETWORK = ("talks to other processes", "export the model for inference on one device")

_OPERATORS: Mapping[str, tuple[str, str]] = {
    **dict.fromkeys(("PyFunc", "PyFuncStateless", "EagerPyFunc"), _CODE),
    **dict.fromkeys(
        (
            "ReadFile",
            "WriteFile",
            "MatchingFiles",
            "ImmutableConst",
            "DebugIdentity",
            "DebugIdentityV2",
            "DebugIdentityV3",
            "DebugNanCount",
            "DebugNumericSummary",
            "DebugNumericSummaryV2",
            "CreateSummaryFileWriter",
            "CreateSummaryDbWriter",
            "SummaryWriter",
            "ImportEvent",
            "DumpTensor",
            "PrintV2",
            "Save",
            "SaveSlices",
            "Restore",
            "RestoreSlice",
            "DeleteOldDirs",
            "ExperimentalMatchingFilesDataset",
        ),
        _FILE,
    ),
    **dict.fromkeys(
        (
            "RpcServer",
            "RpcClient",
            "RpcCall",
            "RemoteCall",
            "Send",
            "Recv",
            "_Send",
            "_Recv",
            "_HostSend",
            "_HostRecv",
            "RegisterDataset",
            "RegisterDatasetV2",
            "DataServiceDataset",
            "DataServiceDatasetV2",
            "DataServiceDatasetV3",
            "DataServiceDatasetV4",
        ),
        _NETWORK,
    ),
}

_FILE_MARKS = (
    "WholeFileReader",
    "TextLineReader",
    "TFRecordReader",
    "FixedLengthRecordReader",
    "LMDBReader",
    "TextLineDataset",
    "TFRecordDataset",
    "FixedLengthRecordDataset",
    "LMDBDataset",
    "CSVDataset",
    "SqlDataset",
    "SaveDataset",
    "LoadDataset",
    "SnapshotDataset",
    "MatchingFilesDataset",
    "CacheDataset",
)
"""Parts of the names of readers and datasets, which come in many versions."""

_SAVING = frozenset(("SaveV2", "RestoreV2", "MergeV2Checkpoints", "ShardedFilename"))
"""Checkpoint operators that every SavedModel has for its own variables; never part of a result."""


def unsafe_nodes(graph: Any) -> tuple[Reason, ...]:
    """The nodes of a `GraphDef`, its function library included, that must not be executed.

    Args:
        graph: the `GraphDef`.
    """
    return tuple(
        Reason(node.name, node.op, *what)
        for node in _nodes(graph)
        if (what := _what(node.op)) is not None
    )


def refuse_unsafe(graphs: Iterable[Any], label: str) -> None:
    """Refuse graphs with such nodes.

    Raises:
        UnsupportedError: with a reason for each.
    """
    reasons = [reason for graph in graphs for reason in unsafe_nodes(graph)]
    if reasons:
        raise UnsupportedError(
            f"{label} is refused: its graph does more than compute.",
            reasons=reasons,
            hint="export it again without these operators",
        )


def _what(op: str) -> tuple[str, str] | None:
    if op in _SAVING:
        return None
    if op in _OPERATORS:
        return _OPERATORS[op]
    return _FILE if any(mark in op for mark in _FILE_MARKS) else None


def _nodes(graph: Any) -> Iterator[Any]:
    yield from graph.node
    for function in graph.library.function:
        yield from function.node_def
