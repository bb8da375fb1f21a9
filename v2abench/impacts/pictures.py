"""The picture of a scene: 100 frames of 96 × 96 pixels, drawn with NumPy.

A side view. The backdrop (wall, floor, blocks and posts) is drawn once; what
moves (shadows, threads, objects, mallets) is drawn over it in patches, for all
frames at once; then what stands in front, and the camera's sway and the light.
Frame k shows the world at the instant k / 25 s.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from v2abench.impacts.backdrops import draw_backdrop
from v2abench.impacts.bodies import Grid, Pixels, box, disc, paint, rgb
from v2abench.impacts.materials import Colour
from v2abench.impacts.motions import Drop, Floats, Strike, Swing
from v2abench.impacts.scenes import FRAME_RATE, FRAMES, WIDTH, Actor, Scene, named_rng
from v2abench.impacts.surroundings import Occluder

Frames = NDArray[np.uint8]

_FELT: Colour = (0.20, 0.20, 0.24)
_OUTSIDE_M = 2.2
_EVERY = np.arange(FRAMES)


@dataclass(frozen=True)
class _Stroke:
    """How a line is drawn; half its width in metres."""

    half_width: float
    colour: Colour


_THREAD = _Stroke(0.008, (0.15, 0.13, 0.12))
_HANDLE = _Stroke(0.022, (0.50, 0.34, 0.20))


def render_frames(scene: Scene) -> Frames:
    """Return the frames of `scene`, (100, 96, 96, 3) uint8 RGB; a pure function of the scene."""
    times = np.arange(FRAMES) / FRAME_RATE
    canvas = _Canvas(scene, draw_backdrop(scene))
    for index in reversed(range(len(scene.actors))):
        _draw_actor(canvas, scene, index, times)
    if scene.occluder is not None:
        _draw_occluder(canvas, scene.occluder)
    return _filmed(scene, canvas.frames, times)


def _draw_actor(canvas: "_Canvas", scene: Scene, index: int, times: Floats) -> None:
    actor = scene.actors[index]
    x, y, angle = actor.motion.pose(times)
    _draw_shadow(canvas, scene, actor, x, y)
    _draw_threads(canvas, actor, times, x, y)
    _draw_object(canvas, scene, index, (x, y, angle))
    if isinstance(actor.motion, Strike):
        _draw_mallet(canvas, actor.motion, times)


def _filmed(scene: Scene, frames: Frames, times: Floats) -> Frames:
    """Return the frames as the swaying camera sees them in the scene's light."""
    gains = scene.light.gains(times)
    tables = _quantised(np.arange(256)[None, :, None] / 255 * gains[:, None, :])
    filmed = np.empty_like(frames)
    for frame, (dx, dy), table, out in zip(frames, scene.camera.sway(times), tables, filmed, strict=True):
        move = np.array([[1.0, 0.0, dx], [0.0, 1.0, dy]])
        moved = cv2.warpAffine(frame, move, (WIDTH, WIDTH), borderMode=cv2.BORDER_REPLICATE)
        out[:] = cv2.LUT(moved, table[None])
    return filmed


@dataclass(frozen=True)
class _Window:
    """A patch of some frames: its rows and columns per frame, and the offsets in
    metres of its pixels from the point it was cut around.
    """

    frames: NDArray[np.int64]
    rows: NDArray[np.int64]
    columns: NDArray[np.int64]
    x: Pixels
    y: Pixels


class _Canvas:
    """The frames so far, and drawing on them in world coordinates."""

    def __init__(self, scene: Scene, backdrop: Pixels) -> None:
        self.camera = scene.camera
        self.frames: Frames = np.repeat(_quantised(backdrop)[None], FRAMES, axis=0)

    def window(self, frames: NDArray[np.int64], x: Floats, y: Floats, half: tuple[float, float]) -> _Window:
        """Cut out of each of `frames` what lies within `half` a width and height (metres) of its point."""
        scale = self.camera.scale
        reach_columns, reach_rows = (int(extent * scale) + 2 for extent in half)
        column = self.camera.column + x[:, None] * scale
        row = self.camera.row - y[:, None] * scale
        columns = np.floor(column).astype(int) + np.arange(-reach_columns, reach_columns + 1)
        rows = np.floor(row).astype(int) + np.arange(-reach_rows, reach_rows + 1)
        dx, dy = (columns + 0.5 - column) / scale, (row - rows - 0.5) / scale
        across, up = dx[:, None, :].astype(np.float32), dy[:, :, None].astype(np.float32)
        return _Window(frames, rows, columns, across, up)

    def blend(self, window: _Window, colour: Pixels | Colour, opacity: Pixels) -> None:
        """Lay `colour` over the frames with `opacity` (frames, rows, columns) in 0..1."""
        seen_rows, seen_columns = ((at >= 0) & (at < WIDTH) for at in (window.rows, window.columns))
        seen = (opacity > 1 / 512) & seen_rows[:, :, None] & seen_columns[:, None, :]
        frame, row, column = np.nonzero(seen)
        share = opacity[seen][:, None]
        over = np.asarray(colour, dtype=np.float32)
        over = over[seen] if over.ndim > 1 else over
        at = window.frames[frame], window.rows[frame, row], window.columns[frame, column]
        under = self.frames[at].astype(np.float32) / 255
        self.frames[at] = _quantised(under + share * (over - under))

    def coverage(self, distance_m: Pixels) -> Pixels:
        """Return how much of each pixel lies within a shape, from its signed distance in metres."""
        return np.asarray(np.clip(0.5 - distance_m * self.camera.scale, 0, 1))


def _quantised(colour: Pixels) -> Frames:
    return np.asarray(np.clip(colour, 0, 1) * 255 + 0.5).astype(np.uint8)


def _draw_object(canvas: _Canvas, scene: Scene, index: int, pose: tuple[Floats, Floats, Floats]) -> None:
    look, actor = scene.material.look, scene.actors[index]
    x, y, angle = pose
    reach = actor.size * float(np.hypot(look.half_width, look.half_height))
    window = canvas.window(_EVERY, x, y, (reach, reach))
    x_in_sizes, y_in_sizes = window.x / actor.size, window.y / actor.size
    cos, sin = (turn(angle).astype(np.float32)[:, None, None] for turn in (np.cos, np.sin))
    grid = Grid(
        x=x_in_sizes,
        y=y_in_sizes,
        u=cos * x_in_sizes + sin * y_in_sizes,
        v=cos * y_in_sizes - sin * x_in_sizes,
        light=scene.light.side,
        grain=float(named_rng(scene.split, scene.index, "grain", index).random()),
    )
    colour, distance, opacity = paint(look, actor.palette, grid)
    canvas.blend(window, colour, opacity * canvas.coverage(distance * actor.size))


def _draw_shadow(canvas: _Canvas, scene: Scene, actor: Actor, x: Floats, y: Floats) -> None:
    """Darken the floor below the object: wider, fainter and farther from the light with its height."""
    half_width = actor.size * scene.material.look.half_width
    height = np.maximum(y - actor.size * scene.material.look.half_height, 0.0)
    window = canvas.window(
        _EVERY, x - 0.25 * scene.light.side * height, np.zeros_like(x), (2.2 * half_width, 0.12)
    )
    spread = (1.0 + 0.5 * height)[:, None, None].astype(np.float32)
    distance = np.hypot(window.x / (half_width * spread), (window.y + 0.02) / (0.06 * spread))
    darkness = np.clip(1.25 - distance, 0, 1) * 0.6 / spread**2
    canvas.blend(window, (0.05, 0.05, 0.08), darkness)


def _draw_threads(canvas: _Canvas, actor: Actor, times: Floats, x: Floats, y: Floats) -> None:
    """Draw the string of a pendulum, and the thread that holds an object until it is let go."""
    match actor.motion:
        case Swing(pivot=pivot, release_s=release, side=side):
            _draw_line(canvas, _EVERY, (x, y), _fixed(pivot), _THREAD)
            held = np.flatnonzero(times < release)
            _draw_line(canvas, held, (x, y), (x + side * _OUTSIDE_M, y + 0.3 * _OUTSIDE_M), _THREAD)
        case Drop(release_s=release):
            held = np.flatnonzero(times < release)
            _draw_line(canvas, held, (x, y), (x, y + _OUTSIDE_M), _THREAD)


def _draw_occluder(canvas: _Canvas, occluder: Occluder) -> None:
    """Draw a box that stands in front of everything, a little darker towards its edges."""
    camera, half_height = canvas.camera, (occluder.top - occluder.bottom) / 2
    at = np.arange(WIDTH, dtype=np.float32) + 0.5
    x = ((at - camera.column) / camera.scale - occluder.x)[None, :]
    y = ((camera.row - at) / camera.scale - occluder.bottom - half_height)[:, None]
    distance = box(x, y, occluder.half_width, half_height)
    shade = 0.75 + 0.25 * np.clip(-distance / 0.04, 0, 1)
    share = canvas.coverage(distance)
    rows, columns = (slice(*np.flatnonzero(share.any(axis=axis))[[0, -1]] + (0, 1)) for axis in (1, 0))
    share, shade = share[rows, columns, None], shade[rows, columns, None]
    under = canvas.frames[:, rows, columns].astype(np.float32) / 255
    canvas.frames[:, rows, columns] = _quantised(under + share * (rgb(occluder.colour) * shade - under))


def _draw_mallet(canvas: _Canvas, motion: Strike, times: Floats) -> None:
    x, y = motion.head(times)
    _draw_line(canvas, _EVERY, (x, y), _fixed(motion.pivot), _HANDLE)
    radius = motion.head_radius
    window = canvas.window(_EVERY, x, y, (radius, radius))
    lit = 1.0 + 2.5 * (window.y + 0 * window.x)
    canvas.blend(
        window,
        rgb(_FELT) * lit[..., None],
        canvas.coverage(disc(window.x, window.y, radius)),
    )


def _fixed(point: tuple[float, float]) -> tuple[Floats, Floats]:
    return np.full(FRAMES, point[0]), np.full(FRAMES, point[1])


def _draw_line(
    canvas: _Canvas,
    frames: NDArray[np.int64],
    start: tuple[Floats, Floats],
    end: tuple[Floats, Floats],
    stroke: _Stroke,
) -> None:
    """Draw a straight line between two points a frame, in some frames only."""
    if not len(frames):
        return
    (x0, y0), (x1, y1) = (tuple(axis[frames] for axis in point) for point in (start, end))
    half = float(np.max(np.abs(x1 - x0))) / 2, float(np.max(np.abs(y1 - y0))) / 2
    window = canvas.window(
        frames, (x0 + x1) / 2, (y0 + y1) / 2, (half[0] + stroke.half_width, half[1] + stroke.half_width)
    )
    along_x, along_y = (np.asarray(way, dtype=np.float32)[:, None, None] for way in (x1 - x0, y1 - y0))
    share = (window.x * along_x + window.y * along_y) / (along_x**2 + along_y**2)
    share = np.clip(share, -0.5, 0.5)
    distance = np.hypot(window.x - share * along_x, window.y - share * along_y)
    canvas.blend(window, stroke.colour, canvas.coverage(distance - stroke.half_width))
