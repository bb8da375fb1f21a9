import numpy as np
import pytest

from v2abench.contracts import Bootstrap
from v2abench.metrics.av_align import AVAlign, AVAlignExcess, intersection_over_union


def score(audio: list[float], video: list[float], frame_rate: float = 25) -> float:
    return intersection_over_union(np.array(audio), np.array(video), frame_rate)


@pytest.mark.parametrize(
    ("audio", "video", "expected"),
    [
        ([], [], 1.0),
        ([1.0], [], 0.0),
        ([], [1.0], 0.0),
        ([1.0, 2.0], [1.0, 2.0], 1.0),
        ([1.0, 2.0], [1.01, 3.0], 1 / 3),
        ([1.0, 1.01], [1.0], 1 / 2),
        ([1.0], [0.98, 1.0], 1 / 2),
        ([1.5, 1.52, 1.54], [1.51, 1.53], 2 / 3),
    ],
)
def test_by_hand(audio: list[float], video: list[float], expected: float) -> None:
    assert score(audio, video) == pytest.approx(expected)


def test_first_free_peak_is_taken_not_the_nearest() -> None:
    """1.00 takes 0.97 although 1.00 is there, so 0.95 finds nothing within 0.04 of 1.00."""
    assert score([1.0, 0.95], [0.97, 1.0]) == pytest.approx(1 / 3)
    assert score([0.95, 1.0], [0.97, 1.0]) == 1.0


@pytest.mark.parametrize("side", [-1, 1])
def test_the_tolerance_is_strict(side: int) -> None:
    """With 32 frames a second, 1/fps is exact in binary."""
    assert score([1 + side / 32], [1.0], 32) == 0.0
    assert score([1 + side * 0.031249], [1.0], 32) == 1.0


def test_the_tolerance_is_a_frame() -> None:
    assert score([1.05], [1.0], 25) == 0.0
    assert score([1.05], [1.0], 15) == 1.0


def test_metric() -> None:
    features = {
        "generated": {
            "onsets.times": {"b": np.array([1.0]), "a": np.array([]), "c": np.array([0.5]), "x": np.array([])}
        },
        "video": {"motion.peaks": {"a": np.array([]), "b": np.array([1.0, 2.0]), "c": np.array([0.9])}},
    }
    result = AVAlign().compute(features, Bootstrap())
    assert result.per_clip == {"a": 1.0, "b": 0.5, "c": 0.0}
    assert result.value == pytest.approx(0.5)
    assert result.clips == ("a", "b", "c")
    assert result.interval.low == 0.0
    assert result.interval.high == 1.0


def test_drifting_sound_scores_lower() -> None:
    peaks = np.arange(0.2, 8, 0.5)
    scores = [score(list(peaks + shift), list(peaks)) for shift in (0.0, 0.03, 0.2)]
    assert scores[0] == scores[1] == 1.0
    assert scores[2] == 0.0


def test_unusable_frame_rate() -> None:
    with pytest.raises(ValueError, match="frame_rate is 0"):
        AVAlign(frame_rate=0)


def excess(onsets: np.ndarray, peaks: np.ndarray, seconds: float = 8.0) -> float:
    features = {
        "generated": {"onsets.times": {"a": onsets}},
        "video": {"motion.peaks": {"a": peaks}, "motion.magnitude": {"a": np.zeros(round(25 * seconds))}},
    }
    return AVAlignExcess().compute(features, None).value


def test_excess_by_hand() -> None:
    """None of the 16 shifts, multiples of 0.5 s, brings the two onsets near a peak again."""
    peaks = np.array([1.0, 5.25])
    assert score([1.0, 5.25], [1.0, 5.25]) == 1.0
    assert excess(peaks, peaks, 8.5) == 1.0
    assert excess(np.array([]), peaks) == 0.0
    assert excess(np.array([]), np.array([])) == 0.0


def test_many_onsets_gain_by_chance_only() -> None:
    """Onsets that know nothing of the video score more the more they are, but have no excess."""
    rng = np.random.default_rng(0)
    plain, corrected = {}, {}
    for count in (4, 24):
        pairs = [(np.sort(rng.uniform(0, 8, count)), np.sort(rng.uniform(0, 8, 40))) for _ in range(300)]
        plain[count] = np.mean([score(list(a), list(v)) for a, v in pairs])
        corrected[count] = np.mean([excess(a, v) for a, v in pairs])
    assert plain[24] > 2 * plain[4]
    assert abs(corrected[4]) < 0.01
    assert abs(corrected[24]) < 0.01


def test_excess_is_positive_for_synchronous_sound_and_names_wrong_options() -> None:
    rng = np.random.default_rng(1)
    peaks = np.sort(rng.uniform(0, 8, 40))
    assert excess(peaks[::8] + 0.01, peaks) > 0.05
    with pytest.raises(ValueError, match="shifts 0"):
        AVAlignExcess(shifts=0)
