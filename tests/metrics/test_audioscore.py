"""AudioScore's components, classifier and fit, on numbers made here."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import save

from v2abench.errors import V2ABenchError
from v2abench.metrics import audioscore
from v2abench.metrics.audioscore import AudioScore
from v2abench.metrics.audioscore_classifier import (
    Classifier,
    as_bytes,
    composite,
    of_bytes,
    quality,
    read_classifier,
)
from v2abench.metrics.audioscore_components import (
    IMPACTS,
    PAPER,
    Component,
    ComponentScore,
    component_values,
    reference_prior,
)
from v2abench.metrics.audioscore_fit import (
    Rated,
    class_weights,
    divide,
    figures,
    fit,
    median_votes,
)

IB, CLAP, DESYNC, INCEPTION, PESQ = PAPER
THREE = (
    Component("a", "value", (("generated", "n.a"),)),
    Component("b", "value", (("generated", "n.b"),), sign=-1),
    Component("c", "value", (("generated", "n.c"),), speech=True),
)


def rated(count: int = 300, seed: int = 0) -> Rated:
    """Sounds whose quality is a - b, seen through noise; a third lacks c; five sounds a clip."""
    rng = np.random.default_rng(seed)
    values = rng.normal(size=(count, 3)) * [2.0, 5.0, 1.0] + [10.0, -3.0, 0.0]
    truth = (values[:, 0] - 10) / 2 - (values[:, 1] + 3) / 5 + 0.3 * rng.normal(size=count)
    values[rng.random(count) < 0.3, 2] = np.nan
    classes = np.digitize(-truth, [-0.7, 0.9])
    votes = np.eye(3)[classes] * 3
    return Rated(values, votes, [f"clip{n // 5}" for n in range(count)])


@pytest.fixture(scope="module")
def classifier() -> Classifier:
    arrays = {**fit(rated()).arrays, "prior.a": np.array([0.5, 0.5])}
    return of_bytes(as_bytes(THREE, arrays, {"stands_on": {"n": "0123", "window": "0-4s"}}), "made")


def test_cosine_offset_and_value() -> None:
    features = {
        "generated": {
            "imagebind_audio.embedding": {"x": np.array([3.0, 4.0])},
            "synchformer.logits": {"x": np.eye(21)[[10, 15]]},
            "pesq.wideband": {"x": np.array(2.5)},
        },
        "video": {"imagebind_video.embedding": {"x": np.array([0.0, 2.0]), "y": np.array([1.0, 0.0])}},
    }
    assert component_values(IB, features) == {"x": pytest.approx(0.8)}
    assert component_values(DESYNC, features) == {"x": pytest.approx(0.5, abs=1e-7)}
    assert component_values(PESQ, features) == {"x": 2.5}
    assert component_values(CLAP, features) == {}


def test_the_mean_log_of_inception_terms_is_the_log_of_the_score() -> None:
    rng = np.random.default_rng(1)
    logits = {f"c{n}": rng.normal(size=8) * 3 for n in range(40)}
    features = {"generated": {"cnn14.logits": logits}, "reference": {"cnn14.logits": logits}}
    prior = reference_prior(INCEPTION, features)
    terms = component_values(INCEPTION, features, prior)
    p = np.exp(np.array(list(logits.values())))
    p /= p.sum(axis=1, keepdims=True)
    score = np.exp((p * np.log(p / p.mean(axis=0))).sum(axis=1).mean())
    assert np.exp(np.log(list(terms.values())).mean()) == pytest.approx(score, rel=1e-12)
    found = ComponentScore(INCEPTION).compute(features, None)
    assert found.per_clip == pytest.approx(terms)
    given = ComponentScore(INCEPTION, tuple(prior.tolist()))  # type: ignore[union-attr]
    assert "reference" not in given.needs
    assert given.compute(features, None).per_clip == pytest.approx(terms)


def test_components_of_the_embedded_world() -> None:
    by_name = {component.name: component for component in IMPACTS}
    logits = np.log(np.array([0.6, 0.3, 0.1]))
    features = {
        "generated": {
            "impacts_tagger.logits": {"x": logits},
            "levels.loudness": {"x": np.array([-20.0])},
            "impacts_sync.logits": {"x": np.eye(21)[[0, 0]], "mute": np.eye(21)[[10, 10]]},
            "impacts_onsets.times": {"x": np.array([1.0]), "mute": np.array([])},
        },
        "text": {"impacts_words.classes": {"x": np.array([1.0, 0.0, 1.0])}},
        "reference": {"levels.loudness": {"x": np.array([-26.0])}},
    }
    assert component_values(by_name["clap"], features) == {"x": pytest.approx(0.7)}
    assert component_values(by_name["level"], features) == {"x": 6.0}
    assert component_values(by_name["desync"], features) == {"x": pytest.approx(1.0), "mute": 1.0}


def test_a_component_comes_back_from_its_card() -> None:
    for component in (*PAPER, *IMPACTS):
        assert Component.of_data(component.as_data()) == component
    with pytest.raises(ValueError, match="no component of kind 'magic'"):
        Component.of_data({**IB.as_data(), "kind": "magic"})


def test_the_network_is_linear_relu_linear_softmax_of_standardised_values(classifier: Classifier) -> None:
    arrays = {name: torch.from_numpy(array.copy()) for name, array in classifier.arrays.items()}
    values = rated(20, seed=5).values
    standard = (values - classifier.arrays["mean"]) / classifier.arrays["deviation"]
    inputs = torch.from_numpy(np.nan_to_num(standard))
    hidden = torch.nn.functional.linear(inputs, arrays["hidden.weight"], arrays["hidden.bias"]).relu()
    logits = torch.nn.functional.linear(hidden, arrays["output.weight"], arrays["output.bias"])
    assert arrays["hidden.weight"].shape == (32, 3)
    np.testing.assert_allclose(classifier.probabilities(values), logits.softmax(dim=1), atol=1e-12)


def test_a_missing_component_counts_as_its_mean(classifier: Classifier) -> None:
    mean = classifier.arrays["mean"]
    missing = np.array([[11.0, np.nan, np.nan]])
    filled = np.array([[11.0, mean[1], mean[2]]])
    np.testing.assert_array_equal(classifier.probabilities(missing), classifier.probabilities(filled))
    reasons = classifier.reasons(missing)[0]
    assert reasons[0] > 0
    np.testing.assert_allclose(reasons[1:], 0.0, atol=1e-12)


def test_a_fit_finds_what_raters_hear_and_ignores_what_they_do_not() -> None:
    made = fit(rated(600))
    assert made.figures.accuracy > made.figures.majority + 0.25
    assert made.figures.macro_f1 > 0.75
    assert made.figures.ece < 0.15
    assert sum(map(sum, made.figures.confusion)) == made.figures.sounds == len(made.held_out)
    assert sum(b.count for b in made.figures.calibration) == made.figures.sounds


def test_labels_without_reason_cannot_be_learnt() -> None:
    data = rated(600)
    shuffled = np.random.default_rng(0).permutation(data.votes)
    made = fit(replace(data, votes=shuffled))
    assert made.figures.accuracy < 0.55


def test_a_fit_depends_on_its_seed_only() -> None:
    first = fit(rated(), 3)
    torch.rand(7)
    again, other = fit(rated(), 3), fit(rated(), 4)
    for name, array in first.arrays.items():
        np.testing.assert_array_equal(array, again.arrays[name])
    assert not np.array_equal(first.arrays["hidden.weight"], other.arrays["hidden.weight"])


def test_clips_are_divided_not_sounds() -> None:
    clips = [f"clip{n // 5}" for n in range(500)]
    parts = divide(clips, 0)
    names = [{clips[row] for row in part} for part in parts]
    assert [len(part) for part in parts] == [350, 75, 75]
    assert sum(map(len, names)) == len(set().union(*names)) == 100


def test_votes_weights_and_figures_by_hand() -> None:
    votes = np.array([[2, 0, 1], [1, 0, 1], [0, 1, 2], [1, 1, 1]])
    assert median_votes(votes).tolist() == [0, 0, 2, 1]
    assert class_weights(np.array([0, 0, 0, 1])).tolist() == [4 / 9, 4 / 3, 0.0]
    found = figures(np.array([[0.9, 0.1, 0.0], [0.6, 0.3, 0.1], [0.0, 0.2, 0.8]]), np.array([0, 1, 2]))
    assert found.accuracy == pytest.approx(2 / 3)
    assert found.macro_f1 == pytest.approx((2 / 3 + 0 + 1) / 3)
    assert found.confusion == ((1, 0, 0), (1, 0, 0), (0, 0, 1))
    assert found.ece == pytest.approx((0.1 + 0.6 + 0.2) / 3)


def test_too_few_ratings_are_told() -> None:
    few = rated(20)
    with pytest.raises(V2ABenchError, match="20 rated sounds are too few"):
        fit(few)
    data = rated(100)
    only = np.tile([1.0, 0.0, 0.0], (100, 1))
    with pytest.raises(V2ABenchError, match="rated Medium, Bad"):
        fit(replace(data, votes=only))


def test_the_composite_orders_by_signed_deviations_and_is_of_its_set_only() -> None:
    values = np.array([[1.0, 5.0, np.nan], [2.0, 3.0, np.nan], [3.0, 1.0, np.nan]])
    found = composite(values, THREE)
    step = np.sqrt(1.5) * 2 / 3
    np.testing.assert_allclose(found, [-step, 0.0, step])


def test_the_metric_is_the_mean_over_clips_with_shares(
    classifier: Classifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audioscore, "open_audioscore", lambda _name: classifier)
    metric = AudioScore(fitted="made")
    values = rated(30, seed=9).values
    clips = [f"c{n:02}" for n in range(30)]
    features = {
        "generated": {
            f"n.{c.name}": {
                clip: np.array(v) for clip, v in zip(clips, column, strict=True) if not np.isnan(v)
            }
            for c, column in zip(THREE, values.T, strict=True)
        }
    }
    del features["generated"]["n.b"]["c00"]
    score = metric.compute(features, None)
    values[0, 1] = np.nan
    expected = classifier.probabilities(values)
    assert score.value == pytest.approx(expected[:, 0].mean())
    assert score.per_clip == pytest.approx(dict(zip(clips, expected[:, 0], strict=True)))
    shares = np.bincount(expected.argmax(axis=1), minlength=3) / 30
    assert list(score.details.values()) == pytest.approx(shares.tolist())
    assert score.warnings == ("component b is missing for 1 of 30 clips and counts as its mean",)
    assert metric.needs == {"generated": ("n.a", "n.b", "n.c")}
    assert metric.speech_only == ("n.c",)
    assert metric.compute({}, None).value is None
    assert quality(expected)[1] == pytest.approx(expected[1, 0] - expected[1, 2])


def test_the_file_comes_back_and_others_are_refused(tmp_path: Path, classifier: Classifier) -> None:
    path = tmp_path / "made.safetensors"
    data = as_bytes(THREE, classifier.arrays, {"stands_on": {"n": "0123"}})
    path.write_bytes(data)
    found = read_classifier(path)
    assert found.components == THREE
    assert found.stands_on == {"n": "0123"}
    np.testing.assert_array_equal(found.prior(THREE[0]), [0.5, 0.5])
    wrong = {**classifier.arrays, "hidden.bias": np.zeros(31)}
    path.write_bytes(as_bytes(THREE, wrong, {}))
    with pytest.raises(V2ABenchError, match=r"not a fitted AudioScore \(hidden.bias is \(31,\)"):
        read_classifier(path)
    path.write_bytes(as_bytes(THREE, {**classifier.arrays, "mean": np.full(3, np.nan)}, {}))
    with pytest.raises(V2ABenchError, match="mean is not finite"):
        read_classifier(path)
    path.write_bytes(save({"mean": np.zeros(3)}))
    with pytest.raises(V2ABenchError, match="not a fitted AudioScore"):
        read_classifier(path)
    path.write_bytes(b"nothing of the kind")
    with pytest.raises(V2ABenchError, match="make one with `v2abench audioscore fit`"):
        read_classifier(path)
    with pytest.raises(V2ABenchError, match="does not exist"):
        read_classifier(tmp_path / "none.safetensors")
