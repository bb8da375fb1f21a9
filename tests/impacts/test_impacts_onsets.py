"""Onsets by spectral flux, on the sounds of scenes whose events are known."""

import numpy as np
import pytest
from made_scenes import alone, quiet

from v2abench.errors import ClipFault
from v2abench.impacts.onsets import ImpactsOnsets, onset_times
from v2abench.impacts.scenes import make_scene
from v2abench.impacts.sounds import render_sound
from v2abench.impacts.spectrograms import log_mel
from v2abench.media.audio import Audio
from v2abench.media.reading import AudioWindow


def heard(scene):
    return onset_times(log_mel(render_sound(scene).samples[0]))


@pytest.mark.parametrize("index", range(6))
def test_every_impact_in_a_quiet_room_is_found_where_it_is(index):
    scene = quiet(alone(make_scene("val", index)))
    times = np.array([event.time_s for event in scene.events])
    assert heard(scene) == pytest.approx(times, abs=0.015)


def test_most_impacts_in_ordinary_rooms_are_found_and_little_else():
    found = right = true = 0
    for index in range(40):
        scene = make_scene("test", index)
        times, onsets = np.array([event.time_s for event in scene.events]), heard(scene)
        near = np.abs(onsets[:, None] - times) <= 0.06
        found, true, right = found + len(onsets), true + len(times), right + near.any(axis=0).sum()
    assert right / true > 0.95
    assert right / found > 0.95


def test_steady_noise_and_silence_have_none_and_level_does_not_matter():
    noise = np.random.default_rng(0).normal(size=64000).astype(np.float32)
    for level in (0.0, 0.001, 0.1):
        assert len(onset_times(log_mel(level * noise))) == 0
    sound = render_sound(make_scene("val", 0)).samples[0]
    assert onset_times(log_mel(0.5 * sound)) == pytest.approx(onset_times(log_mel(sound)), abs=0.011)


def test_the_network_hears_what_the_function_hears_and_refuses_half_a_clip():
    sound = render_sound(make_scene("val", 3))
    prepared = ImpactsOnsets().prepare(AudioWindow.of(sound, 4.0))
    (clip,) = ImpactsOnsets().load("cpu")([prepared])
    assert clip["times"] == pytest.approx(heard(make_scene("val", 3)), abs=0.011)
    with pytest.raises(ClipFault, match=r"want 4 s.*2\.00 s"):
        ImpactsOnsets().prepare(AudioWindow.of(Audio(sound.samples[:, :32000], 16000), 4.0))
