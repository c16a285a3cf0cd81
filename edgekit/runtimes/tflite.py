"""Runs TFLite files on the LiteRT interpreter (or tflite-runtime, or TensorFlow's own)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgekit.errors import InputError
from edgekit.ir.signature import Dim, Signature, TensorSpec
from edgekit.packages import import_tflite, tflite_interpreter
from edgekit.runtimes.base import Availability, Runtime, Session, refused
from edgekit.runtimes.native_output import captured_stderr


@dataclass(frozen=True)
class _Port:
    """One input or output tensor of the main subgraph."""

    index: int
    spec: TensorSpec


_SIZES = (16, 64, 224)
"""Sizes tried for dynamic axes when a file cannot be laid out for its own, which are all 1."""


def _allocated(module: Any, path: Path, threads: int | None) -> Any:
    """An interpreter that is ready to run; every batch gives dynamic axes their sizes anew."""
    for size in (None, *_SIZES):
        interpreter = module.Interpreter(model_path=str(path), num_threads=threads)
        dynamic = [d for d in interpreter.get_input_details() if -1 in d["shape_signature"]]
        for detail in dynamic if size is not None else ():
            axes = enumerate(detail["shape_signature"])
            shape = [(size if axis else 1) if n == -1 else int(n) for axis, n in axes]
            interpreter.resize_tensor_input(detail["index"], shape)
        try:
            interpreter.allocate_tensors()
        except (RuntimeError, ValueError):
            if not dynamic or size == _SIZES[-1]:
                raise
        else:
            break
    return interpreter


class TFLiteSession(Session):
    """A TFLite file opened on an interpreter, with XNNPACK where the package applies it.

    Names come from the file's first signature where it has one, the order always from the
    subgraph. State that the file keeps in variable tensors is reset before each batch.
    """

    def __init__(self, interpreter: Any, name: str) -> None:
        self._interpreter = interpreter
        self._name = name
        inputs, outputs = _names(interpreter)
        self._inputs = _ports(interpreter.get_input_details(), inputs)
        self._outputs = _ports(interpreter.get_output_details(), outputs)
        self._shapes = {
            d["index"]: tuple(int(n) for n in d["shape"]) for d in interpreter.get_input_details()
        }
        self.signature = Signature(
            tuple(port.spec for port in self._inputs), tuple(port.spec for port in self._outputs)
        )

    def _run(self, feeds: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        # Nothing is redirected here, unlike when a file is opened: this is what gets timed.
        try:
            self._invoke(feeds)
        except (RuntimeError, ValueError) as e:
            self._shapes.clear()  # what was allocated is unknown now: resize again next time
            raise InputError(f"the tflite runtime fails on '{self._name}': {e}") from e
        get = self._interpreter.get_tensor
        return {port.spec.name: np.asarray(get(port.index)) for port in self._outputs}

    def _invoke(self, feeds: dict[str, NDArray[Any]]) -> None:
        self._resize(feeds)
        self._interpreter.reset_all_variables()
        for port in self._inputs:
            self._interpreter.set_tensor(port.index, feeds[port.spec.name])
        self._interpreter.invoke()

    def _resize(self, feeds: dict[str, NDArray[Any]]) -> None:
        changed = False
        for port in self._inputs:
            shape = feeds[port.spec.name].shape
            if shape != self._shapes.get(port.index):
                self._interpreter.resize_tensor_input(port.index, shape)
                self._shapes[port.index] = shape
                changed = True
        if changed:
            self._interpreter.allocate_tensors()

    def close(self) -> None:
        """Free the interpreter."""
        self._interpreter = None


def _names(interpreter: Any) -> tuple[dict[int, list[str]], dict[int, list[str]]]:
    """Names that the first signature gives to tensor indices; one tensor may have several."""
    inputs: dict[int, list[str]] = defaultdict(list)
    outputs: dict[int, list[str]] = defaultdict(list)
    for key in list(interpreter.get_signature_list())[:1]:
        runner = interpreter.get_signature_runner(key)
        for name, detail in runner.get_input_details().items():
            inputs[detail["index"]].append(name)
        for name, detail in runner.get_output_details().items():
            outputs[detail["index"]].append(name)
    return inputs, outputs


def _ports(
    details: Iterable[Mapping[str, Any]], names: Mapping[int, list[str]]
) -> tuple[_Port, ...]:
    ports = []
    left = {index: list(given) for index, given in names.items()}
    for detail in details:
        given = left.get(detail["index"]) or [detail["name"]]
        ports.append(_Port(detail["index"], _spec(given.pop(0), detail)))
    return tuple(ports)


def _spec(name: str, detail: Mapping[str, Any]) -> TensorSpec:
    signature = detail.get("shape_signature", detail["shape"])
    # Files from before TFLite had dynamic shapes carry an empty shape signature.
    sizes = signature if len(signature) == len(detail["shape"]) else detail["shape"]
    return TensorSpec(name, np.dtype(detail["dtype"]).name, tuple(map(_dim, range(99), sizes)))


def _dim(axis: int, size: int) -> Dim:
    if size >= 0:
        return int(size)
    return "batch" if axis == 0 else None


class TFLiteRuntime(Runtime):
    """LiteRT; tflite-runtime or TensorFlow serve where LiteRT is not installed."""

    name = "tflite"
    extra = "tflite"
    suffixes = (".tflite",)
    tries_in_child = True

    def probe(self) -> Availability:
        """Look for the three packages that bring an interpreter, best first."""
        distribution, version = tflite_interpreter()
        found = bool(distribution)
        detail = f"served by {distribution}" if found else "no TFLite interpreter is installed"
        return Availability(found, found, version, detail, self.extra)

    def _open(self, path: Path, threads: int | None) -> Session:
        module = import_tflite()
        failure: Exception | None = None
        with captured_stderr() as captured:
            try:
                interpreter = _allocated(module, path, threads)
                session = TFLiteSession(interpreter, path.name)
            except (RuntimeError, ValueError) as e:
                failure = e
        if failure is not None:
            told = f"{failure} {captured.errors}"
            raise refused(path, "the tflite runtime", told) from failure
        return session
