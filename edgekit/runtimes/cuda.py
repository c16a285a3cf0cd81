"""The few calls of the CUDA driver that feeding an engine takes, without another package."""

from __future__ import annotations

import ctypes
import sys
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgekit.errors import InputError

_LIBRARY = "nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1"


class CudaError(InputError):
    """The CUDA driver is missing or reports a failure."""


class Cuda:
    """The primary context of the first GPU, one stream, and buffers on the device.

    Raises:
        CudaError: if there is no driver or no GPU.
    """

    def __init__(self) -> None:
        try:
            self._driver = ctypes.CDLL(_LIBRARY)
        except OSError as e:
            raise CudaError(
                f"the CUDA driver ({_LIBRARY}) cannot be loaded: {e}.",
                hint="install the NVIDIA driver, or run on a machine with an NVIDIA GPU",
            ) from e
        self._call("cuInit", 0)
        self._device = ctypes.c_int()
        self._call("cuDeviceGet", ctypes.byref(self._device), 0)
        context = ctypes.c_void_p()
        self._call("cuDevicePrimaryCtxRetain", ctypes.byref(context), self._device)
        self._call("cuCtxSetCurrent", context)
        self._stream = ctypes.c_void_p()
        self._call("cuStreamCreate", ctypes.byref(self._stream), 0)
        self._buffers: list[ctypes.c_uint64] = []

    @property
    def stream(self) -> int:
        """Handle of the stream."""
        return self._stream.value or 0

    def allocate(self, size: int) -> int:
        """Address of a new buffer of that many bytes, freed by `free`."""
        address = ctypes.c_uint64()
        self._call("cuMemAlloc_v2", ctypes.byref(address), ctypes.c_size_t(max(size, 1)))
        self._buffers.append(address)
        return address.value

    def upload(self, array: NDArray[Any]) -> int:
        """Copy an array to a new buffer and give its address."""
        address = self.allocate(array.nbytes)
        if array.nbytes:
            self._call(
                "cuMemcpyHtoD_v2",
                ctypes.c_uint64(address),
                ctypes.c_void_p(array.ctypes.data),
                ctypes.c_size_t(array.nbytes),
            )
        return address

    def download(self, address: int, shape: tuple[int, ...], dtype: Any) -> NDArray[Any]:
        """Copy a buffer to a new array, once the stream is through."""
        array = np.empty(shape, dtype)
        if array.nbytes:
            self._call(
                "cuMemcpyDtoH_v2",
                ctypes.c_void_p(array.ctypes.data),
                ctypes.c_uint64(address),
                ctypes.c_size_t(array.nbytes),
            )
        return array

    def synchronize(self) -> None:
        """Wait for the stream."""
        self._call("cuStreamSynchronize", self._stream)

    def free(self) -> None:
        """Free all buffers."""
        while self._buffers:
            self._call("cuMemFree_v2", self._buffers.pop())

    def close(self) -> None:
        """Free the buffers, the stream and the context."""
        self.free()
        self._call("cuStreamDestroy_v2", self._stream)
        self._call("cuDevicePrimaryCtxRelease_v2", self._device)

    def __enter__(self) -> Cuda:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _call(self, function: str, *arguments: Any) -> None:
        code = getattr(self._driver, function)(*arguments)
        if code:
            text = ctypes.c_char_p()
            self._driver.cuGetErrorString(code, ctypes.byref(text))
            words = (text.value or b"").decode(errors="replace")
            raise CudaError(f"{function} of the CUDA driver failed with code {code}: {words}.")
