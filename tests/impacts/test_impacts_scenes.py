"""The world's scenes: what every clip promises, and that physics and events agree."""

from collections import Counter

import numpy as np
import pytest

from v2abench.errors import UnknownNameError, V2ABenchError
from v2abench.impacts.materials import MATERIALS
from v2abench.impacts.motions import Drop, Motion, Slide, Strike, Swing
from v2abench.impacts.scenes import (
    MOTIONS,
    SPLITS,
    Actor,
    Event,
    make_scene,
    named_rng,
    scene_of,
    with_material,
)

SCENES = [make_scene("train", index) for index in range(256)]
ACTORS = [
    (actor, [event for event in scene.events if event.actor == index])
    for scene in SCENES
    for index, actor in enumerate(scene.actors)
]


def acting(kind: str) -> list[tuple[Actor, list[Event]]]:
    """The objects that move in one way, with the events of each."""
    return [(actor, events) for actor, events in ACTORS if actor.kind == kind]


def position(motion: Motion, times: np.ndarray) -> np.ndarray:
    """Distance along the way on which the impacts happen, in metres."""
    match motion:
        case Drop(height=height):
            return height(times)
        case Swing(theta=theta, length=length):
            return length * theta(times)
        case Slide(x=x):
            return x(times)
        case Strike(lift=lift):
            return lift(times)


def test_a_scene_does_not_depend_on_other_calls():
    again = [make_scene("train", index) for index in (200, 3, 64, 3)]
    assert again == [SCENES[200], SCENES[3], SCENES[64], SCENES[3]]


def test_splits_and_indices_differ():
    scenes = [make_scene(split, index) for split in SPLITS for index in range(8)]
    assert len({scene.events for scene in scenes}) == len(scenes)


def test_a_scene_is_pinned():
    """A change here changes every clip: raise VERSION with it."""
    scene = make_scene("test", 17)
    assert scene.id == "test-000017"
    assert scene.prompt == "a large round stone swinging on a string against a block"
    assert [event.time_s for event in scene.events] == pytest.approx([1.12074798, 1.71975832, 2.03438272])
    assert [event.speed for event in scene.events] == pytest.approx([2.73871451, 0.99417051, 0.36089012])
    assert scene.wall == pytest.approx((0.71587178, 0.80779016, 0.79585265))
    assert named_rng("test", 17, "sound").normal() == pytest.approx(0.53280307)


def test_event_lists_keep_their_promises():
    for scene in SCENES:
        times = np.array([event.time_s for event in scene.events])
        speeds = [event.speed for event in scene.events]
        assert 1 <= len(times) <= 8
        assert times[0] >= 0.15
        assert times[-1] <= 3.8
        assert np.any((times >= 1.0) & (times <= 3.0))
        assert np.all(np.diff(times) >= 0.08)
        assert min(speeds) >= max(0.35, 0.12 * max(speeds))
        assert {event.material for event in scene.events} == {scene.material.name}


def test_one_or_two_objects_each_strike():
    assert 0.4 < np.mean([len(scene.actors) == 2 for scene in SCENES]) < 0.6
    for _, events in ACTORS:
        assert 1 <= len(events) <= 6
        assert np.all(np.diff([event.time_s for event in events]) >= 0.12)


def test_impacts_of_two_objects_are_often_near_each_other():
    pairs = [scene for scene in SCENES if len(scene.actors) == 2]
    gaps = np.concatenate([np.diff([event.time_s for event in scene.events]) for scene in pairs])
    assert np.mean(gaps < 0.2) > 0.25
    assert np.mean(gaps < 0.12) > 0.06


def test_intervals_are_irregular():
    for scene in SCENES:
        gaps = np.diff([event.time_s for event in scene.events])
        assert np.all(np.abs(gaps[1:] / gaps[:-1] - 1) > 0.05)


def test_materials_and_motions_are_balanced():
    for start in range(0, 256, 32):
        block = SCENES[start : start + 32]
        assert Counter((scene.material.name, scene.kind) for scene in block) == Counter(
            (material.name, kind) for material in MATERIALS for kind in MOTIONS
        )
    orders = {tuple(scene.material.name for scene in SCENES[start : start + 32]) for start in (0, 32, 64)}
    assert len(orders) == 3


def test_numbers_of_events_vary():
    counts = Counter(len(scene.events) for scene in SCENES)
    assert set(counts) == set(range(1, 9))
    assert max(counts.values()) < 0.3 * len(SCENES)


@pytest.mark.parametrize("kind", MOTIONS)
def test_an_event_is_where_the_trajectory_turns_or_stops(kind):
    step = 1e-5
    for actor, events in acting(kind):
        for event in events:
            before, at, after = position(actor.motion, event.time_s + np.array([-step, 0.0, step]))
            arriving, leaving = (at - before) / step, (after - at) / step
            assert abs(arriving) == pytest.approx(event.speed, rel=2e-3)
            assert leaving * arriving <= 0
            assert abs(leaving) < abs(arriving)


@pytest.mark.parametrize("kind", MOTIONS)
def test_nothing_turns_sharply_without_an_event(kind):
    """The fastest change of velocity over a millisecond elsewhere is far below that of a contact."""
    times = np.arange(0.0, 4.0, 0.001)
    for actor, events in acting(kind):
        speed = np.diff(position(actor.motion, times)) / 0.001
        jolts = np.abs(np.diff(speed))
        for event in events:
            jolts[np.abs(times[1:-1] - event.time_s) < 0.0025] = 0.0
        assert jolts.max() < 0.15


def test_motion_is_continuous():
    times = np.arange(0.0, 4.0, 0.001)
    for actor, _ in ACTORS[:64]:
        x, y, _ = actor.motion.pose(times)
        assert np.hypot(np.diff(x), np.diff(y)).max() < 0.008


def test_objects_stay_above_the_floor_and_between_the_walls():
    times = np.arange(0.0, 4.0, 0.01)
    for actor, _ in ACTORS:
        motion = actor.motion
        x, y, _ = motion.pose(times)
        assert np.all(y >= motion.body.half_height - 1e-9)
        if isinstance(motion, Slide):
            left, right = motion.walls
            assert left is None or np.all(x - motion.body.half_width >= left - 1e-9)
            assert right is None or np.all(x + motion.body.half_width <= right + 1e-9)


def test_surroundings_vary():
    assert 0.3 < np.mean([scene.occluder is None for scene in SCENES]) < 0.7
    noise = [scene.room.noise_db for scene in SCENES]
    assert 15 <= min(noise) < 17
    assert 38 < max(noise) <= 40
    assert np.std([scene.light.strength for scene in SCENES]) > 0.1
    sways = [np.abs(scene.camera.sway(np.arange(100) / 25)).max() for scene in SCENES]
    assert min(sways) < 0.3
    assert 1.2 < max(sways) <= 2.0


def test_voices_of_one_material_differ():
    pitches = [actor.voice.pitch_hz for actor, events in ACTORS if events[0].material == "wood"]
    assert 0.05 < np.std(np.log(pitches)) < 0.15


def test_a_clip_id_leads_back_to_its_scene():
    assert scene_of("train-000003") == SCENES[3]
    with pytest.raises(V2ABenchError, match="no clip of impacts"):
        scene_of("clip-3")


def test_another_material_keeps_times_and_speeds():
    other = with_material(SCENES[3], MATERIALS[(MATERIALS.index(SCENES[3].material) + 1) % 8])
    assert other.material != SCENES[3].material
    assert [(e.time_s, e.speed) for e in other.events] == [(e.time_s, e.speed) for e in SCENES[3].events]
    assert {e.material for e in other.events} == {other.material.name}


def test_prompts_name_size_and_material():
    prompts = {scene.prompt for scene in SCENES}
    assert len(prompts) > 60
    for scene in SCENES:
        assert scene.prompt.startswith(("a small ", "a medium-sized ", "a large "))
        assert scene.material.thing in scene.prompt


def test_an_unknown_split_suggests_the_near_name():
    with pytest.raises(UnknownNameError, match="did you mean 'train'"):
        make_scene("trian", 0)


@pytest.mark.parametrize("index", [-1, 512])
def test_an_index_outside_the_split_says_which_there_are(index):
    with pytest.raises(V2ABenchError, match="use 0 to 511"):
        make_scene("test", index)
