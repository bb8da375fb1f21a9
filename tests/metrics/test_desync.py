import numpy as np
import pytest

from v2abench.contracts import Bootstrap
from v2abench.metrics.desync import OFFSETS, DeSync, chosen_offsets, expected_offsets


def sure(*offsets: float) -> np.ndarray:
    """Logits that leave no doubt about the offset of each window."""
    return np.stack([np.where(np.isclose(OFFSETS, offset, atol=1e-6), 50.0, 0.0) for offset in offsets])


def compute(**clips: np.ndarray) -> object:
    return DeSync().compute({"generated": {"synchformer.logits": clips}}, Bootstrap())


def test_the_grid_is_synchformers() -> None:
    assert len(OFFSETS) == 21
    assert OFFSETS[10] == 0
    np.testing.assert_allclose(OFFSETS[[0, 1, 20]], [-2, -1.8, 2], atol=1e-7)
    assert chosen_offsets(sure(0.4)) == pytest.approx(0.4)


def test_the_score_is_the_mean_absolute_offset_of_windows_and_clips() -> None:
    score = compute(a=sure(0.0, 0.0), b=sure(0.4, -0.2))
    assert score.per_clip == pytest.approx({"a": 0.0, "b": 0.3})
    assert score.value == pytest.approx(0.15)
    assert score.details == pytest.approx({"expected": 0.15, "signed": 0.05})
    assert score.clips == ("a", "b")


def test_a_larger_shift_scores_worse_and_doubt_is_seen_by_the_expectation_only() -> None:
    values = [compute(a=sure(shift, shift), b=sure(0.0, shift)).value for shift in (0.0, 0.2, 0.6, 2.0)]
    assert values == sorted(values)
    assert values[0] == 0
    doubtful = np.zeros((2, 21))
    doubtful[:, 10] = 1e-3
    assert compute(a=doubtful).value == 0
    assert compute(a=doubtful).details["expected"] == pytest.approx(np.abs(OFFSETS).mean(), rel=1e-3)
    assert expected_offsets(sure(1.0)) == pytest.approx(1.0, abs=1e-6)


def test_it_is_undefined_without_logits() -> None:
    assert compute().value is None


def test_a_sound_without_onsets_counts_the_whole_reach_where_onsets_count() -> None:
    metric = DeSync(logits="net.logits", reach=1.0, onsets="onsets.times")
    features = {
        "generated": {
            "net.logits": {"a": sure(0.4), "b": sure(0.0), "c": sure(0.0)},
            "onsets.times": {"a": np.array([1.0]), "b": np.array([]), "c": np.array([0.5, 2.0])},
        }
    }
    score = metric.compute(features, Bootstrap())
    assert score.per_clip == pytest.approx({"a": 0.2, "b": 1.0, "c": 0.0})
    assert score.details == pytest.approx({"expected": 0.4, "signed": 0.1})
    assert score.interval.high <= 1.0
    assert metric.needs == {"generated": ("net.logits", "onsets.times")}


def test_a_clip_without_one_of_the_features_does_not_enter() -> None:
    metric = DeSync(logits="net.logits", onsets="onsets.times")
    features = {
        "generated": {"net.logits": {"a": sure(0.4), "b": sure(0.0)}, "onsets.times": {"a": np.ones(1)}}
    }
    assert metric.compute(features, Bootstrap()).clips == ("a",)


def test_a_reach_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="reach is 0"):
        DeSync(reach=0)
