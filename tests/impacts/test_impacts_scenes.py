"""The world's scenes: what every clip promises, and that physics and events agree."""

from collections import Counter

import numpy as np
import pytest

from v2abench.errors import UnknownNameError, V2ABenchError
from v2abench.impacts.materials import MATERIALS
from v2abench.impacts.motions import Drop, Slide, Strike, Swing
from v2abench.impacts.scenes import MOTIONS, SPLITS, Scene, make_scene, named_rng

SCENES = [make_scene("train", index) for index in range(256)]


def position(scene: Scene, times: np.ndarray) -> np.ndarray:
    """Distance along the way on which the impacts happen, in metres."""
    match scene.motion:
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
    assert scene.prompt == "a large glass bottle bouncing on a wooden floor"
    assert [event.time_s for event in scene.events] == pytest.approx([1.44332893, 2.05792888, 2.34415145])
    assert [event.speed for event in scene.events] == pytest.approx([6.4732171, 3.0146127, 1.4039217])
    assert scene.wall == pytest.approx((0.74206877, 0.78809557, 0.76105489))
    assert named_rng("test", 17, "sound").normal() == pytest.approx(0.97457448)


def test_event_lists_keep_their_promises():
    for scene in SCENES:
        times = np.array([event.time_s for event in scene.events])
        assert 1 <= len(times) <= 6
        assert times[0] >= 0.15
        assert times[-1] <= 3.8
        assert np.any((times >= 1.0) & (times <= 3.0))
        assert np.all(np.diff(times) >= 0.12)
        assert all(event.speed >= 0.35 for event in scene.events)
        assert {event.material for event in scene.events} == {scene.material.name}


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
    assert set(counts) == set(range(1, 7))
    assert max(counts.values()) < 0.45 * len(SCENES)


@pytest.mark.parametrize("kind", MOTIONS)
def test_an_event_is_where_the_trajectory_turns_or_stops(kind):
    step = 1e-5
    for scene in (scene for scene in SCENES if scene.kind == kind):
        for event in scene.events:
            before, at, after = position(scene, event.time_s + np.array([-step, 0.0, step]))
            arriving, leaving = (at - before) / step, (after - at) / step
            assert abs(arriving) == pytest.approx(event.speed, rel=2e-3)
            assert leaving * arriving <= 0
            assert abs(leaving) < abs(arriving)


@pytest.mark.parametrize("kind", MOTIONS)
def test_nothing_turns_sharply_without_an_event(kind):
    """The fastest change of velocity over a millisecond elsewhere is far below that of a contact."""
    times = np.arange(0.0, 4.0, 0.001)
    for scene in (scene for scene in SCENES if scene.kind == kind):
        speed = np.diff(position(scene, times)) / 0.001
        jolts = np.abs(np.diff(speed))
        for event in scene.events:
            jolts[np.abs(times[1:-1] - event.time_s) < 0.0025] = 0.0
        assert jolts.max() < 0.15


def test_motion_is_continuous():
    times = np.arange(0.0, 4.0, 0.001)
    for scene in SCENES[:64]:
        x, y, _ = scene.motion.pose(times)
        assert np.hypot(np.diff(x), np.diff(y)).max() < 0.008


def test_objects_stay_above_the_floor_and_between_the_walls():
    times = np.arange(0.0, 4.0, 0.01)
    for scene in SCENES:
        motion = scene.motion
        x, y, _ = motion.pose(times)
        assert np.all(y >= motion.body.half_height - 1e-9)
        if isinstance(motion, Slide):
            left, right = motion.walls
            assert left is None or np.all(x - motion.body.half_width >= left - 1e-9)
            assert right is None or np.all(x + motion.body.half_width <= right + 1e-9)


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
