"""How objects move and strike: four motions in closed form.

World coordinates in metres, x to the right, y up, the floor at y = 0, the view
about |x| < 1.05; angles in radians, anticlockwise; time in seconds. Pictures
and sounds read the same tracks and impacts, so they cannot disagree.

Each motion is a frozen dataclass with its `impacts` from the start of time to
beyond the end of the clip, and `pose(times)`, the centre and angle of the
object. `make_*` draws one at random with the first free motion at time 0;
`delayed` moves it in time.
"""

from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from numpy.random import Generator
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]

GRAVITY = 9.81
SHORTEST_REBOUND_S = 0.14
"""A rebound that would take less time than this does not happen: the object stays."""

_LONG_AGO = -60.0


@dataclass(frozen=True)
class Impact:
    """A contact: when, and how fast the object (or mallet) was going."""

    time_s: float
    speed: float


@dataclass(frozen=True)
class Track:
    """One coordinate over time, in closed-form pieces.

    Piece i holds from `starts[i]`; with τ the time since then and (a, b, c) =
    `pieces[i]` it is a + bτ + cτ², or a + b·cos(ωτ) + c·sin(ωτ) where `omega` > 0.
    Before the first start, the first piece is continued backwards.
    """

    starts: tuple[float, ...]
    pieces: tuple[tuple[float, float, float], ...]
    omega: float = 0.0

    def __call__(self, times: ArrayLike) -> Floats:
        """Return the coordinate at `times`."""
        when = np.asarray(times, dtype=np.float64)
        piece = np.clip(np.searchsorted(self.starts, when, side="right") - 1, 0, None)
        elapsed = when - np.asarray(self.starts)[piece]
        a, b, c = np.asarray(self.pieces).T[:, piece]
        if self.omega:
            return np.asarray(a + b * np.cos(self.omega * elapsed) + c * np.sin(self.omega * elapsed))
        return np.asarray(a + b * elapsed + c * elapsed**2)

    def delayed(self, seconds: float) -> "Track":
        """Return the same track, later."""
        return replace(self, starts=tuple(start + seconds for start in self.starts))


@dataclass(frozen=True)
class Body:
    """What a motion needs of the object: half its width and height and the corners of its
    outline in metres (none for a disc, which rolls), and the restitution of its contacts.
    """

    half_width: float
    half_height: float
    outline: tuple[tuple[float, float], ...]
    restitution: float

    @property
    def round(self) -> bool:
        """Whether the object rolls."""
        return not self.outline

    def reach(self, angle: float, direction: int) -> float:
        """Return how far the object, turned by `angle`, extends to the left (−1) or right (+1)."""
        corners = (direction * (x * np.cos(angle) - y * np.sin(angle)) for x, y in self.outline)
        return float(max(corners, default=self.half_width))


@dataclass(frozen=True)
class Drop:
    """A fall from a thread and the bounces after it; the object ends at rest on the floor."""

    impacts: tuple[Impact, ...]
    body: Body
    release_s: float
    x: Track
    height: Track
    """Of the lowest point of the object above the floor."""
    lean: float
    """Radians per metre of height by which an upright object tilts in the air."""

    def pose(self, times: ArrayLike) -> tuple[Floats, Floats, Floats]:
        """Return x, y of the object's centre and its angle."""
        x, height = self.x(times), self.height(times)
        angle = -x / self.body.half_width if self.body.round else self.lean * height
        return x, height + self.body.half_height, angle

    def delayed(self, seconds: float) -> "Drop":
        """Return the same motion, later."""
        return replace(
            self,
            impacts=_delayed(self.impacts, seconds),
            release_s=self.release_s + seconds,
            x=self.x.delayed(seconds),
            height=self.height.delayed(seconds),
        )


@dataclass(frozen=True)
class Swing:
    """A pendulum, held aside by a thread until it is let go, that strikes a block.

    Small-angle motion: the angle is harmonic between contacts. `side` is +1
    where the pendulum starts on the right.
    """

    impacts: tuple[Impact, ...]
    body: Body
    release_s: float
    pivot: tuple[float, float]
    length: float
    side: int
    theta: Track
    """Angle from the vertical, positive towards the side of the start."""
    contact: float
    """The angle at which the object touches the block."""

    @property
    def block_face(self) -> float:
        """Where the face of the block is, in metres along x."""
        centre = self.pivot[0] + self.side * self.length * np.sin(self.contact)
        return float(centre - self.side * self.body.reach(self.side * self.contact, -self.side))

    def pose(self, times: ArrayLike) -> tuple[Floats, Floats, Floats]:
        """Return x, y of the object's centre and its angle."""
        angle = self.side * self.theta(times)
        x = self.pivot[0] + self.length * np.sin(angle)
        return x, self.pivot[1] - self.length * np.cos(angle), angle

    def delayed(self, seconds: float) -> "Swing":
        """Return the same motion, later."""
        return replace(
            self,
            impacts=_delayed(self.impacts, seconds),
            release_s=self.release_s + seconds,
            theta=self.theta.delayed(seconds),
        )


@dataclass(frozen=True)
class Slide:
    """A slide or roll along the floor, slowed by friction, that strikes walls.

    `walls` are their faces along x, left and right; None where there is no wall
    and the object comes in from outside the picture.
    """

    impacts: tuple[Impact, ...]
    body: Body
    x: Track
    walls: tuple[float | None, float | None]

    def pose(self, times: ArrayLike) -> tuple[Floats, Floats, Floats]:
        """Return x, y of the object's centre and its angle."""
        x = self.x(times)
        angle = -x / self.body.half_width if self.body.round else np.zeros_like(x)
        return x, np.full_like(x, self.body.half_height), angle

    def delayed(self, seconds: float) -> "Slide":
        """Return the same motion, later."""
        return replace(self, impacts=_delayed(self.impacts, seconds), x=self.x.delayed(seconds))


@dataclass(frozen=True)
class Strike:
    """A mallet that strikes the object from above at irregular times.

    The mallet turns about a pivot on the right (`side` +1) or left of the
    object, which stands on the floor and rocks a little after each blow.
    """

    impacts: tuple[Impact, ...]
    body: Body
    x: float
    side: int
    lift: Track
    """Distance of the mallet's head from the contact along its arc, in metres."""

    arm = 0.75
    head_radius = 0.09
    _dip = -0.15
    _rocking_hz = 7.0

    @property
    def pivot(self) -> tuple[float, float]:
        """Where the mallet turns."""
        contact_height = 2 * self.body.half_height + self.head_radius
        return (
            float(self.x + self.side * self.arm * np.cos(self._dip)),
            float(contact_height - self.arm * np.sin(self._dip)),
        )

    def head(self, times: ArrayLike) -> tuple[Floats, Floats]:
        """Return the centre of the mallet's head."""
        angle = self._dip + self.lift(times) / self.arm
        x, y = self.pivot
        return x - self.side * self.arm * np.cos(angle), y + self.arm * np.sin(angle)

    def pose(self, times: ArrayLike) -> tuple[Floats, Floats, Floats]:
        """Return x, y of the object's centre and its angle."""
        when = np.asarray(times, dtype=np.float64)
        angle = np.zeros_like(when)
        for impact in self.impacts:
            elapsed = np.clip(when - impact.time_s, 0.0, None)
            swing = np.exp(-elapsed / 0.12) * np.sin(2 * np.pi * self._rocking_hz * elapsed)
            angle += self.side * 0.02 * impact.speed * swing
        return np.full_like(when, self.x), np.full_like(when, self.body.half_height), angle

    def delayed(self, seconds: float) -> "Strike":
        """Return the same motion, later."""
        return replace(self, impacts=_delayed(self.impacts, seconds), lift=self.lift.delayed(seconds))


Motion = Drop | Swing | Slide | Strike


def _delayed(impacts: tuple[Impact, ...], seconds: float) -> tuple[Impact, ...]:
    return tuple(replace(impact, time_s=impact.time_s + seconds) for impact in impacts)


def make_drop(rng: Generator, body: Body, seconds: float) -> Drop:
    """Draw a fall from 0.5 to 2.2 m; `seconds` bounds how long it is followed."""
    height = rng.uniform(0.5, 2.2)
    fall = float(np.sqrt(2 * height / GRAVITY))
    starts, pieces = [_LONG_AGO, 0.0], [(height, 0.0, 0.0), (height, 0.0, -GRAVITY / 2)]
    impacts = [Impact(fall, GRAVITY * fall)]
    while True:
        time, up = impacts[-1].time_s, impacts[-1].speed * body.restitution
        flight = 2 * up / GRAVITY
        if flight < SHORTEST_REBOUND_S or time > seconds:
            break
        starts.append(time)
        pieces.append((0.0, up, -GRAVITY / 2))
        impacts.append(Impact(time + flight, up))
    starts.append(impacts[-1].time_s)
    pieces.append((0.0, 0.0, 0.0))
    return Drop(
        tuple(impacts),
        body,
        release_s=0.0,
        x=_drift(rng, body, [impact.time_s for impact in impacts]),
        height=_track(starts, pieces),
        lean=rng.uniform(-0.5, 0.5),
    )


def _drift(rng: Generator, body: Body, contacts: list[float]) -> Track:
    """Go sideways from the release on, slower by a quarter after each contact but the
    last, after which the object rolls or slides to a stop.
    """
    limit = 0.95 - body.half_width
    start, end = rng.uniform(-limit, limit, size=2)
    speeds = 0.75 ** np.arange(len(contacts))
    lengths = np.diff([0.0, *contacts])
    stop = 0.4
    total = float(speeds @ lengths) + 0.5 * speeds[-1] * stop
    velocity = float(np.clip((end - start) / total, -1.2, 1.2))
    starts, pieces, x = [_LONG_AGO, 0.0], [(start, 0.0, 0.0), (start, velocity, 0.0)], start
    for contact, length, speed in zip(contacts, lengths, velocity * speeds, strict=True):
        x += speed * length
        starts.append(contact)
        pieces.append((x, 0.75 * speed, 0.0))
    last = velocity * speeds[-1]
    pieces[-1] = (x, last, -last / (2 * stop))
    starts.append(contacts[-1] + stop)
    pieces.append((x + last * stop / 2, 0.0, 0.0))
    return _track(starts, pieces)


def make_swing(rng: Generator, body: Body, seconds: float) -> Swing:
    """Draw a pendulum of 0.75 to 1.1 m; `seconds` bounds how long it is followed."""
    length = rng.uniform(0.75, 1.1)
    omega = float(np.sqrt(GRAVITY / length))
    side = int(rng.choice((-1, 1)))
    contact, start = rng.uniform(0.08, 0.35), rng.uniform(0.55, 1.0)
    time = float(np.arccos(contact / start) / omega)
    rate = start * omega * float(np.sqrt(1 - (contact / start) ** 2))
    starts, pieces = [_LONG_AGO, 0.0], [(start, 0.0, 0.0), (0.0, start, 0.0)]
    impacts = [Impact(time, rate * length)]
    while True:
        rate *= body.restitution
        away = 2 * float(np.arctan2(rate / omega, contact)) / omega
        if away < SHORTEST_REBOUND_S or impacts[-1].time_s > seconds:
            break
        starts.append(impacts[-1].time_s)
        pieces.append((0.0, contact, rate / omega))
        impacts.append(Impact(impacts[-1].time_s + away, rate * length))
    starts.append(impacts[-1].time_s)
    pieces.append((contact, 0.0, 0.0))
    lowest = 1.3 * max(body.half_width, body.half_height) + rng.uniform(0.03, 0.25)
    return Swing(
        tuple(impacts),
        body,
        release_s=0.0,
        pivot=(-side * rng.uniform(0.0, 0.3), lowest + length),
        length=length,
        side=side,
        theta=_track(starts, pieces, omega),
        contact=contact,
    )


def make_slide(rng: Generator, body: Body, seconds: float, walled: bool) -> Slide:
    """Draw a slide towards a wall at 1 to 4.5 m/s, followed for `seconds`.

    It comes at time 0 from the opposite wall if `walled`, else into the picture.
    """
    towards = int(rng.choice((-1, 1)))
    drag = rng.uniform(0.15, 0.5) if body.round else rng.uniform(0.4, 1.2)
    far, near = rng.uniform(0.55, 0.95, size=2)
    x = -(near - body.half_width) if walled else -1.15 - body.half_width
    time, velocity = 0.0, rng.uniform(1.0, 4.5)
    starts, pieces, impacts = [], [], []
    while True:
        heading = 1.0 if velocity > 0 else -1.0
        starts.append(time)
        pieces.append((x, velocity, -heading * drag / 2))
        wall = far - body.half_width if heading > 0 else -(near - body.half_width if walled else 9.0)
        left = velocity**2 - 2 * drag * abs(wall - x)
        if left <= 0 or time > seconds:
            break
        speed = float(np.sqrt(left))
        time += (abs(velocity) - speed) / drag
        impacts.append(Impact(time, speed))
        x, velocity = wall, -heading * speed * body.restitution
    stop = time + abs(velocity) / drag
    starts.append(stop)
    pieces.append((x + heading * velocity**2 / (2 * drag), 0.0, 0.0))
    faces: tuple[float | None, float | None] = (-near if walled else None, far)
    if towards < 0:
        faces = (-far, near if walled else None)
    pieces = [(towards * a, towards * b, towards * c) for a, b, c in pieces]
    return Slide(tuple(impacts), body, _track(starts, pieces), faces)


def make_strike(rng: Generator, body: Body, seconds: float) -> Strike:
    """Draw one to six blows of 0.8 to 5 m/s within `seconds`, at least 0.25 s apart."""
    count = int(rng.integers(1, 7))
    slack = np.sort(rng.uniform(0.0, seconds - 0.25 * (count - 1), size=count))
    times = slack + 0.25 * np.arange(count)
    speeds = rng.uniform(0.8, 5.0, size=count)
    impacts = tuple(Impact(float(time), float(speed)) for time, speed in zip(times, speeds, strict=True))
    side = int(rng.choice((-1, 1)))
    return Strike(impacts, body, x=-side * rng.uniform(0.2, 0.4), side=side, lift=_lift(impacts))


def _lift(impacts: tuple[Impact, ...]) -> Track:
    """Return the mallet's way between blows: up, decelerating to a stop; a pause; down,
    accelerating to the speed of the next blow.
    """
    highest, rebound = 0.45, 0.5
    last, first = impacts[-1], impacts[0]
    starts, pieces = [_LONG_AGO], [(highest, 0.0, 0.0)]

    def down(impact: Impact, height: float) -> None:
        starts.append(impact.time_s - 2 * height / impact.speed)
        pieces.append((height, 0.0, -(impact.speed**2) / (4 * height)))

    def up(impact: Impact, height: float) -> None:
        speed = rebound * impact.speed
        starts.extend((impact.time_s, impact.time_s + 2 * height / speed))
        pieces.extend(((0.0, speed, -(speed**2) / (4 * height)), (height, 0.0, 0.0)))

    down(first, highest)
    for before, after in pairwise(impacts):
        seconds_per_metre = 2 / (rebound * before.speed) + 2 / after.speed
        height = min(highest, (after.time_s - before.time_s) / seconds_per_metre)
        up(before, height)
        down(after, height)
    up(last, highest)
    return _track(starts, pieces)


def _track(starts: list[float], pieces: list[tuple[float, float, float]], omega: float = 0.0) -> Track:
    plain = tuple((float(a), float(b), float(c)) for a, b, c in pieces)
    return Track(tuple(float(start) for start in starts), plain, omega)
