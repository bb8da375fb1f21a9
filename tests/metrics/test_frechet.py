import numpy as np
import pytest
import scipy.linalg
import scipy.stats
from metric_inputs import GOLDENS, as_features, clip_ids, golden_features

from v2abench.contracts import Bootstrap
from v2abench.metrics.frechet import (
    FrechetDistance,
    FrechetDistanceInfinity,
    frechet_distance,
    frechet_distance_infinity,
    subset_sizes,
)
from v2abench.metrics.frechet_statistics import FrechetStatistics

FD = FrechetDistance(embedding="e")


def normal(n: int, d: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((n, d))


def with_moments(mean: np.ndarray, root: np.ndarray, n: int, seed: int = 0) -> np.ndarray:
    """Samples (n, d) with exactly this mean, and covariance rootᵀ root (ddof 1)."""
    x = normal(n, len(root), seed)
    x -= x.mean(axis=0)
    white = np.linalg.qr(x)[0] * np.sqrt(n - 1)
    return white @ root + mean


def by_singular_values(x: np.ndarray, y: np.ndarray) -> float:
    """The defining formula, with all samples in one matrix."""
    offset = x.mean(axis=0) - y.mean(axis=0)
    x, y = ((z - z.mean(axis=0)) / np.sqrt(len(z) - 1) for z in (x, y))
    root = np.linalg.svd(x @ y.T, compute_uv=False).sum()
    return offset @ offset + (x**2).sum() + (y**2).sum() - 2 * root


@pytest.mark.parametrize("key", sorted(k for k in GOLDENS if k.startswith("fd_")))
def test_golden(key: str) -> None:
    sizes, d = key.removeprefix("fd_").split("_")
    n, _, m = sizes.partition("v")
    value = frechet_distance(golden_features(int(n), int(d), 0), golden_features(int(m or n), int(d), 1))
    float32, float64, exact, audioldm = GOLDENS[key]
    assert value == pytest.approx(exact, rel=1e-9)
    assert value == pytest.approx(float64, rel=1e-6)
    assert value == pytest.approx(float32, rel=1e-6)
    if np.isfinite(audioldm):
        assert value == pytest.approx(audioldm, rel=1e-6)


@pytest.mark.parametrize(("n", "d"), [(2, 5), (30, 30), (31, 30), (30, 31), (200, 12), (50, 300)])
def test_a_set_with_itself(n: int, d: int) -> None:
    x = normal(n, d) + 100
    assert frechet_distance(x, x) <= 1e-8 * np.trace(np.cov(x, rowvar=False))


@pytest.mark.parametrize("n", [12, 300])
def test_analytic_for_diagonal_gaussians(n: int) -> None:
    first, second = np.linspace(0.1, 3, 10), np.linspace(2, 0.5, 10)
    x = with_moments(np.zeros(10), np.diag(first), n, seed=1)
    y = with_moments(np.arange(10.0), np.diag(second), n + 7, seed=2)
    expected = (np.arange(10.0) ** 2).sum() + ((first - second) ** 2).sum()
    assert frechet_distance(x, y) == pytest.approx(expected, rel=1e-12)


def test_analytic_for_rank_deficient_covariances() -> None:
    """Both live in 4 of 10 dimensions, of which they share 2: the root is over these only."""
    first, second = np.diag([1.0, 2, 3, 4] + [0] * 6)[:4], np.diag([0, 0, 1.0, 2, 3, 4] + [0] * 4)[2:6]
    x = with_moments(np.zeros(10), first, 50, seed=1)
    y = with_moments(np.zeros(10), second, 60, seed=2)
    expected = (1 + 4 + 9 + 16) + (1 + 4 + 9 + 16) - 2 * (3 * 1 + 4 * 2)
    assert frechet_distance(x, y) == pytest.approx(expected, rel=1e-12)


def test_two_samples_a_side() -> None:
    """One-dimensional covariances: C1 of rank 1 along a, C2 along b, tr root = |a·b|."""
    a, b = np.array([3.0, 0, 0]), np.array([1.0, 1, 0])
    x, y = np.array([a, -a]), np.array([b, -b])
    expected = 2 * a @ a + 2 * b @ b - 2 * 2 * abs(a @ b)
    assert frechet_distance(x, y) == pytest.approx(expected, rel=1e-12)


def test_where_sqrtm_turns_complex() -> None:
    x, y = normal(20, 64, 1), 1.1 * normal(20, 64, 2)
    root = scipy.linalg.sqrtm(np.cov(x, rowvar=False) @ np.cov(y, rowvar=False))
    assert np.iscomplexobj(root)
    squares = np.linalg.svd(np.cov(x, rowvar=False), hermitian=True)
    symmetric = (squares[0] * np.sqrt(squares[1])) @ squares[2]
    inner = symmetric @ np.cov(y, rowvar=False) @ symmetric
    exact = np.sqrt(np.maximum(np.linalg.eigvalsh(inner), 0)).sum()
    offset = x.mean(axis=0) - y.mean(axis=0)
    expected = offset @ offset + np.cov(x, rowvar=False).trace() + np.cov(y, rowvar=False).trace() - 2 * exact
    value = frechet_distance(x, y)
    assert isinstance(value, float)
    assert value == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(("n", "m", "d"), [(40, 50, 8), (20, 30, 64), (20, 100, 64), (100, 20, 64)])
def test_invariances(n: int, m: int, d: int) -> None:
    x, y = normal(n, d, 1), 1.3 * normal(m, d, 2) + 0.1
    value = frechet_distance(x, y)
    rotation = scipy.stats.ortho_group.rvs(d, random_state=3)
    assert frechet_distance(y, x) == pytest.approx(value, rel=1e-10)
    assert frechet_distance(x[::-1], y) == pytest.approx(value, rel=1e-10)
    assert frechet_distance(x @ rotation + 5, y @ rotation + 5) == pytest.approx(value, rel=1e-10)
    assert frechet_distance(3 * x, 3 * y) == pytest.approx(9 * value, rel=1e-10)


def test_a_shift_adds_its_square() -> None:
    x, y = normal(40, 6, 1), normal(50, 6, 2)
    y += x.mean(axis=0) - y.mean(axis=0)
    assert frechet_distance(x, y + 2) == pytest.approx(frechet_distance(x, y) + 6 * 4, rel=1e-10)


@pytest.mark.parametrize(("n", "m", "d"), [(30, 40, 6), (30, 40, 100), (30, 120, 100), (120, 110, 100)])
def test_weights_are_repeated_samples(n: int, m: int, d: int) -> None:
    x, y = normal(n, d, 1) + 1, 1.3 * normal(m, d, 2)
    rng = np.random.default_rng(3)
    weights = [rng.multinomial(k, np.full(k, 1 / k)).astype(float) for k in (n, m)]
    repeated = [np.repeat(z, w.astype(int), axis=0) for z, w in zip((x, y), weights, strict=True)]
    expected = frechet_distance(*repeated)
    statistics = FrechetStatistics.of(x, y)
    assert statistics.distance(*weights) == pytest.approx(expected, rel=1e-9)
    assert statistics.distance(*weights, replicate=True) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(("n", "m"), [(90, 80), (400, 300)])
@pytest.mark.parametrize("decay", [0, 1, 2, 3, 4, 6])
def test_eigenvalues_stand_in_only_where_they_are_exact(n: int, m: int, decay: float) -> None:
    scale = np.arange(1, 129.0) ** (-decay / 2)
    x, y = normal(n, 128, 1) * scale, 1.1 * normal(m, 128, 2) * scale
    assert frechet_distance(x, y) == pytest.approx(by_singular_values(x, y), rel=1e-9)
    assert FrechetStatistics.of(x, y).distance(replicate=True) == pytest.approx(
        by_singular_values(x, y), rel=1e-5
    )


@pytest.mark.parametrize(("n", "d"), [(60, 64), (300, 64)])
def test_dead_dimensions_and_repeated_samples(n: int, d: int) -> None:
    x, y = np.maximum(normal(n, d, 1), 0), np.maximum(normal(n, d, 2), 0)
    x[:, ::3] = 0
    y[n // 2 :] = y[: n - n // 2]
    assert frechet_distance(x, y) == pytest.approx(by_singular_values(x, y), rel=1e-9)
    assert FrechetStatistics.of(x, y).distance(replicate=True) == pytest.approx(
        by_singular_values(x, y), rel=1e-5
    )


def test_constant_samples() -> None:
    assert frechet_distance(np.ones((4, 3)), np.full((5, 3), 3.0)) == pytest.approx(12, rel=1e-12)


def test_every_example_is_a_sample() -> None:
    x, y = normal(60, 5, 1), normal(48, 5, 2)
    features = {
        "generated": {"e": {"a": x[:10], "b": x[10:45], "c": x[45:]}},
        "reference": {"e": {"a": y[:20], "b": y[20:]}},
    }
    score = FD.compute(features, Bootstrap(replicates=20))
    assert score.value == pytest.approx(frechet_distance(x, y), rel=1e-12)
    assert score.clips == ("a", "b", "c")
    assert score.interval is not None
    assert score.interval.high > score.interval.low


def test_paired_leaves_out_what_one_side_lacks() -> None:
    x, y = normal(30, 3, 1), normal(30, 3, 2)
    features = as_features("e", generated=x, reference=y[:20])
    both = FrechetDistance(embedding="e", paired=True).compute(features, None)
    assert both.value == pytest.approx(frechet_distance(x[:20], y[:20]), rel=1e-12)
    assert both.clips == tuple(clip_ids(20))
    everything = FD.compute(features, None)
    assert everything.value == pytest.approx(frechet_distance(x, y[:20]), rel=1e-12)


def test_warns_of_few_samples() -> None:
    few = FD.compute(as_features("e", generated=normal(19, 10), reference=normal(50, 10)), None)
    assert "19 samples in 10 dimensions" in few.warnings[0]
    enough = FD.compute(as_features("e", generated=normal(20, 10), reference=normal(20, 10)), None)
    assert enough.warnings == ()


def test_warns_where_the_sides_stand_on_other_clips() -> None:
    score = FD.compute(as_features("e", generated=normal(25, 10), reference=normal(30, 10)), None)
    told = "25 generated clips against 30 references, 5 on one side only"
    assert score.warnings == (told,)


def test_infinity_removes_the_bias() -> None:
    """For equal distributions FD∞ is nearer to 0 than FD, whose bias is large in 16 dimensions."""
    reference = normal(20000, 16, 1)
    plain, limit = [], []
    for seed in range(5):
        x = normal(400, 16, seed + 2)
        plain.append(frechet_distance(x, reference))
        limit.append(frechet_distance_infinity(x, reference)[0])
    assert abs(np.mean(limit)) < 0.3 * np.mean(plain)


def test_infinity_is_the_intercept_of_the_documented_line() -> None:
    x, y = normal(100, 4, 1), normal(80, 4, 2) + 1
    rng = np.random.default_rng(7)
    sizes = [10, 25, 40, 55, 70, 85, 100]
    distances = [frechet_distance(x[rng.permutation(100)[:n]], y) for n in sizes]
    line = scipy.stats.linregress([1 / n for n in sizes], distances)
    value, fit = frechet_distance_infinity(x, y, points=7, seed=7)
    assert subset_sizes(100, 7, 0.1).tolist() == sizes
    assert value == pytest.approx(line.intercept, rel=1e-9)
    assert fit == pytest.approx(line.rvalue**2, rel=1e-9)


def test_infinity_counts_clips_not_examples() -> None:
    x, y = normal(60, 3, 1).reshape(20, 3, 3), normal(50, 3, 2)
    metric = FrechetDistanceInfinity(embedding="e", smallest=0.2)
    score = metric.compute(as_features("e", generated=x, reference=y), None)
    expected, fit = frechet_distance_infinity(
        x.reshape(60, 3), y, smallest=0.2, owner=np.repeat(np.arange(20), 3)
    )
    assert score.value == expected
    assert score.details == {"r_squared": fit}


def test_infinity_of_constant_samples_is_finite() -> None:
    assert frechet_distance_infinity(np.zeros((30, 2)), np.ones((30, 2))) == pytest.approx((2, 1))


def test_infinity_says_why_it_is_undefined() -> None:
    features = as_features("e", generated=normal(8, 2), reference=normal(50, 2))
    score = FrechetDistanceInfinity(embedding="e").compute(features, None)
    assert score.value is None
    assert "8 clips" in score.warnings[0]
    with pytest.raises(ValueError, match="8 clips"):
        frechet_distance_infinity(normal(8, 2), normal(50, 2))
