import numpy as np
import pytest

from v2abench.contracts import Bootstrap
from v2abench.metrics.ib_score import IBScore, cosines


def features(audio: dict[str, np.ndarray], video: dict[str, np.ndarray]) -> dict:
    return {
        "generated": {"imagebind_audio.embedding": audio},
        "video": {"imagebind_video.embedding": video},
    }


def test_by_hand_and_whatever_the_length() -> None:
    first = np.array([[3.0, 4.0], [1.0, 0.0], [2.0, 0.0]])
    second = np.array([[3.0, 4.0], [0.0, 7.0], [-5.0, 0.0]])
    np.testing.assert_allclose(cosines(first, second), [1, 0, -1], atol=1e-15)


def test_the_score_is_the_mean_over_clips_of_both_sides_times_100() -> None:
    rng = np.random.default_rng(0)
    audio = {clip: rng.standard_normal(8) for clip in "abcd"}
    video = {clip: rng.standard_normal(8) for clip in "bcde"}
    score = IBScore().compute(features(audio, video), Bootstrap())
    assert score.clips == ("b", "c", "d")
    expected = [
        np.dot(audio[c], video[c]) / np.linalg.norm(audio[c]) / np.linalg.norm(video[c]) for c in "bcd"
    ]
    assert score.value == pytest.approx(100 * np.mean(expected))
    assert score.details["cosine"] == pytest.approx(np.mean(expected))
    assert score.interval.low <= score.value <= score.interval.high


def test_it_is_undefined_without_a_common_clip() -> None:
    score = IBScore().compute(features({"a": np.ones(2)}, {"b": np.ones(2)}), None)
    assert score.value is None
    assert "imagebind" in score.warnings[0]
