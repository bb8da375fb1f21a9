import numpy as np
import pytest
from metric_inputs import as_features, clip_ids

from v2abench.contracts import Bootstrap
from v2abench.metrics.bootstrap import clip_counts, mean_interval, recentred_interval
from v2abench.metrics.frechet import FrechetDistance
from v2abench.metrics.frechet_statistics import FrechetStatistics
from v2abench.metrics.inception import InceptionScore
from v2abench.metrics.kernel import KernelAudioDistance, KernelInceptionDistance
from v2abench.metrics.kl import KLDivergence

FD = FrechetDistance(embedding="e")
SET_METRICS = [
    FD,
    KernelAudioDistance(embedding="e"),
    KernelInceptionDistance(embedding="e", subsets=10, subset_size=20),
    InceptionScore(logits="e", splits=2),
]


def draw(rng: np.random.Generator, n: int, d: int) -> tuple[np.ndarray, np.ndarray]:
    """Two independent sets of different Gaussians."""
    scale = np.linspace(0.5, 1.5, d)
    return rng.standard_normal((n, d)) * scale, 1.2 * rng.standard_normal((n, d)) * scale + 0.25


def unpaired(x: np.ndarray, y: np.ndarray) -> dict[str, dict[str, dict[str, np.ndarray]]]:
    return {
        "generated": {"e": dict(zip(clip_ids(len(x), "g"), x, strict=True))},
        "reference": {"e": dict(zip(clip_ids(len(y), "r"), y, strict=True))},
    }


def replicates(x: np.ndarray, y: np.ndarray, bootstrap: Bootstrap) -> np.ndarray:
    counts = clip_counts(clip_ids(len(x), "g"), clip_ids(len(y), "r"), bootstrap, "FD")
    statistics = FrechetStatistics.of(x, y)
    return np.array([statistics.distance(*pair) for pair in zip(*counts, strict=True)])


def test_percentiles_of_fd_miss_what_recentring_holds() -> None:
    """Repeated clips bias FD upwards: the plain interval lies above the score itself."""
    x, y = draw(np.random.default_rng(0), 100, 40)
    bootstrap = Bootstrap(replicates=100)
    value = FrechetStatistics.of(x, y).distance()
    plain = np.quantile(replicates(x, y, bootstrap), [0.025, 0.975])
    assert plain[0] > value
    interval = FD.compute(unpaired(x, y), bootstrap).interval
    assert interval.low < value < interval.high
    assert interval.high - interval.low == pytest.approx(plain[1] - plain[0], rel=0.1)


def test_coverage_of_the_expected_fd() -> None:
    n, d = 40, 6
    rng = np.random.default_rng(1)
    expected = np.mean([FrechetStatistics.of(*draw(rng, n, d)).distance() for _ in range(1000)])
    held = plainly = 0
    for seed in range(200):
        x, y = draw(rng, n, d)
        bootstrap = Bootstrap(replicates=40, seed=seed)
        values = replicates(x, y, bootstrap)
        interval = recentred_interval(FrechetStatistics.of(x, y).distance(), values, bootstrap, (0, np.inf))
        held += interval.low <= expected <= interval.high
        plainly += np.quantile(values, 0.025) <= expected <= np.quantile(values, 0.975)
    assert held >= 0.85 * 200
    assert plainly < 0.75 * 200


@pytest.mark.parametrize(("n", "d"), [(50, 6), (20, 60)])
def test_a_set_against_itself(n: int, d: int) -> None:
    x, _ = draw(np.random.default_rng(2), n, d)
    features = as_features("e", generated=x, reference=x)
    for metric in (FD, KLDivergence(logits="e")):
        interval = metric.compute(features, Bootstrap(20)).interval
        assert interval.low == 0.0
        assert interval.high == pytest.approx(0, abs=1e-10)


def test_paired_clips_are_drawn_together() -> None:
    """A near copy, paired by id, is known better than by independent draws."""
    x, _ = draw(np.random.default_rng(3), 80, 5)
    y = x + 0.1 * np.random.default_rng(4).standard_normal(x.shape)
    together = FD.compute(as_features("e", generated=x, reference=y), Bootstrap(100)).interval
    apart = FD.compute(unpaired(x, y), Bootstrap(100)).interval
    assert together.high - together.low < 0.2 * (apart.high - apart.low)


def test_counts_keep_the_strata() -> None:
    generated, reference = ["a", "b", "c", "g1", "g2"], ["a", "b", "c", "r1", "r2", "r3"]
    first, second = clip_counts(generated, reference, Bootstrap(50), "FD")
    assert first.shape == (50, 5)
    assert second.shape == (50, 6)
    np.testing.assert_array_equal(first[:, :3], second[:, :3])
    for own in (first[:, :3], first[:, 3:], second[:, 3:]):
        assert (own.sum(axis=1) == own.shape[1]).all()
        assert len(np.unique(own, axis=0)) > 1
    assert clip_counts(["a"], ["a", "b"], Bootstrap(), "FD") is None


@pytest.mark.parametrize("metric", SET_METRICS, ids=lambda m: m.name)
def test_seeded_and_blind_to_the_order_of_clips(metric: object) -> None:
    x, y = draw(np.random.default_rng(5), 40, 4)
    features = as_features("e", generated=x, reference=y)
    shuffled = {s: {"e": dict(reversed(clips["e"].items()))} for s, clips in features.items()}
    score = metric.compute(features, Bootstrap(30))
    assert metric.compute(shuffled, Bootstrap(30)) == score
    assert metric.compute(features, Bootstrap(30, seed=1)).interval != score.interval
    assert metric.compute(features, None).value == pytest.approx(score.value, rel=1e-12)
    assert metric.compute(features, None).interval is None
    assert score.interval.low < score.value < score.interval.high


@pytest.mark.parametrize("metric", SET_METRICS, ids=lambda m: m.name)
def test_a_lower_level_is_a_narrower_interval(metric: object) -> None:
    x, y = draw(np.random.default_rng(6), 40, 4)
    features = as_features("e", generated=x, reference=y)
    wide, narrow = (metric.compute(features, Bootstrap(60, level)).interval for level in (0.95, 0.5))
    assert wide.low < narrow.low < narrow.high < wide.high
    assert narrow.level == 0.5


def test_metrics_draw_apart() -> None:
    ids = clip_ids(20)
    first, _ = clip_counts(ids, ids, Bootstrap(5), "FD")
    second, _ = clip_counts(ids, ids, Bootstrap(5), "KAD")
    assert not np.array_equal(first, second)


def test_students_interval() -> None:
    values = np.array([1.0, 2, 3, 4, 5])
    interval = mean_interval(values, Bootstrap())
    # standard error √(2.5/5), t(0.975, 4) = 2.776445
    assert interval.low == pytest.approx(3 - 2.776445 * np.sqrt(0.5), rel=1e-6)
    assert interval.high == pytest.approx(3 + 2.776445 * np.sqrt(0.5), rel=1e-6)
    assert mean_interval(values[:1], Bootstrap()) is None
    assert mean_interval(values, None) is None
    assert mean_interval(values, Bootstrap(), (2.9, 3.1)).low == 2.9


def test_coverage_of_a_mean_of_skewed_values() -> None:
    rng = np.random.default_rng(7)
    held = 0
    for _ in range(400):
        interval = mean_interval(rng.exponential(size=30), Bootstrap())
        held += interval.low <= 1 <= interval.high
    assert held >= 0.89 * 400
