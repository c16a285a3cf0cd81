"""Runs an artifact on its runtime and compares it with the float model, sample by sample."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgekit.bundle.manifest import Port, Verification
from edgekit.errors import DataError, UnsupportedError
from edgekit.ir import Model, Oracle, Signature, TensorSpec
from edgekit.runtimes.base import Session

Arrays = dict[str, NDArray[Any]]

MAX_SAMPLES = 64
_BATCH = 16
_HELD_BYTES = 64 << 20
"""Samples and reference outputs held at a time stay below this, whatever the model's size."""

_RANDOM_SAMPLES = 8
_WAVES = 8
_SIZES = ((2, 16), (2, 64), (2, 224), (2, 1), (1, 16), (1, 64), (1, 224), (1, 1))
"""Sizes of a dynamic first axis and of other dynamic axes, in the order they are tried.

Some mistakes of runtimes show only with more than one sample; but a model may allow no more, or
only sizes of its kind.
"""


@dataclass(frozen=True)
class Probe:
    """Samples with what the float model makes of them.

    Attributes:
        batches: (inputs, float outputs) by name, as the model takes and gives them.
        samples: how many samples there are in all.
        data: `calibration` or `random`.
    """

    batches: tuple[tuple[Arrays, Arrays], ...]
    samples: int
    data: str

    def output_range(self) -> float:
        """Greatest minus least finite value over all float outputs; 1 where nothing varies."""
        low, high = math.inf, -math.inf
        for _, outputs in self.batches:
            for array in outputs.values():
                if np.issubdtype(array.dtype, np.floating) and np.isfinite(array).any():
                    low = min(low, float(array[np.isfinite(array)].min()))
                    high = max(high, float(array[np.isfinite(array)].max()))
        return high - low if high > low else 1.0


def probe(model: Model, batches: Iterator[Arrays] | None, data: str) -> Probe:
    """Run the float model on up to 64 samples.

    Args:
        model: the float IR.
        batches: samples as the model takes them; None makes random ones.
        data: where they come from, for the manifest.

    Raises:
        DataError: if the model fails on the samples.
        UnsupportedError: if the model runs on no made-up inputs.
    """
    signature = model.signature
    held, samples, pairs = 0, 0, []
    with Oracle(model.ir, exact=True) as oracle:
        for feeds in batches if batches is not None else _made_up(oracle, signature):
            outputs = _run(oracle, feeds)
            pairs.append((feeds, outputs))
            samples += samples_in(signature, feeds)
            held += sum(a.nbytes for a in (*feeds.values(), *outputs.values()))
            if samples >= MAX_SAMPLES or held >= _HELD_BYTES:
                break
    return Probe(tuple(pairs), samples, data)


def _run(oracle: Oracle, feeds: Arrays) -> Arrays:
    try:
        return oracle.run(feeds)
    except Exception as e:
        raise DataError(
            f"the model fails on the data: {_first_line(e)}",
            hint="check that the values are in the range the model expects, such as valid indices",
        ) from e


def _made_up(oracle: Oracle, signature: Signature) -> Iterator[Arrays]:
    """Random inputs, with the first of some sizes for the dynamic axes that the model runs on."""
    problem = ""
    for batch, other in _SIZES if _dynamic(signature) else ((1, 1),):
        try:
            oracle.run(next(random_batches(signature, batch, other)))
        except Exception as e:
            problem = problem or _first_line(e)
        else:
            return random_batches(signature, batch, other)
    raise UnsupportedError(
        f"the model runs on no made-up inputs: {problem}", hint="add -c DATA, real samples"
    )


def _dynamic(signature: Signature) -> bool:
    return any(not isinstance(size, int) for spec in signature.inputs for size in spec.shape)


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def probe_batch(signature: Signature) -> int:
    """How many samples go into one run of the model."""
    return _BATCH if signature.dynamic_batch else 1


def samples_in(signature: Signature, feeds: Mapping[str, NDArray[Any]]) -> int:
    """How many samples one run consumes."""
    if signature.dynamic_batch:
        return int(feeds[signature.inputs[0].name].shape[0])
    return signature.batch or 1


def random_batches(signature: Signature, batch: int = 1, other: int = 1) -> Iterator[Arrays]:
    """Seeded random inputs, eight samples in all.

    Floats are normal noise in one half of the samples and smooth waves in the other, since
    networks treat the two very differently; integers are 0 or 1, which is safe for indices.

    Args:
        signature: the inputs to feed.
        batch: size of a first axis that is dynamic.
        other: size of any other dynamic axis.
    """
    rng = np.random.default_rng(0)
    firsts = {spec.shape[0] for spec in signature.inputs if spec.dynamic_batch} - {None}
    for index in range(_RANDOM_SAMPLES // (batch if signature.dynamic_batch else 1)):
        feeds = {}
        for spec in signature.inputs:
            sizes = [
                size if isinstance(size, int) else (batch if axis == 0 or size in firsts else other)
                for axis, size in enumerate(spec.shape)
            ]
            feeds[spec.name] = _random(spec, tuple(sizes), rng, smooth=index % 2 == 1)
        yield feeds


def _random(
    spec: TensorSpec, shape: tuple[int, ...], rng: np.random.Generator, *, smooth: bool
) -> NDArray[Any]:
    if not np.issubdtype(np.dtype(spec.dtype), np.floating):
        return rng.integers(0, 2, shape).astype(spec.dtype)
    if smooth:
        return _waves(shape, rng).astype(spec.dtype)
    return rng.normal(size=shape).astype(spec.dtype)


def _waves(shape: tuple[int, ...], rng: np.random.Generator) -> NDArray[Any]:
    """A sum of plane waves of up to three periods along each axis, with unit variance."""
    total: NDArray[Any] = np.zeros(shape)
    for _ in range(_WAVES):
        phase = np.full(shape, rng.uniform(0, 2 * np.pi))
        for axis, size in enumerate(shape):
            steps = np.linspace(0, 2 * np.pi * rng.uniform(-3, 3), size)
            phase += steps.reshape([-1 if a == axis else 1 for a in range(len(shape))])
        total += np.cos(phase)
    total *= math.sqrt(2 / _WAVES)
    return total


@dataclass
class _Tally:
    signal: float = 0.0
    noise: float = 0.0
    worst: float = 0.0
    agreed: int = 0
    judged: int = 0
    finite: bool = True
    shapes: str | None = None


def compare(
    session: Session,
    probes: Probe,
    *,
    runtime: str,
    inputs: Sequence[Port],
    outputs: Sequence[Port],
) -> tuple[Verification, str | None]:
    """Run an artifact on the probes.

    Args:
        session: the artifact on its runtime; its ports come in the order of the source's.
        probes: samples and float outputs.
        runtime: name and version, for the record.
        inputs: what the artifact takes; int8 ports are fed quantized values.
        outputs: what it gives; int8 ports are read back as real values.

    Returns:
        The comparison, and what is wrong with the artifact (an output of another shape, values
        that are not finite where the float model's are), or None.
    """
    tally = _Tally()
    takes, gives = session.signature.inputs, session.signature.outputs
    for feeds, expected in probes.batches:
        fed = {
            spec.name: quantize(feeds[port.spec.name], port)
            for spec, port in zip(takes, inputs, strict=True)
        }
        got = session.run(fed)
        for spec, port in zip(gives, outputs, strict=True):
            wanted, found = expected[port.spec.name], dequantize(got[spec.name], port)
            if wanted.shape != found.shape:
                tally.shapes = f"'{port.spec.name}' has shape {found.shape}, not {wanted.shape}"
            if wanted.size == found.size:
                _count(tally, wanted, found)
    worst = tally.worst if math.isfinite(tally.worst) else float(np.finfo(np.float64).max)
    check = Verification(
        runtime=runtime,
        samples=probes.samples,
        data=probes.data,
        agreement=tally.agreed / tally.judged if tally.judged else None,
        sqnr_db=_decibels(tally.signal, tally.noise),
        max_abs_error=worst,
    )
    problem = None if tally.finite else "it gives NaN or infinity where the float model does not"
    return check, tally.shapes or problem


def quantize(array: NDArray[Any], port: Port) -> NDArray[Any]:
    """Real values as a port takes them: rounded half to even, saturated."""
    if port.scale is None or port.zero_point is None:
        return array
    kind = np.iinfo(port.spec.dtype)
    stored = np.rint(array / np.float32(port.scale)) + port.zero_point
    clipped: NDArray[Any] = np.clip(stored, kind.min, kind.max).astype(port.spec.dtype)
    return clipped


def dequantize(array: NDArray[Any], port: Port) -> NDArray[Any]:
    """Real values of what a port gives."""
    if port.scale is None or port.zero_point is None:
        return array
    return (array.astype(np.float32) - port.zero_point) * np.float32(port.scale)


def _count(tally: _Tally, expected: NDArray[Any], got: NDArray[Any]) -> None:
    if not np.issubdtype(expected.dtype, np.floating):
        return
    wanted, found = expected.astype(np.float64), got.astype(np.float64).reshape(expected.shape)
    usable = np.isfinite(wanted)
    if not np.isfinite(found[usable]).all():
        tally.finite = False
        tally.worst = math.inf
        return
    error = (found - wanted)[usable]
    tally.signal += float(np.square(wanted[usable]).sum())
    tally.noise += float(np.square(error).sum())
    tally.worst = max(tally.worst, float(np.abs(error).max(initial=0.0)))
    if expected.ndim == 2 and expected.shape[1] > 1 and usable.all():
        tally.agreed += int((wanted.argmax(1) == found.argmax(1)).sum())
        tally.judged += expected.shape[0]


def _decibels(signal: float, noise: float) -> float | None:
    if noise == 0.0:
        return None
    return 10.0 * math.log10(max(signal, 1e-300) / noise)
