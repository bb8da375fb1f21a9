import tracemalloc

import numpy as np
import pytest
from metric_inputs import GOLDENS, as_features, golden_features
from scipy.spatial.distance import cdist, pdist

from v2abench.contracts import Bootstrap
from v2abench.metrics import kernel
from v2abench.metrics.kernel import (
    KernelAudioDistance,
    KernelInceptionDistance,
    gaussian_kernel,
    kernel_audio_distance,
    kernel_inception_distance,
    median_distance,
    polynomial_kernel,
    squared_mmd,
)

KAD = KernelAudioDistance(embedding="e")
KID_KEYS = sorted(k.removeprefix("kid_f64_") for k in GOLDENS if k.startswith("kid_f64_"))


def normal(n: int, d: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((n, d))


def naive_kad(x: np.ndarray, y: np.ndarray) -> float:
    gamma = 1 / (2 * np.median(pdist(y)) ** 2)

    def mean(values: np.ndarray, pairs: int) -> float:
        return values.sum() / pairs

    kxx, kyy, kxy = (np.exp(-gamma * cdist(a, b) ** 2) for a, b in ((x, x), (y, y), (x, y)))
    np.fill_diagonal(kxx, 0)
    np.fill_diagonal(kyy, 0)
    n, m = len(x), len(y)
    return 100 * (mean(kxx, n * (n - 1)) + mean(kyy, m * (m - 1)) - 2 * mean(kxy, n * m))


@pytest.mark.parametrize("key", KID_KEYS)
def test_kid_golden(key: str) -> None:
    n, d, subsets, size = map(int, key.split("_"))
    mean, std = kernel_inception_distance(
        golden_features(n, d, 0), golden_features(n, d, 1), subsets=subsets, subset_size=size
    )
    exact, single = GOLDENS[f"kid_f64_{key}"], GOLDENS[f"kid_{key}"]
    assert mean == pytest.approx(exact[0], rel=1e-9)
    assert mean == pytest.approx(single[0], rel=2e-6)
    # Where every subset is the whole set, std is 0 but for the rounding of either side.
    assert std == pytest.approx(exact[1], rel=1e-9, abs=1e-12)
    assert std == pytest.approx(single[1], rel=2e-6, abs=1e-6)


def test_kid_metric() -> None:
    metric = KernelInceptionDistance(embedding="e", subsets=20, subset_size=300)
    features = as_features(
        "e", generated=golden_features(1000, 16, 0), reference=golden_features(1000, 16, 1)
    )
    score = metric.compute(features, Bootstrap(50))
    mean, std = GOLDENS["kid_f64_1000_16_20_300"]
    assert score.value == pytest.approx(mean, rel=1e-9)
    assert score.details["std"] == pytest.approx(std, rel=1e-9)
    assert score.warnings == ()
    assert score.interval.low < mean < score.interval.high


def test_kid_warns_of_smaller_subsets() -> None:
    features = as_features("e", generated=normal(40, 3), reference=normal(30, 3, 1))
    score = KernelInceptionDistance(embedding="e").compute(features, None)
    assert "30 samples, not 1000" in score.warnings[0]


@pytest.mark.parametrize(("n", "m", "d"), [(30, 40, 5), (2, 2, 1), (41, 17, 200)])
def test_kad_equals_its_naive_form(n: int, m: int, d: int) -> None:
    x, y = normal(n, d, 1) + 3, 1.5 * normal(m, d, 2) + 3.2
    assert kernel_audio_distance(x, y) == pytest.approx(naive_kad(x, y), rel=1e-10)
    score = KAD.compute(as_features("e", generated=x, reference=y), None)
    assert score.value == pytest.approx(naive_kad(x, y), rel=1e-10)
    assert score.details["bandwidth"] == pytest.approx(np.median(pdist(y)), rel=1e-10)


def test_blocks_change_nothing_and_bound_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = normal(900, 4, 1), normal(800, 4, 2)
    whole = kernel_audio_distance(x, y, bandwidth=1.0)
    monkeypatch.setattr(kernel, "_BLOCK", 7 * 800)
    tracemalloc.start()
    assert kernel_audio_distance(x, y, bandwidth=1.0) == pytest.approx(whole, rel=1e-12)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 800 * 900 * 8 / 4


def test_bandwidth_is_the_references() -> None:
    x, y = 10 * normal(50, 3, 1), normal(60, 3, 2)
    bandwidth = np.median(pdist(y))
    assert kernel_audio_distance(x, y) == pytest.approx(kernel_audio_distance(x, y, bandwidth), rel=1e-10)


def test_median_of_a_subset_of_pairs() -> None:
    x = normal(2000, 8)
    exact, drawn = median_distance(x), median_distance(x, pairs=20000)
    assert drawn == median_distance(x, pairs=20000)
    assert drawn != exact
    assert drawn == pytest.approx(exact, rel=0.05)
    assert median_distance(x[:200], pairs=19900) == pytest.approx(np.median(pdist(x[:200])), rel=1e-10)


def test_equal_reference_samples_leave_kad_undefined() -> None:
    reference = np.full((20, 3), 0.1)
    score = KAD.compute(as_features("e", generated=normal(20, 3), reference=reference), Bootstrap())
    assert score.value is None
    assert "median distance" in score.warnings[0]


@pytest.mark.parametrize("made", [polynomial_kernel(), gaussian_kernel(2.0)])
def test_weights(made: kernel.Kernel) -> None:
    """Ones give the plain statistic, and zeros leave samples out."""
    x, y = normal(12, 4, 1), normal(15, 4, 2) + 1
    ones = squared_mmd(x, y, made, np.ones((1, 12)), np.ones((1, 15)))
    kxx, kyy = made(x, x), made(y, y)
    plain = (
        (kxx.sum() - kxx.trace()) / (12 * 11) + (kyy.sum() - kyy.trace()) / (15 * 14) - 2 * made(x, y).mean()
    )
    assert ones[0] == pytest.approx(plain, rel=1e-10)
    some = np.array([[1.0] * 7 + [0] * 5]), np.array([[1.0] * 9 + [0] * 6])
    fewer = squared_mmd(x[:7], y[:9], made, np.ones((1, 7)), np.ones((1, 9)))
    np.testing.assert_allclose(squared_mmd(x, y, made, *some), fewer, rtol=1e-10)


def test_unbiased() -> None:
    """The mean over many small pairs of one distribution is 0, within its standard error."""
    rng = np.random.default_rng(0)
    values = [kernel_audio_distance(*rng.standard_normal((2, 20, 3)), bandwidth=2.0) for _ in range(400)]
    assert abs(np.mean(values)) < 3 * np.std(values) / np.sqrt(400)


@pytest.mark.parametrize("distance", [kernel_audio_distance, kernel_inception_distance])
def test_grows_with_the_shift_and_not_with_the_order(distance: object) -> None:
    x, y = normal(80, 4, 1), normal(70, 4, 2)
    near, far = (np.atleast_1d(distance(x + s, y))[0] for s in (0.5, 1.0))
    assert near < far
    assert kernel_audio_distance(x[::-1], y[::-1]) == pytest.approx(kernel_audio_distance(x, y), rel=1e-9)


def test_unusable_options() -> None:
    with pytest.raises(ValueError, match="subset_size at least 2"):
        KernelInceptionDistance(subset_size=1)
    with pytest.raises(ValueError, match="bandwidth_pairs is 0"):
        KernelAudioDistance(bandwidth_pairs=0)
