"""Runs TensorRT plans, and TensorRT-RTX engines, on an NVIDIA GPU.

Nothing of TensorRT is touched without a GPU: its deserialization needs CUDA, and its lean and
dispatch runtimes, which are never used here, crash the process.
"""

from __future__ import annotations

import math
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgekit.environment import gpus
from edgekit.errors import InputError, MissingDependencyError
from edgekit.ir.signature import Dim, Signature, TensorSpec
from edgekit.packages import version_of
from edgekit.runtimes.base import Availability, Runtime, Session, refused
from edgekit.runtimes.cuda import Cuda

RTX_SUFFIX = ".rtx.engine"
"""End of the file names of TensorRT-RTX engines, which are no TensorRT plans."""

_ONNX_HINT = "build a plan from it first, with build_plan or the command in build.json"


class TensorRTSession(Session):
    """An engine with its execution context."""

    def __init__(self, engine: Any, runtime: Any, cuda: Cuda, module: Any, name: str) -> None:
        self._engine = engine
        self._runtime = runtime  # must outlive the engine
        self._context = engine.create_execution_context()
        self._cuda = cuda
        self._name = name
        names = [engine.get_tensor_name(i) for i in range(engine.num_io_tensors)]
        input_mode = module.TensorIOMode.INPUT
        inputs = [n for n in names if engine.get_tensor_mode(n) == input_mode]
        self._dtypes = {n: np.dtype(module.nptype(engine.get_tensor_dtype(n))) for n in names}
        self.signature = Signature(
            tuple(self._spec(n) for n in inputs),
            tuple(self._spec(n) for n in names if n not in inputs),
        )

    def _spec(self, name: str) -> TensorSpec:
        sizes = tuple(self._engine.get_tensor_shape(name))
        return TensorSpec(name, self._dtypes[name].name, tuple(map(_dim, range(99), sizes)))

    def _run(self, feeds: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        context, cuda = self._context, self._cuda
        try:
            for name, array in feeds.items():
                if not context.set_input_shape(name, array.shape):
                    raise self._failure(f"input '{name}' of shape {array.shape} fits no profile")
                context.set_tensor_address(name, cuda.upload(array))
            places = {spec.name: self._place(spec.name) for spec in self.signature.outputs}
            if not context.execute_async_v3(cuda.stream):
                raise self._failure("the execution was not accepted")
            cuda.synchronize()
            return {
                name: cuda.download(address, shape, self._dtypes[name])
                for name, (address, shape) in places.items()
            }
        finally:
            cuda.free()

    def _place(self, name: str) -> tuple[int, tuple[int, ...]]:
        shape = tuple(self._context.get_tensor_shape(name))
        if any(size < 0 for size in shape):
            raise self._failure(f"the shape of output '{name}' depends on the data")
        address = self._cuda.allocate(math.prod(shape) * self._dtypes[name].itemsize)
        self._context.set_tensor_address(name, address)
        return address, shape

    def _failure(self, words: str) -> InputError:
        return InputError(f"TensorRT fails on '{self._name}': {words}.")

    def close(self) -> None:
        """Free the engine and what is on the GPU."""
        self._context = None
        self._engine = None
        self._runtime = None
        self._cuda.close()


def _dim(axis: int, size: int) -> Dim:
    if size >= 0:
        return int(size)
    return "batch" if axis == 0 else None


class TensorRTRuntime(Runtime):
    """TensorRT, or TensorRT-RTX for its own engines, on the first GPU."""

    name = "tensorrt"
    extra = "tensorrt"
    suffixes = (".plan", ".engine")

    def probe(self) -> Availability:
        """Look for the packages and for a GPU; nothing is loaded."""
        packages = {name: version_of(name) for name in ("tensorrt", "tensorrt-rtx")}
        found = {name: version for name, version in packages.items() if version}
        cards = gpus()
        parts = [f"{name} {version}" for name, version in found.items()] or ["not installed"]
        parts.append(", ".join(cards) if cards else "no NVIDIA GPU")
        version = next(iter(found.values()), "")
        usable = bool(found) and bool(cards)
        return Availability(bool(found), usable, version, "; ".join(parts), self.extra)

    def _open(self, path: Path, threads: int | None) -> Session:
        if path.suffix == ".onnx":
            raise InputError(f"'{path.name}' is no TensorRT plan.", hint=_ONNX_HINT)
        if not gpus():
            raise InputError(
                f"'{path.name}' needs an NVIDIA GPU, and this machine has none.",
                hint="run it where the GPU is",
            )
        rtx = path.name.endswith(RTX_SUFFIX)
        package = "tensorrt-rtx" if rtx else "tensorrt"
        if not version_of(package):
            raise MissingDependencyError(package, extra=package, needed_for=f"'{path.name}'")
        module = import_module(package.replace("-", "_"))
        cuda = Cuda()
        runtime = module.Runtime(_logger(module))
        engine = runtime.deserialize_cuda_engine(path.read_bytes())
        if engine is None:
            cuda.close()
            raise refused(path, package, "it was built by another version or for another GPU")
        return TensorRTSession(engine, runtime, cuda, module, path.name)


_LOGGERS: dict[str, Any] = {}


def _logger(module: Any) -> Any:
    """The one logger of the process; TensorRT keeps the first that it is given."""
    return _LOGGERS.setdefault(module.__name__, module.Logger(module.Logger.ERROR))
