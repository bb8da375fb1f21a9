"""What stands still in a picture: the wall, the floor, and what objects strike or hang from."""

from dataclasses import dataclass

import numpy as np
from numpy.random import Generator

from v2abench.impacts.bodies import Pixels, box, rgb
from v2abench.impacts.materials import Colour
from v2abench.impacts.motions import Drop, Motion, Slide, Strike, Swing
from v2abench.impacts.scenes import WIDTH, Scene, named_rng

_FLOORS: dict[str, Colour] = {
    "stone": (0.47, 0.46, 0.45),
    "tiled": (0.72, 0.70, 0.64),
    "wooden": (0.56, 0.40, 0.27),
}
_JOINTS_PER_M = {"stone": 2.2, "tiled": 4.5, "wooden": 3.2}
_STEEL: Colour = (0.28, 0.29, 0.33)
_HORIZON_M = 0.13
"""Where the floor meets the wall, above the line on which objects stand."""


def draw_backdrop(scene: Scene) -> Pixels:
    """Return what does not move, (96, 96, 3) in 0..1 before the light's strength."""
    camera = scene.camera
    at = np.arange(WIDTH, dtype=np.float32) + 0.5
    x = ((at - camera.column) / camera.scale)[None, :].astype(np.float32)
    y = ((camera.row - at) / camera.scale)[:, None].astype(np.float32)
    rng = named_rng(scene.split, scene.index, "backdrop")
    picture = _wall(scene, x, y, rng)
    picture = np.where((y < _HORIZON_M)[..., None], _floor(scene, x, y, rng), picture)
    for actor in reversed(scene.actors):
        for prop in _props(scene.surface, actor.motion):
            picture = prop.over(picture, x, y, camera.scale)
    return picture


def _wall(scene: Scene, x: Pixels, y: Pixels, rng: Generator) -> Pixels:
    """Return a plastered wall: lighter towards the light and the top, with faint blotches."""
    bright = 0.92 + 0.10 * scene.light.side * x + 0.06 * y
    for _ in range(4):
        kx, ky, phase = rng.uniform(-9, 9), rng.uniform(-9, 9), rng.uniform(0, 6.28)
        bright = bright + 0.008 * np.sin(kx * x + ky * y + phase)
    return np.asarray(bright[..., None] * rgb(scene.wall), dtype=np.float32)


def _floor(scene: Scene, x: Pixels, y: Pixels, rng: Generator) -> Pixels:
    """Return the floor, with joints that run towards a vanishing point and across."""
    depth = np.clip((_HORIZON_M - y) / 0.5, 0.0, 1.0)
    across = x / (0.55 + 0.45 * depth) + rng.uniform(0, 1)
    place = across * _JOINTS_PER_M[scene.surface]
    line = np.abs(place % 1.0 - 0.5) > 0.46
    bright = 0.80 + 0.25 * depth + 0.08 * scene.light.side * x
    if scene.surface == "tiled":
        bright = bright + 0.10 * ((np.floor(place) + np.floor(depth * 4)) % 2)
    elif scene.surface == "wooden":
        bright = (
            bright + 0.07 * np.sin(7.1 * np.floor(place)) + 0.03 * np.sin(60 * across + 3 * np.sin(9 * depth))
        )
    else:
        cloud = np.sin(37 * across + 5 * np.sin(23 * depth)) * np.sin(31 * depth + 5 * across)
        bright = bright + 0.05 * cloud
    bright = bright * (1 - 0.22 * line)
    return np.asarray(bright[..., None] * rgb(_FLOORS[scene.surface]), dtype=np.float32)


@dataclass(frozen=True)
class _Prop:
    """A fixed box of the backdrop, in metres."""

    centre: tuple[float, float]
    half: tuple[float, float]
    colour: Colour

    def over(self, picture: Pixels, x: Pixels, y: Pixels, scale: float) -> Pixels:
        dx, dy = x - self.centre[0], y - self.centre[1]
        distance = box(dx, dy, *self.half) * scale
        cover = np.clip(0.5 - distance, 0, 1)[..., None]
        edge = 0.72 + 0.28 * np.clip(-distance / 2.5, 0, 1)
        shade = edge * (0.92 + 0.12 * dy / self.half[1])
        colour = shade[..., None] * rgb(self.colour)
        return np.asarray(picture + cover * (colour - picture), dtype=np.float32)


def _props(surface: str, motion: Motion) -> list[_Prop]:
    """Return the walls, block or post that the motion needs."""
    red, green, blue = _FLOORS[surface]
    colour = (0.85 * red, 0.85 * green, 0.85 * blue)
    match motion:
        case Slide(walls=(left, right)):
            faces = [(face, side) for face, side in ((left, -1), (right, 1)) if face is not None]
            return [_Prop((face + side * 0.3, 0.35), (0.3, 0.45), colour) for face, side in faces]
        case Swing(pivot=(x, y)):
            top = y - motion.length * float(np.cos(motion.contact)) + 0.32
            centre = motion.block_face - motion.side * 0.3, top / 2 - 0.05
            rod = _Prop((x, y + 0.5), (0.025, 0.53), _STEEL)
            return [_Prop(centre, (0.3, top / 2 + 0.05), colour), rod]
        case Strike():
            x, y = motion.pivot
            return [_Prop((x, y / 2), (0.035, y / 2 + 0.05), _STEEL)]
        case Drop():
            return []
