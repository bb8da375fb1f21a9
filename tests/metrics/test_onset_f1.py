from itertools import combinations, permutations

import numpy as np
import pytest

from v2abench.contracts import Bootstrap
from v2abench.metrics.onset_f1 import OnsetF1, count_matches


def compute(generated: dict[str, list[float]], reference: dict[str, list[float]]) -> object:
    sides = {"generated": generated, "reference": reference}
    features = {
        side: {"onsets.times": {c: np.array(t) for c, t in clips.items()}} for side, clips in sides.items()
    }
    return OnsetF1().compute(features, Bootstrap())


def most_matches(first: np.ndarray, second: np.ndarray, tolerance: float) -> int:
    """By trying every pairing."""
    for count in range(min(len(first), len(second)), 0, -1):
        for chosen in combinations(first, count):
            for others in permutations(second, count):
                if np.all(np.abs(np.subtract(chosen, others)) <= tolerance):
                    return count
    return 0


def test_as_many_are_matched_as_any_pairing_can() -> None:
    rng = np.random.default_rng(0)
    for _ in range(200):
        first, second = (np.sort(rng.uniform(0, 0.4, rng.integers(0, 5))) for _ in range(2))
        assert count_matches(first, second, 0.06) == most_matches(first, second, 0.06)


def test_onsets_are_compared_with_those_of_the_same_clip() -> None:
    score = compute(
        {"a": [1.0, 2.0], "b": [0.5], "c": [], "d": [], "e": [3.0]},
        {"a": [1.05, 2.2, 3.0], "b": [0.5], "c": [], "d": [1.0], "f": [3.0]},
    )
    assert score.per_clip == pytest.approx({"a": 2 / 5, "b": 1.0, "c": 1.0, "d": 0.0})
    assert score.value == pytest.approx(0.6)
    assert score.details == pytest.approx({"precision": 2 / 3, "recall": 2 / 5})


def test_the_tolerance_is_inclusive() -> None:
    assert compute({"a": [1.06]}, {"a": [1.0]}).value == 1
    assert compute({"a": [1.0601]}, {"a": [1.0]}).value == 0


def test_two_onsets_do_not_share_one() -> None:
    assert compute({"a": [1.0, 1.02]}, {"a": [1.0]}).per_clip["a"] == pytest.approx(2 / 3)


def test_it_is_undefined_without_clips_and_refuses_a_tolerance_of_nothing() -> None:
    assert compute({}, {}).value is None
    with pytest.raises(ValueError, match="tolerance is 0"):
        OnsetF1(tolerance=0)
