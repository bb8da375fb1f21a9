"""How each object is painted: silhouette, texture and shading over a grid of pixels.

Silhouettes are signed distances (negative inside), so edges are anti-aliased by
the compositor. Lengths are in units of the object's size; all arrays have the
shape of the grid, (frames, rows, columns), float32.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from v2abench.impacts.materials import Colour, Look

Pixels = NDArray[Any]
"""float32"""


@dataclass(frozen=True)
class Grid:
    """Pixel centres about the object: `x`, `y` upright, `u`, `v` turned with the object.

    `light` is −1 (from the left) to 1; `grain` (0..1) varies the texture by scene.
    """

    x: Pixels
    y: Pixels
    u: Pixels
    v: Pixels
    light: float
    grain: float


@dataclass(frozen=True)
class Paint:
    """What a painter gives: distance to the silhouette, weight of the accent colour,
    brightness (1 is the plain colour), highlight (0..1) and opacity.
    """

    distance: Pixels
    accent: Pixels
    shade: Pixels
    highlight: Pixels
    opacity: Pixels | float = 1.0


def paint(look: Look, palette: tuple[Colour, Colour], grid: Grid) -> tuple[Pixels, Pixels, Pixels]:
    """Return colour (frames, rows, columns, 3) in 0..1, signed distance, and opacity of an object."""
    painted = _PAINTERS[look.shape](grid)
    base, accent = rgb(palette[0]), rgb(palette[1])
    colour = base + painted.accent[..., None] * (accent - base)
    colour = colour * painted.shade[..., None]
    colour += look.gloss * painted.highlight[..., None] * (1.0 - np.minimum(colour, 1.0))
    return colour, painted.distance, np.broadcast_to(np.float32(painted.opacity), painted.distance.shape)


def rgb(colour: Colour) -> Pixels:
    """Return a colour as an array, (3,) float32."""
    return np.asarray(colour, dtype=np.float32)


def disc(x: Pixels, y: Pixels, radius: float) -> Pixels:
    """Return the signed distance to a disc about the origin."""
    return np.asarray(np.hypot(x, y) - radius)


def box(x: Pixels, y: Pixels, half_width: float, half_height: float, corner: float = 0.0) -> Pixels:
    """Return the signed distance to a box about the origin with rounded corners."""
    across = np.abs(x) - (half_width - corner)
    up = np.abs(y) - (half_height - corner)
    outside = np.hypot(np.maximum(across, 0), np.maximum(up, 0))
    return np.asarray(outside + np.minimum(np.maximum(across, up), 0) - corner)


def _step(value: Pixels, width: float = 0.12) -> Pixels:
    """Return 0 for negative and 1 for positive values, blended over `width`."""
    return np.asarray(np.clip(value / width + 0.5, 0, 1))


def _blob(x: Pixels, y: Pixels, radius: float) -> Pixels:
    return np.asarray(np.exp(-(x**2 + y**2) / (radius**2)))


def _sphere_shade(grid: Grid) -> Pixels:
    """Return Lambert shading of a unit sphere lit from above, the side and the front."""
    front = np.sqrt(np.clip(1 - grid.x**2 - grid.y**2, 0, 1))
    lit = 0.45 * grid.light * grid.x + 0.5 * grid.y + 0.75 * front
    return np.asarray(0.45 + 0.65 * np.clip(lit, 0, 1))


def _barrel_shade(grid: Grid, half_width: float) -> Pixels:
    """Return the shading of an upright cylinder."""
    across = np.clip(grid.u / half_width, -1, 1)
    lit = 0.6 * grid.light * across + 0.8 * np.sqrt(1 - across**2)
    return np.asarray(0.5 + 0.55 * np.clip(lit, 0, 1))


def _flat_shade(grid: Grid, distance: Pixels) -> Pixels:
    """Return the shading of a flat front with dark rounded edges, lit from above and the side."""
    edge = np.clip(-distance / 0.18, 0, 1)
    return 0.70 + 0.25 * edge + 0.12 * (grid.y + grid.light * grid.x)


def _block(grid: Grid) -> Paint:
    distance = box(grid.u, grid.v, 1.15, 0.72, corner=0.1)
    bend = 0.35 * np.sin(1.7 * grid.u + 6 * grid.grain)
    rings = np.sin(15.0 * (grid.v + bend * (0.3 + 0.2 * grid.v)) + 9 * grid.grain)
    top = _step(grid.v - 0.5)
    return Paint(
        distance,
        accent=0.75 * _step(rings - 0.25, 0.6) * (1 - top),
        shade=_flat_shade(grid, distance) + 0.22 * top,
        highlight=top,
    )


def _gear(grid: Grid) -> Paint:
    angle, radius = np.arctan2(grid.v, grid.u), np.hypot(grid.u, grid.v)
    teeth = np.clip(2.5 * np.cos(8 * angle), -1, 1)
    distance = np.maximum(radius - (0.89 + 0.11 * teeth), 0.27 - radius)
    turned = np.arctan2(grid.y, grid.x)
    sheen = 0.5 + 0.5 * np.cos(2 * (turned - 0.8 * grid.light - 1.57))
    spokes = _step(np.cos(3 * angle) - 0.35, 0.3) * _step(radius - 0.40) * _step(0.64 - radius)
    return Paint(
        distance,
        accent=np.maximum(0.85 * spokes, 0.5 * _step(0.36 - radius)),
        shade=0.70 + 0.40 * sheen**2,
        highlight=sheen**8 * _step(radius - 0.35),
    )


def _bottle(grid: Grid) -> Paint:
    body = box(grid.u, grid.v + 0.35, 0.68, 0.95, corner=0.28)
    neck = box(grid.u, grid.v - 0.85, 0.25, 0.45)
    distance = np.minimum(body, neck)
    rim = np.clip(1 + distance / 0.2, 0, 1)
    lip = _step(grid.v - 1.12, 0.1)
    side = 0.3 * grid.light
    streak = _blob((grid.u - side) * 5, np.maximum(np.abs(grid.v + 0.3) - 0.5, 0) * 3, 0.7)
    return Paint(
        distance,
        accent=0.5 * streak,
        shade=1.05 - 0.45 * rim + 0.1 * lip,
        highlight=streak,
        opacity=np.clip(0.42 + 0.5 * rim + 0.5 * streak + 0.4 * lip, 0, 1),
    )


def _ball(grid: Grid) -> Paint:
    band = _step(0.26 - np.abs(grid.v + 0.25 * grid.u**2), 0.12)
    return Paint(
        disc(grid.u, grid.v, 1.0),
        accent=band,
        shade=_sphere_shade(grid),
        highlight=_blob(grid.x - 0.4 * grid.light, grid.y - 0.45, 0.35),
    )


def _mug(grid: Grid) -> Paint:
    cup = box(grid.u + 0.15, grid.v, 0.70, 0.90, corner=0.16)
    handle = np.abs(disc(grid.u - 0.45, grid.v - 0.05, 0.31)) - 0.09
    distance = np.minimum(cup, np.maximum(handle, 0.45 - grid.u))
    band = _step(0.24 - np.abs(grid.v + 0.1)) * _step(-cup)
    inside = _step(grid.v - 0.74) * _step(-cup)
    side = 0.25 * grid.light - 0.15
    return Paint(
        distance,
        accent=band,
        shade=_barrel_shade(grid, 0.95) * (1 - 0.35 * inside),
        highlight=_blob((grid.u - side) * 4, grid.v * 0.9, 0.6),
    )


def _brick(grid: Grid) -> Paint:
    body = box(grid.u, grid.v + 0.15, 1.10, 0.70, corner=0.06)
    from_stud = np.minimum(np.abs(grid.u), np.abs(np.abs(grid.u) - 0.7))
    studs = box(from_stud, grid.v - 0.6, 0.24, 0.25, corner=0.06)
    distance = np.minimum(body, studs)
    seam = _step(0.06 - np.abs(grid.v - 0.52)) + _step(0.05 - np.abs(grid.v + 0.62), 0.1)
    return Paint(
        distance,
        accent=np.clip(seam, 0, 1),
        shade=_flat_shade(grid, distance) + 0.12,
        highlight=_blob(grid.u - 0.6 * grid.light, grid.v - 0.2, 0.4),
    )


def _pebble(grid: Grid) -> Paint:
    angle = np.arctan2(grid.v, grid.u)
    turn = 6.28 * grid.grain
    bumps = 0.035 * np.cos(3 * angle + turn) + 0.025 * np.cos(5 * angle - turn) + 0.015 * np.cos(8 * angle)
    u, v = grid.u + turn, grid.v
    coarse = np.sin(7 * u + 3 * v) * np.sin(6 * v - 4 * u + 1)
    speckle = coarse + np.sin(13 * u - 9 * v) * np.sin(5 * u + 16 * v)
    return Paint(
        np.hypot(grid.u, grid.v) - (0.96 + bumps),
        accent=0.6 * _step(speckle - 0.5, 0.8),
        shade=_sphere_shade(grid),
        highlight=np.zeros_like(angle),
    )


def _drum(grid: Grid) -> Paint:
    shell = box(grid.u, grid.v, 0.98, 0.74, corner=0.08)
    top, bottom = (box(grid.u, grid.v - s * 0.62, 1.05, 0.16, corner=0.1) for s in (1.0, -1.0))
    zigzag = np.abs(np.abs((grid.u * 1.5 + 20.0) % 1.0 - 0.5) * 1.7 - (grid.v + 0.42))
    ropes = _step(0.10 - zigzag, 0.1) * _step(0.46 - np.abs(grid.v))
    skin = np.maximum(_step(-top, 0.06), _step(-bottom, 0.06))
    return Paint(
        np.minimum(shell, np.minimum(top, bottom)),
        accent=np.maximum(skin, 0.8 * ropes),
        shade=_barrel_shade(grid, 1.1) + 0.12 * _step(grid.v - 0.6),
        highlight=_blob((grid.u - 0.4 * grid.light) * 3, grid.v * 0.8, 0.7),
    )


_PAINTERS: dict[str, Callable[[Grid], Paint]] = {
    "block": _block,
    "gear": _gear,
    "bottle": _bottle,
    "ball": _ball,
    "mug": _mug,
    "brick": _brick,
    "pebble": _pebble,
    "drum": _drum,
}
