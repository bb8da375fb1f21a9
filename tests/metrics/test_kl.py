import numpy as np
import pytest
from metric_inputs import GOLDENS, as_features, golden_logits

from v2abench.contracts import Bootstrap
from v2abench.metrics.kl import KLDivergence, sigmoid_divergences, softmax_divergences

KL = KLDivergence(logits="l")


@pytest.mark.parametrize("n", [8, 197, 200])
def test_golden(n: int) -> None:
    generated, reference = golden_logits(n)
    found = np.array(
        [
            softmax_divergences(reference, generated).mean(),
            sigmoid_divergences(reference, generated).mean(),
        ]
    )
    np.testing.assert_allclose(found, GOLDENS[f"kl_f64_{n}"], rtol=1e-9)
    np.testing.assert_allclose(found, GOLDENS[f"kl_{n}"], rtol=1e-6)


@pytest.mark.parametrize("n", [8, 197, 200])
@pytest.mark.parametrize(("place", "variant"), [(0, "softmax"), (1, "sigmoid")])
def test_golden_of_audioldm_eval(n: int, place: int, variant: str) -> None:
    generated, reference = golden_logits(n)
    metric = KLDivergence(logits="l", variant=variant, epsilon=1e-6)
    value = metric.compute(as_features("l", generated=generated, reference=reference), None).value
    assert value == pytest.approx(GOLDENS[f"kl_audioldm_{n}"][place], rel=1e-6)


def test_equal_distributions() -> None:
    generated, _ = golden_logits(8)
    assert softmax_divergences(generated, generated).tolist() == [0.0] * 8
    assert sigmoid_divergences(generated, generated).tolist() == [0.0] * 8
    np.testing.assert_allclose(softmax_divergences(generated, generated + 100.0), 0, atol=1e-5)


def test_direction_is_from_the_reference() -> None:
    sure, fair = np.array([[np.log(9), 0]]), np.array([[0.0, 0]])
    expected = 0.9 * np.log(0.9 / 0.5) + 0.1 * np.log(0.1 / 0.5)
    assert softmax_divergences(sure, fair)[0] == pytest.approx(expected, rel=1e-12)
    assert softmax_divergences(fair, sure)[0] != pytest.approx(expected, rel=1e-3)


def test_far_apart_logits_stay_finite() -> None:
    reference, generated = np.array([[2000.0, 0, -2000]]), np.array([[-2000.0, 0, 2000]])
    assert softmax_divergences(reference, generated)[0] == pytest.approx(4000)


def test_pairs_by_id() -> None:
    generated, reference = golden_logits(8)
    features = as_features("l", generated=generated, reference=reference)
    del features["generated"]["l"]["clip00003"]
    features["generated"]["l"] = dict(reversed(features["generated"]["l"].items()))
    score = KL.compute(features, Bootstrap())
    rows = [0, 1, 2, 4, 5, 6, 7]
    expected = softmax_divergences(reference[rows], generated[rows])
    assert list(score.per_clip.values()) == expected.tolist()
    assert score.clips == tuple(score.per_clip)
    assert "clip00003" not in score.clips


def test_lower_is_nearer() -> None:
    _, reference = golden_logits(200)
    noise = np.random.default_rng(0).standard_normal(reference.shape)
    near, far = (softmax_divergences(reference, reference + s * noise).mean() for s in (0.5, 1.0))
    assert near < far


def test_unknown_variant() -> None:
    with pytest.raises(ValueError, match="'softmax' or 'sigmoid'"):
        KLDivergence(variant="hard")
