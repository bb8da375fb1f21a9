"""What every metric owes the harness, whatever it measures."""

from collections.abc import Mapping
from dataclasses import FrozenInstanceError, replace

import numpy as np
import pytest
from metric_inputs import clip_ids

from v2abench.contracts import Bootstrap, Direction, Metric, Score
from v2abench.metrics import signal
from v2abench.metrics.av_align import AVAlign, AVAlignExcess
from v2abench.metrics.class_agreement import ClassAgreement
from v2abench.metrics.frechet import FrechetDistance, FrechetDistanceInfinity
from v2abench.metrics.inception import InceptionScore
from v2abench.metrics.kernel import KernelAudioDistance, KernelInceptionDistance
from v2abench.metrics.kl import KLDivergence
from v2abench.metrics.onset_f1 import OnsetF1
from v2abench.metrics.pesq import PESQ

METRICS: list[Metric] = [
    FrechetDistance(),
    FrechetDistanceInfinity(smallest=0.3),
    KLDivergence(),
    InceptionScore(splits=3),
    KernelInceptionDistance(subsets=5, subset_size=10),
    KernelAudioDistance(),
    AVAlign(),
    AVAlignExcess(),
    ClassAgreement(),
    OnsetF1(),
    PESQ(),
    signal.LevelDifference(),
    signal.loudness(),
    signal.true_peak(),
    signal.silence_share(),
    signal.clipping_share(),
    signal.dc_offset(),
]
each_metric = pytest.mark.parametrize("metric", METRICS, ids=lambda m: m.name)


def features_for(metric: Metric, n: int = 30) -> dict[str, dict[str, dict[str, np.ndarray]]]:
    """Made features of all that `metric` needs, for n clips."""
    rng = np.random.default_rng(0)

    def one(name: str) -> np.ndarray:
        network, _, feature = name.partition(".")
        if network == "aisfx":
            return rng.standard_normal(6).astype(np.float32)
        if feature in ("times", "peaks"):
            return np.sort(rng.uniform(0, 4, rng.integers(0, 6)))
        if feature == "magnitude":
            return np.ones(100)
        return np.array(rng.uniform(0, 1) + (network == "pesq"))

    return {
        stream: {name: {clip: one(name) for clip in clip_ids(n)} for name in names}
        for stream, names in metric.needs.items()
    }


def numbers(score: Score) -> list[float]:
    interval = [score.interval.low, score.interval.high] if score.interval else []
    return [score.value, *interval, *score.details.values(), *(score.per_clip or {}).values()]


@each_metric
def test_description(metric: Metric) -> None:
    assert isinstance(metric.direction, Direction)
    assert metric.subset in ("all", "speech")
    assert isinstance(metric.needs, Mapping)
    assert metric.needs
    for stream, names in metric.needs.items():
        assert stream in ("generated", "reference", "video")
        assert isinstance(names, tuple)
        assert all("." in name for name in names)
    assert isinstance(metric.unit, str)
    assert isinstance(metric.citation, str)
    assert all(isinstance(value, str | int | float | None) for value in metric.parameters.values())
    assert metric.name not in metric.parameters.values()


@each_metric
def test_is_a_frozen_value(metric: Metric) -> None:
    assert replace(metric) == metric
    assert hash(replace(metric)) == hash(metric)
    with pytest.raises(FrozenInstanceError):
        metric.name = "other"


@each_metric
def test_score_is_finite_real_and_complete(metric: Metric) -> None:
    score = metric.compute(features_for(metric), Bootstrap(10))
    assert all(type(value) is float and np.isfinite(value) for value in numbers(score))
    assert score.clips == tuple(clip_ids(30))
    if score.per_clip is not None:
        assert tuple(score.per_clip) == score.clips
        assert score.value == pytest.approx(np.mean(list(score.per_clip.values())), rel=1e-12)
    if score.interval is not None:
        assert score.interval.low <= score.value <= score.interval.high


@each_metric
@pytest.mark.parametrize("bootstrap", [None, Bootstrap(10)])
def test_without_features_it_says_so(metric: Metric, bootstrap: Bootstrap | None) -> None:
    empty: list[dict] = [
        {},
        {stream: {name: {} for name in names} for stream, names in metric.needs.items()},
    ]
    full = features_for(metric)
    if len(metric.needs) > 1:
        empty += [{stream: features} for stream, features in full.items()]
    for features in empty:
        score = metric.compute(features, bootstrap)
        assert (score.value, score.clips, score.interval) == (None, (), None)
        assert score.warnings
        assert all(score.warnings)


@each_metric
@pytest.mark.parametrize("n", [1, 2, 3])
def test_few_clips_give_a_number_or_a_reason(metric: Metric, n: int) -> None:
    score = metric.compute(features_for(metric, n), Bootstrap(10))
    if score.value is None:
        assert score.clips == ()
        assert score.warnings
    else:
        assert np.isfinite(numbers(score)).all()


@each_metric
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_features_that_are_not_finite_are_a_bug(metric: Metric, bad: float) -> None:
    for stream in metric.needs:
        features = features_for(metric)
        for clips in features[stream].values():
            clips["clip00007"] = np.full_like(clips["clip00006"], bad) if clips["clip00006"].size else [bad]
        with pytest.raises(ValueError, match=r"'clip00007' is not finite"):
            metric.compute(features, None)


def test_parameters_move_with_the_options() -> None:
    """What changes a value must change the signature."""
    assert InceptionScore(splits=5).parameters != InceptionScore().parameters
    assert KLDivergence(epsilon=1e-6).parameters != KLDivergence().parameters
    assert FrechetDistance(paired=True).parameters != FrechetDistance().parameters
    assert FrechetDistanceInfinity(seed=1).parameters != FrechetDistanceInfinity().parameters
    assert KernelAudioDistance(bandwidth_pairs=9).parameters != KernelAudioDistance().parameters
    assert KernelInceptionDistance(degree=2).parameters != KernelInceptionDistance().parameters
    assert AVAlign(frame_rate=30).parameters != AVAlign().parameters


def test_features_of_a_wrong_shape_are_a_bug() -> None:
    matrix = {"generated": {"aisfx.logits": {"a": np.zeros((2, 5)), "b": np.zeros((1, 5))}}}
    with pytest.raises(ValueError, match="one vector a clip"):
        InceptionScore(splits=1).compute(matrix, None)
    cube = {s: {"aisfx.embedding": {"a": np.zeros((2, 2, 2))}} for s in ("generated", "reference")}
    with pytest.raises(ValueError, match="has 3 axes"):
        FrechetDistance().compute(cube, None)
