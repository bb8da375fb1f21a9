"""The pictures of the world: what is seen is what the scene says."""

from dataclasses import replace

import numpy as np
import pytest
from made_scenes import alone, plain

from v2abench.impacts.backdrops import draw_backdrop
from v2abench.impacts.materials import MATERIALS
from v2abench.impacts.pictures import render_frames
from v2abench.impacts.scenes import MOTIONS, Scene, make_scene

SCENES = [make_scene("val", index) for index in range(96)]
ALONE = [plain(scene) for scene in SCENES if len(scene.actors) == 1]


def changed(scene: Scene, frames: np.ndarray, least: int = 40) -> np.ndarray:
    """Where the frames differ from the backdrop by at least `least` of 255, (100, 96, 96) bool."""
    backdrop = np.clip(draw_backdrop(scene), 0, 1) * 255
    return np.abs(frames - backdrop).max(axis=3) > least


def test_shape_type_and_determinism():
    frames = render_frames(SCENES[3])
    assert frames.shape == (100, 96, 96, 3)
    assert frames.dtype == np.uint8
    render_frames(SCENES[4])
    np.testing.assert_array_equal(render_frames(SCENES[3]), frames)


@pytest.mark.parametrize("kind", MOTIONS)
def test_something_moves_and_the_rest_stands_still(kind):
    scene = next(scene for scene in ALONE if scene.kind == kind)
    frames = render_frames(scene)
    moved = np.any(frames != frames[:1], axis=(0, 3))
    assert 0.01 < moved.mean() < 0.8
    first = int(scene.events[0].time_s * 25)
    assert np.any(frames[first - 1] != frames[first + 1])


def test_the_object_is_drawn_where_the_scene_has_it():
    checked = 0
    for scene in (scene for scene in ALONE if scene.kind == "slide" and scene.material.name != "glass"):
        mask = changed(scene, render_frames(scene))
        x, y, _ = scene.actors[0].motion.pose(np.arange(100) / 25)
        columns = scene.camera.column + scene.camera.scale * x
        row = scene.camera.row - scene.camera.scale * y[0]
        for k in np.flatnonzero((columns > 20) & (columns < 76))[::10]:
            rows_seen, columns_seen = np.nonzero(mask[k])
            assert np.mean(columns_seen + 0.5) == pytest.approx(columns[k], abs=4.0)
            assert np.mean(rows_seen + 0.5) == pytest.approx(row, abs=4.0)
            checked += 1
    assert checked > 20


def test_a_falling_object_turns_round_at_the_frame_of_its_impact():
    turned = 0
    for scene in (scene for scene in ALONE if scene.kind == "drop" and scene.material.name != "glass"):
        event = scene.events[0]
        if event.speed * scene.material.restitution < 2.0:
            continue
        mask = changed(scene, render_frames(scene))
        near = range(int(event.time_s * 25) - 2, int(event.time_s * 25) + 5)
        heights = [-np.mean(np.nonzero(mask[k])[0]) for k in near]
        lowest = near[int(np.argmin(heights))]
        assert abs(lowest - event.time_s * 25) <= 1.0
        assert heights[0] > min(heights) + 2
        assert heights[-1] > min(heights) + 2
        turned += 1
    assert turned >= 5


def test_materials_look_different():
    base = next(scene for scene in ALONE if scene.kind == "strike")
    pictures = {}
    for material in MATERIALS:
        scene = alone(base, material, size=0.22)
        frame = render_frames(scene)[0].astype(np.float64)
        row = int(scene.camera.row - 0.2 * scene.camera.scale)
        column = int(scene.camera.column + scene.actors[0].motion.x * scene.camera.scale)
        pictures[material.name] = frame[row - 6 : row + 7, column - 8 : column + 9]
    names = list(pictures)
    for i, one in enumerate(names):
        for other in names[:i]:
            assert np.abs(pictures[one] - pictures[other]).mean() > 15, (one, other)


def test_objects_fill_their_outline():
    """Motions strike where the outline ends, so the painted silhouette must end there too."""
    base = next(scene for scene in ALONE if scene.kind == "strike")
    for material in MATERIALS:
        scene = alone(base, material, size=0.28)
        body = replace(
            scene.actors[0].motion.body,
            half_width=0.28 * material.look.half_width,
            half_height=0.28 * material.look.half_height,
            outline=tuple((0.28 * x, 0.28 * y) for x, y in material.look.outline),
        )
        actor = scene.actors[0]
        scene = replace(scene, actors=(replace(actor, motion=replace(actor.motion, body=body)),))
        mask = changed(scene, render_frames(scene), least=10)[0]
        middle = int(scene.camera.row - body.half_height * scene.camera.scale)
        column = int(scene.camera.column + scene.actors[0].motion.x * scene.camera.scale)
        reach = np.flatnonzero(mask[middle - 4 : middle + 5, max(column - 20, 0) : column + 20].any(axis=0))
        assert len(reach) == pytest.approx(2 * body.half_width * scene.camera.scale, abs=3.5), material.name


def test_the_camera_moves_the_whole_picture():
    scene = replace(ALONE[0], actors=(), events=())
    swaying = replace(scene.camera, sway_x=((2.0, 0.0, np.pi / 2),), sway_y=((1.0, 0.0, np.pi / 2),))
    still, moved = render_frames(scene), render_frames(replace(scene, camera=swaying))
    np.testing.assert_array_equal(moved[:, 1:, 2:], still[:, :-1, :-2])


def test_dim_and_tinted_light_scales_the_channels():
    scene = ALONE[0]
    light = replace(scene.light, strength=0.5, tint=(1.0, 0.8, 0.6))
    bright, dim = (render_frames(s).astype(float) for s in (scene, replace(scene, light=light)))
    np.testing.assert_allclose(dim, bright * (0.5, 0.4, 0.3), atol=0.6)


def test_what_stands_in_front_hides_a_part_only():
    for scene in (scene for scene in SCENES if scene.occluder is not None):
        without = render_frames(plain(scene))[50]
        with_it = render_frames(replace(plain(scene), occluder=scene.occluder))[50]
        hidden = np.any(with_it != without, axis=-1)
        assert 0.005 < hidden.mean() < 0.3
        expected = np.rint(np.array(scene.occluder.colour) * 255)
        camera, middle = scene.camera, (scene.occluder.top + scene.occluder.bottom) / 2
        column = int(camera.column + scene.occluder.x * camera.scale)
        row = int(np.clip(camera.row - middle * camera.scale, 0, 95))
        assert np.abs(with_it[row, column] - expected).max() < 70


def test_two_objects_are_both_drawn():
    scene = next(scene for scene in SCENES if len(scene.actors) == 2)
    both, first = (render_frames(s) for s in (plain(scene), plain(alone(scene))))
    assert np.any(both != first, axis=(0, 3)).mean() > 0.01
