"""The sound of the world: in time with the events, and telling of speed, size and material."""

from dataclasses import replace

import numpy as np
import pytest
from made_scenes import alone, quiet

from v2abench.impacts.materials import MATERIALS
from v2abench.impacts.scenes import Event, Scene, make_scene
from v2abench.impacts.sounds import mode_frequencies, render_sound

SCENES = [make_scene("val", index) for index in range(64)]
BY_NAME = {material.name: material for material in MATERIALS}


def one_strike(material: str, speed: float = 2.0, size: float = 0.2) -> np.ndarray:
    """A clip with one impact at 1 s, otherwise alike."""
    scene = replace(quiet(alone(SCENES[0], BY_NAME[material], size)), surface="stone")
    strike = replace(scene, events=(Event(1.0, speed, material),))
    return render_sound(strike).samples[0].astype(np.float64)


def centroid(samples: np.ndarray) -> float:
    """Spectral centroid in Hz of the 0.1 s from 1 s on."""
    power = np.abs(np.fft.rfft(samples[16000:17600])) ** 2
    return float(np.fft.rfftfreq(1600, 1 / 16000) @ power / power.sum())


def ring(samples: np.ndarray) -> float:
    """Level in dB from 0.1 to 0.2 s after the impact, against its first 0.05 s."""
    late, early = samples[17600:19200], samples[16000:16800]
    return float(10 * np.log10(np.mean(late**2) / np.mean(early**2)))


def onset(samples: np.ndarray, start: int, stop: int) -> int:
    """The first sample whose magnitude is twice what the 50 ms before `start` ever reach."""
    floor = np.abs(samples[start - 800 : start]).max()
    return start + int(np.argmax(np.abs(samples[start:stop]) > 2 * floor))


def isolated(scene: Scene) -> list[Event]:
    """Events of some strength that nothing precedes for a second."""
    times = [-1.0, *(event.time_s for event in scene.events)]
    return [
        event
        for event, before in zip(scene.events, times, strict=False)
        if event.time_s - before > 1.0 and event.speed > 0.8
    ]


def test_shape_type_and_range():
    for scene in SCENES:
        audio = render_sound(scene)
        assert audio.sample_rate == 16000
        assert audio.samples.shape == (1, 64000)
        assert audio.samples.dtype == np.float32
        assert np.abs(audio.samples).max() <= 0.9


def test_the_same_scene_sounds_the_same():
    first = render_sound(SCENES[5]).samples
    render_sound(SCENES[6])
    np.testing.assert_array_equal(render_sound(SCENES[5]).samples, first)


def test_sound_begins_within_10_ms_of_an_isolated_event():
    late = []
    for scene in map(quiet, SCENES):
        samples = render_sound(scene).samples[0]
        for event in isolated(scene):
            at = round(event.time_s * 16000)
            late.append(onset(samples, at - 480, at + 1600) - at)
    assert len(late) > 30
    assert min(late) >= 0
    assert max(late) <= 160


def test_background_noise_lies_so_many_decibels_below_the_impacts():
    scene = next(scene for scene in SCENES if scene.events[0].time_s > 1.0)
    for decibels in (15.0, 25.0, 40.0):
        steady = replace(scene, room=replace(scene.room, noise_db=decibels, swell=0.0))
        samples = render_sound(steady).samples[0].astype(np.float64)
        noise = np.mean(samples[:15000] ** 2)
        ratio = 10 * np.log10((np.mean(samples**2) - noise) / noise)
        assert ratio == pytest.approx(decibels, abs=1.5)


def test_noise_has_the_colour_of_the_room():
    scene = next(scene for scene in SCENES if scene.events[0].time_s > 1.0)
    white, brown = (replace(scene, room=replace(scene.room, noise_slope=slope)) for slope in (0.0, 2.0))
    tilts = []
    for coloured in (white, brown):
        power = np.abs(np.fft.rfft(render_sound(coloured).samples[0, :15000])) ** 2
        tilts.append(10 * np.log10(power[200:400].mean() / power[3200:6400].mean()))
    assert tilts[0] == pytest.approx(0, abs=1.5)
    assert tilts[1] == pytest.approx(24, abs=2.5)


def test_both_objects_sound():
    scene = next(quiet(scene) for scene in SCENES if len(scene.actors) == 2)
    both, first = (render_sound(s).samples[0] for s in (scene, alone(scene)))
    second = next(event for event in scene.events if event.actor == 1)
    start = int(second.time_s * 16000)
    difference = np.abs(both - first)
    assert difference[start : start + 800].max() > 20 * difference[: start - 16].max()


@pytest.mark.parametrize("material", BY_NAME)
def test_faster_impacts_are_louder_and_brighter(material):
    slow, middle, fast = (one_strike(material, speed) for speed in (1.0, 2.0, 4.0))
    peaks = [np.abs(samples).max() for samples in (slow, middle, fast)]
    assert 1.7 < peaks[1] / peaks[0] < 3.0
    assert 1.7 < peaks[2] / peaks[1] < 3.0
    assert centroid(slow) < centroid(fast)


@pytest.mark.parametrize("material", BY_NAME)
def test_pitch_falls_with_size(material):
    small, large = (
        mode_frequencies(BY_NAME[material].voice, 0.15),
        mode_frequencies(BY_NAME[material].voice, 0.30),
    )
    np.testing.assert_allclose(small, 2 * large)
    assert centroid(one_strike(material, size=0.15)) > 1.1 * centroid(one_strike(material, size=0.30))


def test_materials_differ_in_brightness_or_ring():
    features = {}
    for material in BY_NAME:
        samples = one_strike(material)
        features[material] = np.array([np.log(centroid(samples)) / np.log(1.25), ring(samples) / 10])
    names = list(features)
    for i, one in enumerate(names):
        for other in names[:i]:
            assert np.abs(features[one] - features[other]).max() > 1.0, (one, other)


def test_levels_are_comparable_across_materials():
    peaks = [np.abs(one_strike(material, 4.0)).max() for material in BY_NAME]
    assert min(peaks) > 0.25
    assert max(peaks) < 0.7
