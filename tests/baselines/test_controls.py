"""Controls do what their names say, clip by clip, whatever the order."""

from pathlib import Path

import numpy as np
import pytest

from v2abench.baselines.controls import NOISE_LEVEL, SAMPLE_RATE, shift
from v2abench.clips import Clip, Dataset
from v2abench.contracts import Generated, Request
from v2abench.errors import V2ABenchError
from v2abench.media.audio import Audio
from v2abench.media.reading import read_audio
from v2abench.models import ModelContext, clip_seed, open_model


@pytest.fixture
def dataset(videos: Path) -> Dataset:
    clips = tuple(Clip(path.stem, path, path) for path in sorted(videos.iterdir()))
    return Dataset("videos", "folder", clips)


def answers(
    spec: str, dataset: Dataset, clips: tuple[Clip, ...] | None = None, seed: int = 0
) -> dict[str, Generated]:
    requests = [Request(clip, 1.5, clip_seed(seed, clip.id)) for clip in clips or dataset.clips]
    found = list(open_model(spec, ModelContext(dataset)).model.generate(requests))
    assert [answer.clip_id for answer in found] == [request.clip.id for request in requests]
    return {answer.clip_id: answer for answer in found}


def test_ground_truth_is_the_reference_file(dataset: Dataset) -> None:
    assert {i: a.path for i, a in answers("ground-truth", dataset).items()} == {
        c.id: c.video for c in dataset.clips
    }


def test_silence_and_noise_have_the_asked_length_and_level(dataset: Dataset) -> None:
    for answer in answers("silence", dataset).values():
        assert answer.audio.samples.shape == (1, 24000)
        assert not answer.audio.samples.any()
    for answer in answers("noise", dataset).values():
        assert answer.audio.sample_rate == SAMPLE_RATE
        assert answer.audio.samples.std() == pytest.approx(NOISE_LEVEL, rel=0.05)


def test_noise_depends_on_clip_and_seed_not_on_order(dataset: Dataset) -> None:
    forward = answers("noise", dataset)
    backward = answers("noise", dataset, dataset.clips[::-1])
    other = answers("noise", dataset, seed=1)
    for clip in dataset.clips:
        np.testing.assert_array_equal(forward[clip.id].audio.samples, backward[clip.id].audio.samples)
        assert (forward[clip.id].audio.samples != other[clip.id].audio.samples).any()
    samples = [answer.audio.samples.tobytes() for answer in forward.values()]
    assert len(set(samples)) == len(samples)


def test_shuffled_gives_everyone_another_clips_sound_each_once(dataset: Dataset) -> None:
    donors = {clip_id: answer.path for clip_id, answer in answers("shuffled", dataset).items()}
    assert all(path.stem != clip_id for clip_id, path in donors.items())
    assert len(set(donors.values())) == len(donors)
    turned = Dataset(dataset.name, dataset.spec, dataset.clips[::-1])
    assert {c: a.path for c, a in answers("shuffled", turned).items()} == donors


def test_shuffled_draws_from_distractors_where_there_are_any(dataset: Dataset) -> None:
    split = Dataset("v", "v", dataset.clips[:3], distractors=dataset.clips[3:])
    donors = {answer.path for answer in answers("shuffled", split).values()}
    assert donors == {clip.video for clip in dataset.clips[3:]}


def test_shuffled_needs_company(dataset: Dataset) -> None:
    with pytest.raises(V2ABenchError, match="needs two clips"):
        open_model("shuffled", ModelContext(Dataset("v", "v", dataset.clips[:1])))


@pytest.mark.parametrize("seconds", [0.5, -0.5, 0.0])
def test_shifted_moves_the_reference(dataset: Dataset, seconds: float) -> None:
    for clip in dataset.clips[:2]:
        audio = answers(f"shifted:{seconds}", dataset)[clip.id].audio
        original = read_audio(clip.video).samples[:, : audio.samples.shape[1]]
        n = round(abs(seconds) * audio.sample_rate)
        moved, still = (audio.samples, original) if seconds >= 0 else (original, audio.samples)
        np.testing.assert_array_equal(moved[:, n:], still[:, : still.shape[1] - n])
        silent = audio.samples[:, :n] if seconds > 0 else audio.samples[:, audio.samples.shape[1] - n :]
        assert not silent.any()


@pytest.mark.parametrize("seconds", [3.0, -3.0])
def test_a_shift_beyond_the_end_leaves_silence(seconds: float) -> None:
    shifted = shift(Audio(np.ones((2, 100), np.float32), 100), seconds)
    assert shifted.samples.shape == (2, 100)
    assert not shifted.samples.any()


def test_a_clip_without_reference_is_a_fault_of_that_clip(dataset: Dataset, tmp_path: Path) -> None:
    clips = (Clip("x", tmp_path / "x.mp4"), *dataset.clips)
    for spec in ("ground-truth", "shifted:0.1"):
        found = answers(spec, Dataset("v", "v", clips))
        assert found["x"].fault.code == "missing"
        assert sum(answer.fault is not None for answer in found.values()) == 1


def test_labels_rename_and_specs_are_kept(dataset: Dataset) -> None:
    named = open_model("later=shifted:0.25", ModelContext(dataset))
    assert (named.info.name, named.spec, named.info.control) == ("later", "later=shifted:0.25", True)
    assert open_model("shifted:0.25", ModelContext(dataset)).info.name == "shifted:0.25"
