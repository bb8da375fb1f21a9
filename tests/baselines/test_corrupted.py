"""Corruptions spoil what they say, by as much as they say, and nothing else."""

from pathlib import Path

import numpy as np
import pytest

from v2abench.baselines.corrupted import CORRUPTIONS, true_sound
from v2abench.clips import Clip, Dataset
from v2abench.contracts import Request
from v2abench.errors import UnknownNameError, V2ABenchError
from v2abench.impacts.oracle import answer_to, grade
from v2abench.impacts.scenes import make_scene
from v2abench.models import ModelContext, clip_seed, open_model

IDS = [f"test-{index:06d}" for index in range(8)]
DATASET = Dataset("impacts-test", "impacts", tuple(Clip(name, Path(f"{name}.mp4")) for name in IDS))


def sounds(spec: str, seed: int = 0) -> list[np.ndarray]:
    model = open_model(spec, ModelContext(DATASET)).model
    requests = [Request(clip, 4.0, clip_seed(seed, clip.id)) for clip in DATASET.clips]
    return [answer.audio for answer in model.generate(requests)]


def graded(spec: str, what: str) -> float:
    return float(
        np.mean([getattr(grade(answer_to(n), a), what) for n, a in zip(IDS, sounds(spec), strict=True)])
    )


@pytest.mark.parametrize(
    ("specs", "hurt", "spared"),
    [
        (("shifted:0", "shifted:0.2", "shifted:1"), "f1", "right_material"),
        (("material:0", "material:0.5", "material:1"), "right_material", "f1"),
        (("dropped:0.3", "dropped:0.6", "dropped:1"), "recall", None),
        (("invented:0", "invented:2", "invented:6"), "precision", "recall"),
        (("noise:30", "noise:0", "noise:-20"), "overall", None),
        (("clipped:0", "clipped:12", "clipped:30"), "level", None),
    ],
)
def test_more_of_it_hurts_more_and_what_it_does_not_touch_stays(specs, hurt, spared) -> None:
    specs = [f"corrupted:{spec}" for spec in specs]
    values = [graded(spec, hurt) for spec in specs]
    assert values == sorted(values, reverse=True)
    assert values[0] > values[-1] + 0.25
    if spared is not None:
        assert graded(specs[-1], spared) > 0.85


def test_a_band_limit_takes_what_is_above_it() -> None:
    for audio, name in zip(sounds("corrupted:band:1000"), IDS, strict=True):
        spectrum = np.abs(np.fft.rfft(audio.samples[0])) ** 2
        assert spectrum[2 * 4000 :].sum() < 1e-6 * spectrum.sum()
        own = np.abs(np.fft.rfft(true_sound(make_scene("test", int(name[-6:]))))) ** 2
        assert spectrum[200 : 4 * 700].sum() == pytest.approx(own[200 : 4 * 700].sum(), rel=0.05)


def test_the_level_of_noise_is_what_was_asked() -> None:
    for audio, name in zip(sounds("corrupted:noise:6"), IDS, strict=True):
        true = true_sound(make_scene("test", int(name[-6:])))
        added = audio.samples[0] - true
        assert 10 * np.log10(np.mean(true**2) / np.mean(added**2)) == pytest.approx(6, abs=0.3)


@pytest.mark.parametrize("kind", CORRUPTIONS)
def test_a_sound_depends_on_its_seed_alone(kind) -> None:
    spec = f"corrupted:{kind}:{min(max(0.5, CORRUPTIONS[kind].least), CORRUPTIONS[kind].most):g}"
    first, again = (np.stack([audio.samples for audio in sounds(spec)]) for _ in range(2))
    np.testing.assert_array_equal(first, again)
    assert np.isfinite(first).all()
    assert np.abs(first).max() <= 1


@pytest.mark.parametrize("strength", ["", "loud", "nan", "9"])
def test_a_strength_without_sense_is_refused(strength) -> None:
    with pytest.raises(V2ABenchError, match=r"corrupted:shifted:.*seconds, from 0 to 3"):
        open_model(f"corrupted:shifted:{strength}", ModelContext(DATASET))


def test_an_unknown_kind_and_other_clips_are_refused() -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'shifted'"):
        open_model("corrupted:shfted:1", ModelContext(DATASET))
    other = Dataset("videos", "videos", (Clip("dog", Path("dog.mp4")),))
    with pytest.raises(V2ABenchError, match="'dog' is no clip of impacts"):
        open_model("corrupted:noise:10", ModelContext(other))
