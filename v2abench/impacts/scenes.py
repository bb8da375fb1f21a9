"""A scene is one clip of the world before it is drawn or heard.

`make_scene` is a pure function of split and index: every draw comes from a
generator seeded by name, so a scene does not depend on which others were made.
Materials and motions are balanced: each run of 32 indices holds every pair once.
Half of the scenes have a second object of the same material, so that a clip has
one label.
"""

import hashlib
import re
from dataclasses import dataclass, replace

import numpy as np
from numpy.random import PCG64, Generator

from v2abench.errors import UnknownNameError, V2ABenchError
from v2abench.impacts import motions
from v2abench.impacts.materials import MATERIALS, Colour, Material, Voice
from v2abench.impacts.motions import Body, Drop, Impact, Motion, Slide, Strike, Swing
from v2abench.impacts.surroundings import (
    Camera,
    Light,
    Occluder,
    Room,
    draw_camera,
    draw_light,
    draw_occluder,
    draw_room,
)

VERSION = "2"
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
"""Between impacts of one object."""
NEAREST_S = 0.08
"""Between impacts of two objects: two frames."""
SLOWEST_IMPACT = 0.35
"""In m/s."""
MOST_EVENTS = 8
"""Of a clip; one object has at most six."""
WEAKEST_SHARE = 0.12
"""The slowest impact of a clip against its fastest: about 20 dB, less than the noise is below them."""
_MOST_OF_ONE = 6
_EDGES_S = (0.15, 3.8)
_TRIES = 60
_ID = re.compile(r"(train|val|test)-(\d{6})")


@dataclass(frozen=True)
class Event:
    """A contact that sounds: when, how fast (m/s), of what material, and of which object."""

    time_s: float
    speed: float
    material: str
    actor: int = 0


@dataclass(frozen=True)
class Actor:
    """An object that moves and sounds; positions come from `motion.pose(times)`.

    `size` is half its typical width in metres, 0.14 to 0.30; `voice` its material's, varied.
    """

    size: float
    motion: Motion
    palette: tuple[Colour, Colour]
    voice: Voice

    @property
    def kind(self) -> str:
        """The name of the motion, one of `MOTIONS`."""
        return type(self.motion).__name__.lower()


@dataclass(frozen=True)
class Scene:
    """Everything that decides a clip. `actors` are one or two, the first one in front."""

    split: str
    index: int
    material: Material
    actors: tuple[Actor, ...]
    events: tuple[Event, ...]
    surface: str
    """What the floor, walls and blocks are of: `stone`, `tiled` or `wooden`."""
    wall: Colour
    camera: Camera
    light: Light
    occluder: Occluder | None
    room: Room

    @property
    def id(self) -> str:
        """Name the clip, such as `test-000017`."""
        return f"{self.split}-{self.index:06d}"

    @property
    def kind(self) -> str:
        """The motion of the first object, one of `MOTIONS`."""
        return self.actors[0].kind

    @property
    def prompt(self) -> str:
        """What is seen and heard, as a short English phrase."""
        first, *others = self.actors
        size = "small" if first.size < 0.19 else "large" if first.size > 0.25 else "medium-sized"
        phrase = f"a {size} {self.material.thing} {_doing(self, 0)}"
        return phrase + "".join(f", and another one {_doing(self, 1 + i)}" for i in range(len(others)))


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


def is_clip_id(name: str) -> bool:
    """Say whether a clip of the world is called so, as `test-000017` is."""
    match = _ID.fullmatch(name)
    return match is not None and int(match[2]) < SPLITS[match[1]]


def scene_of(clip_id: str) -> Scene:
    """Return the scene behind a clip's id, such as `test-000017`; raises `V2ABenchError`."""
    match = _ID.fullmatch(clip_id)
    if match is None:
        raise V2ABenchError(f"{clip_id!r} is no clip of impacts; its ids are like test-000017")
    return make_scene(match[1], int(match[2]))


def with_material(scene: Scene, material: Material) -> Scene:
    """Return the scene with objects of another material that move and strike alike.

    Its sound has the wrong timbre at the right times; its picture is not physical.
    """
    return replace(
        scene,
        material=material,
        actors=tuple(replace(actor, voice=material.voice) for actor in scene.actors),
        events=tuple(replace(event, material=material.name) for event in scene.events),
    )


def make_scene(split: str, index: int) -> Scene:
    """Return scene `index` of `split` (`train`, `val` or `test`).

    It has one to eight events in 0.15..3.8 s, at least one of them within
    `MIDDLE_S`, none closer than 0.08 s (0.12 s for one object), and, where there
    are three or more, at unequal intervals. Raises `UnknownNameError` for another
    split and `V2ABenchError` for an index outside it.
    """
    count = split_size(split)
    if not 0 <= index < count:
        raise V2ABenchError(f"impacts has no scene {index} in split {split!r}: use 0 to {count - 1}")
    material, kind = material_and_kind(split, index)
    rng = named_rng(split, index, "scene")
    actors, events = _draw_actors(rng, kind, material)
    return Scene(
        split=split,
        index=index,
        material=material,
        actors=actors,
        events=events,
        surface=str(rng.choice(("stone", "tiled", "wooden"))),
        wall=_wall_colour(rng),
        camera=draw_camera(rng),
        light=draw_light(rng),
        occluder=draw_occluder(rng),
        room=draw_room(rng),
    )


def material_and_kind(split: str, index: int) -> tuple[Material, str]:
    """Return the material of a scene and the motion of its first object."""
    pairs = len(MATERIALS) * len(MOTIONS)
    block, place = divmod(index, pairs)
    pair = int(named_rng(split, block, "pairs").permutation(pairs)[place])
    return MATERIALS[pair % len(MATERIALS)], MOTIONS[pair // len(MATERIALS)]


def _draw_actors(
    rng: Generator, kind: str, material: Material
) -> tuple[tuple[Actor, ...], tuple[Event, ...]]:
    """Draw one or two objects until their impacts together are a good list."""
    second_kind = "drop" if kind == "strike" or rng.random() < 0.5 else "strike"
    two, close = rng.random(size=2) < 0.5
    while True:
        first = _draw_actor(rng, kind, material)
        alone = _events(material, first)
        if not _is_good(alone):
            continue
        if not two:
            return (first,), alone
        for _ in range(_TRIES):
            second = _draw_actor(rng, second_kind, material)
            if close:
                second = _brought_near(rng, first, second)
            together = _events(material, first, second)
            if _is_good(together) and {event.actor for event in together} == {0, 1}:
                return (first, second), together


def _draw_actor(rng: Generator, kind: str, material: Material) -> Actor:
    look, size = material.look, float(rng.uniform(0.14, 0.30))
    body = Body(
        look.half_width * size,
        look.half_height * size,
        tuple((x * size, y * size) for x, y in look.outline),
        material.restitution * rng.uniform(0.92, 1.08),
    )
    motion = _make(rng, kind, body, walled=bool(rng.random() < 0.75))
    palette = look.palettes[rng.integers(len(look.palettes))]
    tint = rng.uniform(-0.06, 0.06, size=3)
    return Actor(
        size, motion, (_tinted(palette[0], tint), _tinted(palette[1], tint)), _varied(rng, material.voice)
    )


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
    times = [impact.time_s for impact in motion.impacts[:_MOST_OF_ONE]]
    return motion.delayed(float(rng.uniform(*MIDDLE_S) - rng.choice(times))) if times else motion


def _varied(rng: Generator, voice: Voice) -> Voice:
    """Return the voice of one object: no two of a material sound quite alike."""
    pitch, decay, brightness, noise = np.exp(np.clip(rng.normal(size=4), -2, 2) * (0.10, 0.20, 0.20, 0.30))
    return replace(
        voice,
        pitch_hz=float(voice.pitch_hz * pitch),
        decay_s=float(voice.decay_s * decay),
        brightness_hz=float(voice.brightness_hz * brightness),
        noise=float(voice.noise * noise),
    )


def _brought_near(rng: Generator, first: Actor, second: Actor) -> Actor:
    """Delay the second object so that one of its impacts almost coincides with one of the first's."""
    sides = [[impact.time_s for impact in actor.motion.impacts[:_MOST_OF_ONE]] for actor in (first, second)]
    target, own = (rng.choice(times) for times in sides)
    gap = rng.choice((-1.0, 1.0)) * rng.uniform(NEAREST_S, 0.2)
    return replace(second, motion=second.motion.delayed(float(target + gap - own)))


def _events(material: Material, *actors: Actor) -> tuple[Event, ...]:
    """Return the impacts of all actors within the clip, in order; none where one does not start well."""
    if not all(_starts_well(actor.motion) and _is_spaced(actor.motion.impacts) for actor in actors):
        return ()
    found = [
        Event(impact.time_s, impact.speed, material.name, index)
        for index, actor in enumerate(actors)
        for impact in _heard(actor.motion.impacts)
    ]
    return tuple(sorted(found, key=lambda event: event.time_s))


def _heard(impacts: tuple[Impact, ...]) -> list[Impact]:
    return [impact for impact in impacts if impact.time_s < SECONDS]


def _is_spaced(impacts: tuple[Impact, ...]) -> bool:
    times = [impact.time_s for impact in _heard(impacts)]
    return len(times) <= _MOST_OF_ONE and bool(np.all(np.diff(times) >= SHORTEST_GAP_S))


def _starts_well(motion: Motion) -> bool:
    """Say whether an object that hangs on a thread is seen to be let go."""
    return not isinstance(motion, Drop | Swing) or motion.release_s > 0.1


def _is_good(events: tuple[Event, ...]) -> bool:
    times = np.array([event.time_s for event in events])
    if not 1 <= len(times) <= MOST_EVENTS or times[0] < _EDGES_S[0] or times[-1] > _EDGES_S[1]:
        return False
    gaps = np.diff(times)
    speeds = [event.speed for event in events]
    if np.any(gaps < NEAREST_S) or min(speeds) < max(SLOWEST_IMPACT, WEAKEST_SHARE * max(speeds)):
        return False
    return bool(
        np.any((times >= MIDDLE_S[0]) & (times <= MIDDLE_S[1]))
        and np.all(np.abs(np.log(gaps[1:] / gaps[:-1])) > 0.06)
    )


def _tinted(colour: Colour, tint: np.ndarray) -> Colour:
    red, green, blue = np.clip(np.asarray(colour) + tint, 0.0, 1.0)
    return float(red), float(green), float(blue)


def _wall_colour(rng: Generator) -> Colour:
    """Draw a muted light colour, against which every object stands out."""
    grey = rng.uniform(0.55, 0.80)
    red, green, blue = grey + rng.uniform(-0.08, 0.08, size=3)
    return float(red), float(green), float(blue)


def _doing(scene: Scene, index: int) -> str:
    match scene.actors[index].motion:
        case Drop():
            bounces = sum(event.actor == index for event in scene.events) > 1
            return f"{'bouncing on' if bounces else 'falling onto'} a {scene.surface} floor"
        case Swing():
            return "swinging on a string against a block"
        case Slide(body=body, walls=walls):
            verb = "rolling" if body.round else "sliding"
            return f"{verb} against a wall" if None in walls else f"{verb} between two walls"
        case Strike():
            return "struck by a mallet"
