import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from edgekit.calibration.observers import OBSERVERS, Percentile, make_observer
from edgekit.errors import DataError, UsageError

VALUES = arrays(
    np.float32,
    st.integers(2, 200),
    elements=st.floats(-1e6, 1e6, width=32, allow_subnormal=False),
)
NAMES = st.sampled_from(["minmax", "moving-average", "percentile:90", "percentile"])


def watch(name, batches):
    observer = make_observer(name)
    for batch in batches:
        observer.update(batch)
    return observer


@given(VALUES)
def test_minmax_is_that_of_the_whole(values):
    result = watch("minmax", np.array_split(values, 3)).result()
    assert (result.low, result.high) == (values.min(), values.max())
    assert result.count == values.size


@given(VALUES, st.floats(60, 99.9))
def test_percentile_is_within_a_bin_of_the_sorted_values(values, share):
    observer = Percentile(share, bins=256)
    observer.update(values)
    result, ordered = observer.result(), np.sort(values.astype(np.float64))
    skipped = int((1 - share / 100) * len(values))
    low, high = ordered[skipped], ordered[::-1][skipped]
    assert low - observer.width <= result.low <= low + 1e-3 * abs(low)
    assert high - 1e-3 * abs(high) <= result.high <= high + observer.width


@given(VALUES, NAMES, st.integers(1, 5), st.randoms())
def test_batches_and_their_order_do_not_matter(values, name, parts, random):
    pieces = np.array_split(values, parts)
    random.shuffle(pieces)
    whole, streamed = watch(name, [values]).result(), watch(name, pieces).result()
    assert np.allclose([whole.low, whole.high], [streamed.low, streamed.high], rtol=1e-12)
    assert (whole.observed_min, whole.observed_max) == (
        streamed.observed_min,
        streamed.observed_max,
    )


@given(VALUES, VALUES, NAMES)
def test_merged_observers_equal_one_that_saw_it_all(first, second, name):
    merged, other = watch(name, [first]), watch(name, [second])
    merged.merge(other)
    whole, result = watch(name, [first, second]).result(), merged.result()
    assert np.allclose([whole.low, whole.high], [result.low, result.high], rtol=1e-12)
    assert whole.count == result.count


@given(VALUES, NAMES)
def test_the_choice_lies_within_what_was_seen(values, name):
    result = watch(name, [values]).result()
    assert result.observed_min <= result.low <= result.high <= result.observed_max


@settings(max_examples=30)
@given(st.lists(st.floats(-30, 30, width=32), min_size=1, max_size=20), st.floats(0, 30))
def test_growing_ranges_keep_every_count(exponents, start):
    observer = Percentile(bins=64)
    observer.update(np.float32([2.0**start]))
    for exponent in exponents:
        observer.update(np.float32([2.0**exponent, -(2.0**exponent)]))
    assert observer._counts.sum() == observer.count
    assert len(observer._counts) <= 64


def test_an_outlier_does_not_widen_a_percentile():
    values = np.random.default_rng(0).normal(size=1_000_000).astype(np.float32)
    values[0] = 1e4
    assert watch("minmax", [values]).result().high == 1e4
    assert watch("percentile:99.999", [values]).result().high < 10


def test_moving_average_is_the_mean_of_each_samples_extremes():
    values = np.float32([[0, 1], [-2, 3], [-4, 8]])
    result = watch("moving-average", [values[:1], values[1:]]).result()
    assert (result.low, result.high) == (-2, 4)
    assert (result.observed_min, result.observed_max) == (-4, 8)


def test_far_from_zero_and_constant_values():
    for value in (0.0, 1e30, -1e30, 1e-30):
        result = watch("percentile", [np.full(10, value, np.float32)]).result()
        assert result.low == result.high == np.float32(value)
    near = np.float32([1e6, 1e6 + 1])
    result = watch("percentile", [near]).result()
    assert near[0] <= result.low <= result.high <= near[1]


@pytest.mark.parametrize("name", sorted(OBSERVERS))
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_values_that_are_not_finite_are_refused(name, bad):
    with pytest.raises(DataError):
        make_observer(name).update(np.float32([0, bad, 1]))


def test_wrong_names_and_uses():
    for spec in ("median", "minmax:3", "percentile:x", "percentile:40", "percentile:101", ""):
        with pytest.raises(UsageError):
            make_observer(spec)
    with pytest.raises(UsageError, match="cannot merge"):
        make_observer("minmax").merge(make_observer("percentile"))
    with pytest.raises(DataError, match="no values"):
        make_observer("minmax").result()
