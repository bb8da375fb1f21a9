import numpy as np
import pytest
from metric_inputs import GOLDENS, as_features, golden_logits

from v2abench.contracts import Bootstrap
from v2abench.metrics.inception import InceptionScore, inception_score

IS = InceptionScore(logits="l")


@pytest.mark.parametrize("n", [197, 200])
def test_golden(n: int) -> None:
    generated, _ = golden_logits(n)
    assert inception_score(generated) == pytest.approx(GOLDENS[f"isc_{n}"], rel=1e-9)
    assert inception_score(generated, seed=None) == pytest.approx(GOLDENS[f"isc_noshuffle_{n}"], rel=1e-9)


@pytest.mark.parametrize("n", [8, 197, 200])
def test_golden_of_one_split(n: int) -> None:
    generated, _ = golden_logits(n)
    assert inception_score(generated, splits=1) == pytest.approx(GOLDENS[f"isc_1split_{n}"], rel=1e-9)


def test_undefined_where_upstream_gives_nan() -> None:
    assert np.isnan(GOLDENS["isc_8"]).all()
    assert np.isnan(GOLDENS["isc_noshuffle_8"]).all()
    generated, _ = golden_logits(8)
    score = IS.compute(as_features("l", generated=generated), Bootstrap())
    assert (score.value, score.clips, score.interval) == (None, (), None)
    assert "at least 10" in score.warnings[0]
    assert "has 8" in score.warnings[0]
    with pytest.raises(ValueError, match="8 clips cannot fill 10 splits"):
        inception_score(generated)


def test_metric_gives_mean_and_std() -> None:
    generated, _ = golden_logits(200)
    score = IS.compute(as_features("l", generated=generated), None)
    assert score.value == pytest.approx(GOLDENS["isc_200"][0], rel=1e-9)
    assert score.details["std"] == pytest.approx(GOLDENS["isc_200"][1], rel=1e-9)


def test_rows_are_in_the_order_of_ids() -> None:
    generated, _ = golden_logits(200)
    features = as_features("l", generated=generated)
    reordered = {"generated": {"l": dict(reversed(features["generated"]["l"].items()))}}
    assert IS.compute(reordered, Bootstrap(20)) == IS.compute(features, Bootstrap(20))


def test_identical_rows() -> None:
    generated, _ = golden_logits(200)
    value, std = inception_score(np.repeat(generated[:1], 50, axis=0))
    assert value == pytest.approx(1, abs=1e-12)
    assert std == pytest.approx(0, abs=1e-12)


def test_sure_and_varied_rows_reach_the_number_of_classes() -> None:
    logits = np.tile(2000 * np.eye(4), (10, 1))
    assert inception_score(logits, splits=10, seed=None)[0] == pytest.approx(4, rel=1e-12)


def test_interval_stays_in_range_and_holds_the_value() -> None:
    generated, _ = golden_logits(200)
    interval = IS.compute(as_features("l", generated=generated), Bootstrap(100)).interval
    assert 1 <= interval.low < GOLDENS["isc_200"][0] < interval.high <= 527


def test_unusable_option() -> None:
    with pytest.raises(ValueError, match="splits is 0"):
        InceptionScore(splits=0)
