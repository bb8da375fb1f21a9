import numpy as np
import pytest

from v2abench.contracts import Bootstrap
from v2abench.metrics.class_agreement import ClassAgreement


def compute(generated: dict[str, list[float]], reference: dict[str, list[float]]) -> object:
    sides = {"generated": generated, "reference": reference}
    features = {
        side: {"aisfx.logits": {c: np.array(x) for c, x in clips.items()}} for side, clips in sides.items()
    }
    return ClassAgreement().compute(features, Bootstrap())


def test_it_is_the_share_of_clips_with_the_same_first_class() -> None:
    score = compute(
        {"a": [3, 1, 0], "b": [0, 0, 1], "c": [9, 0, 0], "d": [0, 5, 0]},
        {"a": [1, 0, 0], "b": [0, 0, 8], "c": [0, 1, 0], "e": [0, 1, 0]},
    )
    assert score.per_clip == {"a": 1, "b": 1, "c": 0}
    assert score.value == pytest.approx(2 / 3)
    assert score.interval.low >= 0
    assert score.interval.high <= 1


def test_it_is_undefined_without_pairs() -> None:
    assert compute({"a": [1, 0]}, {"b": [1, 0]}).value is None
