"""Scenes of the world made plain, so that a test sees one thing at a time."""

from dataclasses import replace

from v2abench.impacts.materials import Material
from v2abench.impacts.scenes import Scene
from v2abench.impacts.surroundings import Light


def plain(scene: Scene) -> Scene:
    """The scene in plain light, with a still camera and nothing in front."""
    camera = replace(scene.camera, sway_x=(), sway_y=())
    return replace(scene, camera=camera, light=Light(scene.light.side, 1.0), occluder=None)


def quiet(scene: Scene) -> Scene:
    """The scene in a room of ordinary echo and inaudible noise."""
    return replace(scene, room=replace(scene.room, seconds=0.3, wetness=0.006, noise_db=60.0, swell=0.0))


def alone(scene: Scene, material: Material | None = None, size: float | None = None) -> Scene:
    """The scene with its first object only, and that of another material or size if one is given.

    The motion stays as it is, as does its body.
    """
    actor = scene.actors[0]
    if material is not None:
        actor = replace(actor, voice=material.voice, palette=material.look.palettes[0])
    if size is not None:
        actor = replace(actor, size=size)
    events = tuple(event for event in scene.events if event.actor == 0)
    return replace(scene, actors=(actor,), events=events, material=material or scene.material)
