"""What holds of the metrics on any features: bounds, identities, invariances."""

from typing import Any

import numpy as np
from hypothesis import assume, given
from hypothesis import strategies as st
from numpy.typing import NDArray
from steady import STEADY

from v2abench.contracts import Bootstrap, Features
from v2abench.metrics.bootstrap import mean_interval, recentred_interval
from v2abench.metrics.desync import OFFSETS, DeSync
from v2abench.metrics.frechet import FrechetDistance, frechet_distance
from v2abench.metrics.inception import inception_score
from v2abench.metrics.kernel import kernel_audio_distance, kernel_inception_distance
from v2abench.metrics.kl import softmax_divergences
from v2abench.metrics.moments import Moments

Matrix = NDArray[np.float64]


@st.composite
def samples(draw: st.DrawFn, width: int | None = None, least: int = 2) -> Matrix:
    """Rows (n, d) at any place and scale, of full or lower rank, some of them repeated."""
    rows, d = draw(st.integers(least, 24)), width or draw(st.integers(1, 8))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    rank = draw(st.integers(1, d))
    values = rng.standard_normal((rows, rank)) @ rng.standard_normal((rank, d))
    values *= 10.0 ** draw(st.integers(-3, 3))
    values += draw(st.floats(-100, 100))
    return values[rng.integers(0, rows, rows)] if draw(st.booleans()) else values


@st.composite
def pairs(draw: st.DrawFn) -> tuple[Matrix, Matrix]:
    width = draw(st.integers(1, 8))
    return draw(samples(width)), draw(samples(width))


def scale(*sets: Matrix) -> float:
    """The size of a squared distance between two such sets, to hold rounding against."""
    return float(max(np.abs(values).max() for values in sets) ** 2 * sets[0].shape[1]) + 1e-300


@STEADY
@given(pair=pairs())
def test_fd_is_not_negative_and_symmetric(pair: tuple[Matrix, Matrix]) -> None:
    x, y = pair
    value = frechet_distance(x, y)
    assert value >= 0
    assert abs(frechet_distance(y, x) - value) <= 1e-7 * value + 1e-9 * scale(x, y)
    assert frechet_distance(x, x) <= 1e-9 * scale(x)


@STEADY
@given(pair=pairs(), seed=st.integers(0, 99), shift=st.floats(-10, 10))
def test_fd_knows_no_order_and_no_origin(pair: tuple[Matrix, Matrix], seed: int, shift: float) -> None:
    x, y = pair
    value = frechet_distance(x, y)
    shuffled = np.random.default_rng(seed).permutation(x)
    near = 1e-7 * value + 1e-9 * (scale(x, y) + shift**2)
    assert abs(frechet_distance(shuffled, y) - value) <= near
    assert abs(frechet_distance(x + shift, y + shift) - value) <= near


@STEADY
@given(pair=pairs(), names=st.permutations(range(24)))
def test_fd_does_not_depend_on_how_clips_arrive(pair: tuple[Matrix, Matrix], names: list[int]) -> None:
    def features(order: list[int]) -> Features:
        sides: Any = {}
        for stream, rows in zip(("generated", "reference"), pair, strict=True):
            sides[stream] = {"e": {f"{n:02d}": rows[n] for n in order if n < len(rows)}}
        return sides

    metric = FrechetDistance(embedding="e")
    given_order = metric.compute(features(names), Bootstrap(replicates=3))
    assert given_order == metric.compute(features(sorted(names)), Bootstrap(replicates=3))


@STEADY
@given(parts=st.lists(samples(3, least=1), min_size=3, max_size=3))
def test_merging_moments_is_associative_and_commutative(parts: list[Matrix]) -> None:
    first, second, third = map(Moments.of, parts)
    whole = Moments.of(np.concatenate(parts))
    for merged in (
        first.merge(second).merge(third),
        first.merge(second.merge(third)),
        third.merge(first).merge(second),
    ):
        assert merged.count == whole.count
        size = scale(*parts)
        np.testing.assert_allclose(merged.mean, whole.mean, rtol=1e-12, atol=1e-12 * size**0.5)
        np.testing.assert_allclose(merged.covariance, whole.covariance, rtol=1e-9, atol=1e-11 * size)


@STEADY
@given(pair=pairs())
def test_kl_is_not_negative_and_0_for_equals(pair: tuple[Matrix, Matrix]) -> None:
    count = min(map(len, pair))
    p, q = pair[0][:count], pair[1][:count]
    assert (softmax_divergences(p, q) >= 0).all()
    np.testing.assert_array_equal(softmax_divergences(p, p), 0)
    np.testing.assert_allclose(softmax_divergences(p + 3, p), 0, atol=1e-9)


@STEADY
@given(logits=samples(), splits=st.integers(1, 4))
def test_is_lies_between_1_and_the_number_of_classes(logits: Matrix, splits: int) -> None:
    assume(len(logits) >= splits)
    value, std = inception_score(logits, splits)
    assert 1 - 1e-9 <= value <= logits.shape[1] * (1 + 1e-9)
    assert std >= 0


@STEADY
@given(pair=pairs(), seed=st.integers(0, 99))
def test_kernel_distances_are_symmetric_in_order(pair: tuple[Matrix, Matrix], seed: int) -> None:
    """Unbiased, so that they may be below 0; those of shuffled sets are the same."""
    x, y = pair
    shuffled = np.random.default_rng(seed).permutation(x)
    value = kernel_audio_distance(x, y, bandwidth=1.0)
    assert abs(kernel_audio_distance(shuffled, y, bandwidth=1.0) - value) < 1e-6
    assert abs(kernel_audio_distance(y, x, bandwidth=1.0) - value) < 1e-6
    assert -200 <= value <= 400
    small = x / (1 + np.abs(x).max()), y / (1 + np.abs(y).max())
    size = min(map(len, pair))
    first = kernel_inception_distance(small[0][:size], small[1][:size], subsets=2, subset_size=99)[0]
    again = kernel_inception_distance(small[1][:size], small[0][:size], subsets=2, subset_size=99)[0]
    assert abs(first - again) < 1e-9


@STEADY
@given(
    seed=st.integers(0, 999),
    windows=st.integers(1, 3),
    reach=st.floats(0.1, 5),
    size=st.sampled_from([1e-6, 1, 1e6]),
)
def test_desync_is_on_its_grid(seed: int, windows: int, reach: float, size: float) -> None:
    logits = size * np.random.default_rng(seed).standard_normal((windows, len(OFFSETS)))
    score = DeSync(logits="s", reach=reach).compute({"generated": {"s": {"a": logits}}}, None)
    assert score.value is not None
    grid = np.abs(OFFSETS) * (reach / 2)
    sums = score.value * windows
    assert 0 <= score.value <= reach * (1 + 1e-12)
    if windows == 1:
        assert np.isclose(grid, sums, rtol=1e-12, atol=1e-12).any()
    assert abs(score.details["signed"]) <= score.value + 1e-12
    assert 0 <= score.details["expected"] <= reach * (1 + 1e-12)


@STEADY
@given(values=samples(1).map(np.ravel), level=st.floats(0.5, 0.99))
def test_the_interval_of_a_mean_contains_it_and_grows_with_the_level(values: Matrix, level: float) -> None:
    narrow = mean_interval(values, Bootstrap(level=level))
    wide = mean_interval(values, Bootstrap(level=(1 + level) / 2))
    assert narrow is not None
    assert wide is not None
    mean = float(np.mean(values))
    assert wide.low <= narrow.low <= mean <= narrow.high <= wide.high


@STEADY
@given(replicates=samples(1).map(np.ravel), value=st.floats(0, 1e3), level=st.floats(0.5, 0.99))
def test_a_recentred_interval_keeps_spread_and_bounds(replicates: Matrix, value: float, level: float) -> None:
    """Its width does not depend on the bias of the resamples, and it leaves no bound."""
    bootstrap = Bootstrap(level=level)
    free = recentred_interval(value, replicates, bootstrap)
    biased = recentred_interval(value, replicates + 7, bootstrap)
    size = 1 + float(np.abs(replicates).max()) + value
    assert free.low <= free.high
    assert abs(free.low - biased.low) <= 1e-9 * size
    assert abs(free.high - biased.high) <= 1e-9 * size
    assert free.low <= value + replicates.max() - replicates.mean() + 1e-9 * size
    assert free.high >= value + replicates.min() - replicates.mean() - 1e-9 * size
    assert recentred_interval(value, replicates, bootstrap, (0.0, np.inf)).low >= 0
