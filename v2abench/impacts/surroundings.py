"""What is around the objects of a scene: camera, light, what stands in front, room.

They make the world harder without touching its events: all of it is drawn at
random for each clip, independent of materials and motions.
"""

from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import ArrayLike, NDArray

from v2abench.impacts.materials import Colour

Floats = NDArray[np.float64]
Waves = tuple[tuple[float, float, float], ...]
"""(amplitude, frequency in Hz, phase) of sinusoids that are added up."""


@dataclass(frozen=True)
class Camera:
    """Side view: `scale` pixels a metre, world x = 0 at `column`, the floor's contact line at `row`.

    Held by hand: at each instant the picture is moved by `sway`, in pixels along x and y.
    """

    scale: float
    column: float
    row: float
    sway_x: Waves = ()
    sway_y: Waves = ()

    def sway(self, times: ArrayLike) -> Floats:
        """Return by how many pixels the picture is off at `times`, (len(times), 2)."""
        return np.stack([_sum_of(self.sway_x, times), _sum_of(self.sway_y, times)], axis=-1)


@dataclass(frozen=True)
class Light:
    """`side` is −1 (from the left) to 1; `strength` multiplies all colours, `tint` each
    channel; `drift` is the slow relative change of the strength.
    """

    side: float
    strength: float
    tint: Colour = (1.0, 1.0, 1.0)
    drift: Waves = ()

    def gains(self, times: ArrayLike) -> Floats:
        """Return the factors of red, green and blue at `times`, (len(times), 3)."""
        strength = self.strength * (1 + _sum_of(self.drift, times))
        return np.asarray(strength[:, None] * np.asarray(self.tint))


@dataclass(frozen=True)
class Occluder:
    """A box in front of everything, in metres: from `bottom` to `top`, about `x`."""

    x: float
    half_width: float
    bottom: float
    top: float
    colour: Colour


@dataclass(frozen=True)
class Room:
    """How a room adds to the sound.

    The diffuse tail falls by 60 dB in `seconds` and has `wetness` times the direct
    amplitude a sample. Background noise lies `noise_db` below the mean power of the
    clip's impacts, with a power spectrum ∝ 1/f^`noise_slope`, and swells by `swell` (0..1).
    """

    seconds: float
    wetness: float
    noise_db: float
    noise_slope: float
    swell: float


def draw_camera(rng: Generator) -> Camera:
    """Draw where the camera stands and how it sways, up to 2 pixels along either axis."""
    strength = rng.uniform(0.0, 1.0)
    return Camera(
        scale=rng.uniform(41.0, 48.0),
        column=rng.uniform(44.0, 52.0),
        row=rng.uniform(76.0, 84.0),
        sway_x=_waves(rng, strength, 0.3, 2.5),
        sway_y=_waves(rng, strength, 0.3, 2.5),
    )


def draw_light(rng: Generator) -> Light:
    """Draw a light from either side, from dim to bright, of a colour, that may drift."""
    red, green, blue = 1.0 + rng.uniform(-0.1, 0.1, size=3)
    return Light(
        side=float(rng.choice((-1.0, 1.0)) * rng.uniform(0.35, 0.9)),
        strength=rng.uniform(0.6, 1.08),
        tint=(float(red), float(green), float(blue)),
        drift=_waves(rng, rng.uniform(0.0, 0.05), 0.1, 0.8),
    )


def draw_occluder(rng: Generator) -> Occluder | None:
    """Draw nothing, a post that hides a strip of the view, or a low box before the floor line."""
    kind = rng.random()
    grey = rng.uniform(0.15, 0.65)
    red, green, blue = np.clip(grey + rng.uniform(-0.12, 0.12, size=3), 0.0, 1.0)
    colour = (float(red), float(green), float(blue))
    if kind < 0.5:
        return None
    if kind < 0.8:
        return Occluder(rng.uniform(-0.7, 0.7), rng.uniform(0.03, 0.09), -0.4, 2.5, colour)
    return Occluder(rng.uniform(-0.6, 0.6), rng.uniform(0.15, 0.4), -0.4, rng.uniform(0.03, 0.16), colour)


def draw_room(rng: Generator) -> Room:
    """Draw a room from dry to lively with noise at 15 to 40 dB."""
    return Room(
        seconds=rng.uniform(0.15, 0.7),
        wetness=rng.uniform(0.003, 0.012),
        noise_db=rng.uniform(15.0, 40.0),
        noise_slope=rng.uniform(0.0, 2.0),
        swell=rng.uniform(0.0, 0.5),
    )


def _waves(rng: Generator, strength: float, lowest_hz: float, highest_hz: float) -> Waves:
    """Draw three sinusoids whose amplitudes add up to at most twice `strength`."""
    return tuple(
        (
            float(strength * rng.uniform(0.2, 2 / 3)),
            float(rng.uniform(lowest_hz, highest_hz)),
            float(rng.uniform(0, 2 * np.pi)),
        )
        for _ in range(3)
    )


def _sum_of(waves: Waves, times: ArrayLike) -> Floats:
    when = np.asarray(times, dtype=np.float64)
    moved = np.zeros_like(when)
    for amplitude, frequency, phase in waves:
        moved += amplitude * np.sin(2 * np.pi * frequency * when + phase)
    return moved
