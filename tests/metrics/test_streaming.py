"""Set metrics over more rows than a block: the same values, whatever is in memory at once."""

import tracemalloc
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from v2abench.contracts import Bootstrap, Features
from v2abench.metrics import frechet_statistics, samples
from v2abench.metrics.frechet import FrechetDistance, FrechetDistanceInfinity, frechet_distance
from v2abench.metrics.ib_score import IBScore
from v2abench.metrics.inception import InceptionScore
from v2abench.metrics.kernel import KernelAudioDistance, KernelInceptionDistance
from v2abench.metrics.kl import KLDivergence
from v2abench.metrics.moments import Moments, moments
from v2abench.metrics.samples import BLOCK_ROWS, StackedRows, gather

Blocks = Callable[[int], None]


@pytest.fixture
def blocks_of(monkeypatch: pytest.MonkeyPatch) -> Blocks:
    """Set how many rows a block has."""

    def set_rows(rows: int) -> None:
        for module in (samples, frechet_statistics):
            monkeypatch.setattr(module, "BLOCK_ROWS", rows)

    return set_rows


def normal(n: int, d: int, seed: int) -> np.ndarray:
    scale = np.linspace(0.2, 3, d)
    return (np.random.default_rng(seed).standard_normal((n, d)) * scale + seed).astype(np.float32)


def features(n: int, d: int, examples: int = 1) -> Features:
    """Clips whose ids are not in the order of their rows, of `examples` rows each where that is over 1."""
    sides: dict[Any, dict[str, dict[str, np.ndarray]]] = {}
    for seed, stream in enumerate(("generated", "reference", "video")):
        rows = normal(n * examples, d, seed).reshape(n, examples, d)
        sides[stream] = {
            "e": {f"{(7 * i) % n:05d}": row[0] if examples == 1 else row for i, row in enumerate(rows)}
        }
    return sides


METRICS = [
    FrechetDistance("FD", "e"),
    FrechetDistanceInfinity("FD-inf", "e", points=4),
    InceptionScore("IS", "e"),
    KLDivergence("KL", "e"),
    IBScore("IB", "e", "e"),
    KernelInceptionDistance("KID", "e", subsets=4, subset_size=30),
    KernelAudioDistance("KAD", "e"),
]


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.name)
@pytest.mark.parametrize(("n", "d"), [(230, 9), (60, 90)])
def test_values_and_intervals_are_those_of_one_block(metric: Any, n: int, d: int, blocks_of: Blocks) -> None:
    given = features(n, d)
    whole = metric.compute(given, Bootstrap(replicates=6))
    blocks_of(32)
    assert isinstance(gather(given, "generated", "e").rows, StackedRows)
    streamed = metric.compute(given, Bootstrap(replicates=6))
    assert streamed.clips == whole.clips
    assert streamed.value == pytest.approx(whole.value, rel=1e-10)
    assert streamed.details == pytest.approx(dict(whole.details), rel=1e-10)
    if whole.replicates is not None:
        np.testing.assert_allclose(streamed.replicates, whole.replicates, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("metric", [METRICS[0], METRICS[5], METRICS[6]], ids=lambda metric: metric.name)
def test_examples_of_a_clip_may_lie_in_two_blocks(metric: Any, blocks_of: Blocks) -> None:
    given = features(40, 6, examples=5)
    whole = metric.compute(given, Bootstrap(replicates=3))
    blocks_of(32)
    streamed = metric.compute(given, Bootstrap(replicates=3))
    assert streamed.value == pytest.approx(whole.value, rel=1e-10)


def test_singular_values_of_many_blocks(blocks_of: Blocks) -> None:
    """Steep spectra, where the R of the QR is folded block by block."""
    scale = np.arange(1, 41.0) ** -3
    rng = np.random.default_rng(5)
    x, y = rng.standard_normal((300, 40)) * scale, 1.1 * rng.standard_normal((260, 40)) * scale
    whole = frechet_distance(x, y)
    blocks_of(64)
    assert frechet_distance(x, y) == pytest.approx(whole, rel=1e-10)


def test_a_matrix_and_its_rows_apart_give_the_same_bits(blocks_of: Blocks) -> None:
    x, y = normal(150, 7, 1), normal(140, 7, 2)
    blocks_of(32)
    stacked = [StackedRows.of([*rows[:50, None], rows[50:]]) for rows in (x, y)]
    assert frechet_distance(*stacked) == frechet_distance(x, y)


def test_rows_are_read_where_they_lie() -> None:
    arrays = [normal(k, 4, k) for k in (1, 3, 0, 2)]
    rows, matrix = StackedRows.of(arrays), np.concatenate(arrays).astype(np.float64)
    assert rows.shape == matrix.shape
    np.testing.assert_array_equal(rows[1:5], matrix[1:5])
    np.testing.assert_array_equal(rows[np.array([5, 0, 0, 3])], matrix[[5, 0, 0, 3]])
    np.testing.assert_array_equal((rows - np.arange(4.0))[:], matrix - np.arange(4.0))


def test_moments_of_parts_merge_to_those_of_all() -> None:
    x = normal(700, 12, 3).astype(np.float64) + 50
    whole = Moments.of(x)
    np.testing.assert_allclose(whole.covariance, np.cov(x, rowvar=False), rtol=1e-10, atol=1e-12)
    for cuts in ([1], [699], [350], [1, 2, 3], [100, 200, 650]):
        parts = [Moments.of(part) for part in np.split(x, cuts)]
        for order in (parts, parts[::-1]):
            merged = order[0]
            for part in order[1:]:
                merged = merged.merge(part)
            assert merged.count == 700
            np.testing.assert_allclose(merged.mean, whole.mean, rtol=1e-12)
            np.testing.assert_allclose(merged.covariance, whole.covariance, rtol=1e-11, atol=1e-12)


def test_moments_gone_on_with_are_one_pass_to_the_bit() -> None:
    x = normal(3 * BLOCK_ROWS + 17, 5, 4)
    whole = moments(x)
    state = moments(x[: 2 * BLOCK_ROWS])
    resumed = moments(x[2 * BLOCK_ROWS :], after=state)
    assert resumed.count == whole.count
    np.testing.assert_array_equal(resumed.mean, whole.mean)
    np.testing.assert_array_equal(resumed.covariance, whole.covariance)


def test_moments_of_nothing_are_refused() -> None:
    with pytest.raises(ValueError, match="no samples"):
        moments(np.empty((0, 3)))


@pytest.mark.parametrize("metric", [METRICS[0], METRICS[2]], ids=lambda metric: metric.name)
def test_memory_does_not_grow_with_the_clips(metric: Any, blocks_of: Blocks) -> None:
    """Less than half of what both sides take in float64, 4096 rows in 256 dimensions each."""
    blocks_of(256)
    array = np.random.default_rng(0).standard_normal((4096, 256), np.float32)
    given: Any = {
        stream: {"e": {f"{i:05d}": row for i, row in enumerate(array)}}
        for stream in ("generated", "reference")
    }
    tracemalloc.start()
    try:
        metric.compute(given, None)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < array.size * 8
