"""A scene is one clip of the world before it is drawn or heard.

`make_scene` is a pure function of split and index: every draw comes from a
generator seeded by name, so a scene does not depend on which others were made.
Materials and motions are balanced: each run of 32 indices holds every pair once.
"""

import hashlib
from dataclasses import dataclass

import numpy as np
from numpy.random import PCG64, Generator

from v2abench.errors import UnknownNameError, V2ABenchError
from v2abench.impacts import motions
from v2abench.impacts.materials import MATERIALS, Colour, Material
from v2abench.impacts.motions import Body, Drop, Impact, Motion, Slide, Strike, Swing

VERSION = "1"
"""Of the world; it seeds every draw, so clips of two versions share nothing."""

SPLITS = {"train": 4000, "val": 256, "test": 512}
SECONDS = 4.0
FRAME_RATE = 25
FRAMES = 100
WIDTH = 96
SAMPLE_RATE = 16000
MOTIONS = ("drop", "swing", "slide", "strike")

MIDDLE_S = (1.0, 3.0)
"""Every clip has an event here, so that a crop of it can still be synchronised."""
SHORTEST_GAP_S = 0.12
SLOWEST_IMPACT = 0.35
"""In m/s: slower ones would drown in the room tone."""
_MOST_EVENTS = 6
_EDGES_S = (0.15, 3.8)


@dataclass(frozen=True)
class Event:
    """A contact that sounds: when, how fast (m/s), and of what material."""

    time_s: float
    speed: float
    material: str


@dataclass(frozen=True)
class Camera:
    """Side view: `scale` pixels a metre, world x = 0 at `column`, the floor's contact line at `row`."""

    scale: float
    column: float
    row: float


@dataclass(frozen=True)
class Light:
    """`side` is −1 (from the left) to 1; `strength` multiplies all colours."""

    side: float
    strength: float


@dataclass(frozen=True)
class Scene:
    """Everything that decides a clip; positions come from `motion.pose(times)`."""

    split: str
    index: int
    material: Material
    size: float
    """Half the typical width of the object in metres, 0.14 to 0.30."""
    motion: Motion
    events: tuple[Event, ...]
    palette: tuple[Colour, Colour]
    surface: str
    """What the floor, walls and blocks are of: `stone`, `tiled` or `wooden`."""
    wall: Colour
    camera: Camera
    light: Light

    @property
    def id(self) -> str:
        """Name the clip, such as `test-000017`."""
        return f"{self.split}-{self.index:06d}"

    @property
    def kind(self) -> str:
        """The name of the motion, one of `MOTIONS`."""
        return type(self.motion).__name__.lower()

    @property
    def prompt(self) -> str:
        """What is seen and heard, as a short English phrase."""
        size = "small" if self.size < 0.19 else "large" if self.size > 0.25 else "medium-sized"
        return f"a {size} {self.material.thing} {_doing(self)}"


def named_rng(*names: str | int) -> Generator:
    """Return the generator that belongs to these names, the same in every process.

    NumPy keeps the bits of PCG64 but may change how a distribution uses them; the
    pinned scene in the tests would show it.
    """
    digest = hashlib.sha256("/".join(map(str, ("impacts", VERSION, *names))).encode()).digest()
    return Generator(PCG64(int.from_bytes(digest[:16], "big")))


def split_size(split: str) -> int:
    """Return the number of scenes of a split; raises `UnknownNameError`."""
    if split not in SPLITS:
        raise UnknownNameError("split of impacts", split, SPLITS)
    return SPLITS[split]


def make_scene(split: str, index: int) -> Scene:
    """Return scene `index` of `split` (`train`, `val` or `test`).

    It has one to six events in 0.15..3.8 s, at least one of them within
    `MIDDLE_S`, none closer than 0.12 s, and, where there are three or more,
    at unequal intervals. Raises `UnknownNameError` for another split and
    `V2ABenchError` for an index outside it.
    """
    count = split_size(split)
    if not 0 <= index < count:
        raise V2ABenchError(f"impacts has no scene {index} in split {split!r}: use 0 to {count - 1}")
    material, kind = _material_and_kind(split, index)
    rng = named_rng(split, index, "scene")
    size = float(rng.uniform(0.14, 0.30))
    palette = material.look.palettes[rng.integers(len(material.look.palettes))]
    tint = rng.uniform(-0.035, 0.035, size=3)
    motion, impacts = _draw_motion(rng, kind, material, size)
    return Scene(
        split=split,
        index=index,
        material=material,
        size=size,
        motion=motion,
        events=tuple(Event(impact.time_s, impact.speed, material.name) for impact in impacts),
        palette=(_tinted(palette[0], tint), _tinted(palette[1], tint)),
        surface=str(rng.choice(("stone", "tiled", "wooden"))),
        wall=_wall_colour(rng),
        camera=Camera(rng.uniform(43.0, 47.0), rng.uniform(46.0, 50.0), rng.uniform(78.0, 83.0)),
        light=Light(float(rng.choice((-1.0, 1.0)) * rng.uniform(0.35, 0.9)), rng.uniform(0.88, 1.05)),
    )


def _material_and_kind(split: str, index: int) -> tuple[Material, str]:
    pairs = len(MATERIALS) * len(MOTIONS)
    block, place = divmod(index, pairs)
    pair = int(named_rng(split, block, "pairs").permutation(pairs)[place])
    return MATERIALS[pair % len(MATERIALS)], MOTIONS[pair // len(MATERIALS)]


def _draw_motion(
    rng: Generator, kind: str, material: Material, size: float
) -> tuple[Motion, tuple[Impact, ...]]:
    """Draw motions until one has a good list of impacts; return it and those within the clip."""
    look = material.look
    walled = bool(rng.random() < 0.75)
    while True:
        body = Body(
            look.half_width * size,
            look.half_height * size,
            tuple((x * size, y * size) for x, y in look.outline),
            material.restitution * rng.uniform(0.92, 1.08),
        )
        motion = _make(rng, kind, body, walled)
        impacts = tuple(impact for impact in motion.impacts if impact.time_s < SECONDS)
        if _starts_well(motion) and _is_good(impacts):
            return motion, impacts


def _make(rng: Generator, kind: str, body: Body, walled: bool) -> Motion:
    match kind:
        case "drop":
            return _centred(rng, motions.make_drop(rng, body, SECONDS))
        case "swing":
            return _centred(rng, motions.make_swing(rng, body, SECONDS))
        case "slide" if walled:
            return motions.make_slide(rng, body, SECONDS + 1.0, walled).delayed(rng.uniform(-1.0, 0.0))
        case "slide":
            return _centred(rng, motions.make_slide(rng, body, SECONDS, walled))
        case _:
            return motions.make_strike(rng, body, SECONDS)


def _centred(rng: Generator, motion: Motion) -> Motion:
    """Move the motion in time so that one of its impacts, drawn at random, is in the middle."""
    times = [impact.time_s for impact in motion.impacts[:_MOST_EVENTS]]
    return motion.delayed(float(rng.uniform(*MIDDLE_S) - rng.choice(times))) if times else motion


def _starts_well(motion: Motion) -> bool:
    """Say whether an object that hangs on a thread is seen to be let go."""
    return not isinstance(motion, Drop | Swing) or motion.release_s > 0.1


def _is_good(impacts: tuple[Impact, ...]) -> bool:
    times = np.array([impact.time_s for impact in impacts])
    if not 1 <= len(times) <= _MOST_EVENTS or times[0] < _EDGES_S[0] or times[-1] > _EDGES_S[1]:
        return False
    gaps = np.diff(times)
    ratios = gaps[1:] / gaps[:-1]
    return bool(
        np.any((times >= MIDDLE_S[0]) & (times <= MIDDLE_S[1]))
        and np.all(gaps >= SHORTEST_GAP_S)
        and np.all(np.abs(np.log(ratios)) > 0.06)
        and min(impact.speed for impact in impacts) >= SLOWEST_IMPACT
    )


def _tinted(colour: Colour, tint: np.ndarray) -> Colour:
    red, green, blue = np.clip(np.asarray(colour) + tint, 0.0, 1.0)
    return float(red), float(green), float(blue)


def _wall_colour(rng: Generator) -> Colour:
    """Draw a muted light colour, against which every object stands out."""
    grey = rng.uniform(0.62, 0.80)
    red, green, blue = grey + rng.uniform(-0.06, 0.06, size=3)
    return float(red), float(green), float(blue)


def _doing(scene: Scene) -> str:
    match scene.motion:
        case Drop():
            verb = "bouncing on" if len(scene.events) > 1 else "falling onto"
            return f"{verb} a {scene.surface} floor"
        case Swing():
            return "swinging on a string against a block"
        case Slide(body=body, walls=walls):
            verb = "rolling" if body.round else "sliding"
            return f"{verb} against a wall" if None in walls else f"{verb} between two walls"
        case Strike():
            return "struck by a mallet"
