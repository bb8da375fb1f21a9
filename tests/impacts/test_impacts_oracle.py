"""The oracle knows what is right, and grades what is wrong by how wrong it is."""

import json
from dataclasses import replace

import numpy as np
import pytest

from v2abench.errors import V2ABenchError
from v2abench.impacts.grading import grade_folder, summary
from v2abench.impacts.materials import MATERIALS
from v2abench.impacts.oracle import Answer, answer_of, grade
from v2abench.impacts.scenes import make_scene, with_material
from v2abench.impacts.sounds import render_sound
from v2abench.media.audio import Audio
from v2abench.media.resampling import resample
from v2abench.media.writing import write_audio

SCENES = [make_scene("test", index) for index in range(12)]


@pytest.fixture(scope="module")
def answers() -> list[Answer]:
    return [answer_of(scene) for scene in SCENES]


def means(answers: list[Answer], sounds: list[Audio], name: str) -> float:
    return float(np.mean([getattr(grade(a, s), name) for a, s in zip(answers, sounds, strict=True)]))


def moved(sound: Audio, seconds: float) -> Audio:
    return Audio(np.roll(sound.samples, round(seconds * sound.sample_rate), axis=1), sound.sample_rate)


@pytest.fixture(scope="module")
def true_sounds() -> list[Audio]:
    return [render_sound(scene) for scene in SCENES]


def test_true_sounds_are_right(answers, true_sounds):
    for answer, sound in zip(answers, true_sounds, strict=True):
        result = grade(answer, sound)
        assert result.f1 > 0.75
        assert result.level_error_db == pytest.approx(0, abs=0.01)
    assert means(answers, true_sounds, "f1") > 0.96
    assert means(answers, true_sounds, "right_material") > 0.9
    assert means(answers, true_sounds, "overall") > 0.95


def test_another_material_is_told_and_leaves_the_times_alone(answers):
    named = []
    for number, (scene, answer) in enumerate(zip(SCENES, answers, strict=True)):
        place = next(i for i, material in enumerate(MATERIALS) if material.name == scene.material.name)
        other = MATERIALS[(place + 1 + number % 7) % 8]
        result = grade(answer, render_sound(with_material(scene, other)))
        assert not result.right_material
        assert result.f1 > 0.8
        named.append(result.material == other.name)
    assert np.mean(named) > 0.9


def test_a_shift_beyond_the_tolerance_costs_the_onsets_and_nothing_else(answers, true_sounds):
    within, beyond = ([moved(sound, by) for sound in true_sounds] for by in (0.03, 0.3))
    assert means(answers, within, "f1") > 0.95
    assert means(answers, beyond, "f1") < 0.35
    assert means(answers, beyond, "right_material") > 0.9


def test_dropped_events_cost_recall_and_invented_ones_precision(answers):
    fewer, more = [], []
    for scene, answer in zip(SCENES, answers, strict=True):
        if len(scene.events) < 3:
            continue
        fewer.append((answer, render_sound(replace(scene, events=scene.events[::2]))))
        early = replace(scene.events[0], time_s=scene.events[-1].time_s + 0.15)
        more.append((answer, render_sound(replace(scene, events=(*scene.events, early)))))
    for pairs, hurt, spared in ((fewer, "recall", "precision"), (more, "precision", "recall")):
        assert len(pairs) > 4
        answers, sounds = map(list, zip(*pairs, strict=True))
        assert means(answers, sounds, hurt) < 0.85
        assert means(answers, sounds, spared) > 0.93


@pytest.mark.parametrize("gain_db", [-12.0, 6.0])
def test_the_level_error_is_the_gain(answers, true_sounds, gain_db):
    quiet = [Audio(sound.samples * 10 ** (gain_db / 20), sound.sample_rate) for sound in true_sounds]
    assert means(answers, quiet, "level_error_db") == pytest.approx(gain_db, abs=0.3)
    assert means(answers, quiet, "right_material") > 0.9
    assert means(answers, quiet, "level") == pytest.approx(1 - abs(gain_db) / 20, abs=0.02)


def test_more_noise_is_worse_until_nothing_is_right(answers, true_sounds):
    rng = np.random.default_rng(0)
    noise = rng.normal(size=(1, 64000)).astype(np.float32)
    levels = [
        Audio(sound.samples * (gain < 1) + gain * noise, 16000)
        for gain in (0, 0.01, 0.1, 1)
        for sound in true_sounds
    ]
    grades = [means(answers, levels[k : k + 12], "overall") for k in range(0, 48, 12)]
    assert grades == sorted(grades, reverse=True)
    assert grades[-1] == 0
    assert grades[0] > grades[2] + 0.2


def test_silence_has_no_material_and_no_onset(answers):
    result = grade(answers[0], Audio(np.zeros((1, 64000), np.float32), 16000))
    assert (result.material, result.f1, result.level) == (None, 0.0, 0.0)


def test_rate_and_channels_do_not_matter(answers, true_sounds):
    sound = true_sounds[0].samples
    stereo = np.concatenate([resample(sound, 16000, 48000)] * 2)
    result, plain = grade(answers[0], Audio(stereo, 48000)), grade(answers[0], true_sounds[0])
    assert (result.f1, result.material) == (plain.f1, plain.material)
    assert result.level_error_db == pytest.approx(0, abs=0.2)


def test_a_folder_is_graded_by_the_names_of_its_files(tmp_path, true_sounds):
    write_audio(tmp_path / "test-000000.flac", true_sounds[0])
    write_audio(tmp_path / "test-000001.flac", true_sounds[2])
    (tmp_path / "test-000002.wav").write_bytes(b"")
    write_audio(tmp_path / "other.flac", true_sounds[0])
    grades, faults = grade_folder(tmp_path)
    assert list(grades) == ["test-000000", "test-000001"]
    assert grades["test-000000"].overall > grades["test-000001"].overall
    assert list(faults) == ["test-000002"]
    lines = {line.name: line for line in summary(grades)}
    assert lines["onset F1"].mean == pytest.approx(np.mean([g.f1 for g in grades.values()]))
    assert json.dumps([line.mean for line in lines.values()])


def test_a_folder_of_other_sounds_is_refused(tmp_path, true_sounds):
    write_audio(tmp_path / "dog.flac", true_sounds[0])
    with pytest.raises(V2ABenchError, match=r"named like a clip of impacts, such as test-000017\.wav"):
        grade_folder(tmp_path)
