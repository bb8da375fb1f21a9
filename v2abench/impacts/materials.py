"""The eight materials of the world: how their objects look, bounce and sound.

Data only. `Look` is read by `bodies` and `pictures`, `Voice` by `sounds`,
`restitution` by `motions`. Mode ratios follow the textbook solids (free bar,
plates, wine glass, circular membrane; Fletcher and Rossing, The Physics of
Musical Instruments, 1998); levels, decays and noise are set by ear and eye so
that a person tells the materials apart, not measured.
"""

from dataclasses import dataclass

Colour = tuple[float, float, float]
"""Red, green, blue in 0..1."""

REFERENCE_SIZE = 0.2
"""The size in metres at which `Voice.pitch_hz` holds."""


@dataclass(frozen=True)
class Look:
    """The appearance of an object.

    Lengths are in units of the object's size. `outline` has the corners of the
    silhouette's convex hull (x to the right, y up, centre at the origin); an
    object without one is a disc of radius 1, which turns as it rolls, while the
    others stay upright. `palettes` are pairs of base and accent colour, of
    which a scene has one.
    """

    shape: str
    palettes: tuple[tuple[Colour, Colour], ...]
    outline: tuple[tuple[float, float], ...]
    gloss: float
    """Strength of the highlight, 0..1."""

    @property
    def half_width(self) -> float:
        """Half the width of the silhouette."""
        return max((abs(x) for x, _ in self.outline), default=1.0)

    @property
    def half_height(self) -> float:
        """Half the height of the silhouette."""
        return max((abs(y) for _, y in self.outline), default=1.0)


@dataclass(frozen=True)
class Voice:
    """Modal synthesis of one strike.

    Mode k sounds at f_k = `ratios[k]` · `pitch_hz` · (`REFERENCE_SIZE` / size)
    and loses amplitude by e in `decay_s` · (f_k / `pitch_hz`)^−`damping` seconds.
    """

    pitch_hz: float
    ratios: tuple[float, ...]
    gains: tuple[float, ...]
    """Amplitude of each mode before the speed-dependent low-pass."""
    decay_s: float
    damping: float
    brightness_hz: float
    """Frequency above which a strike of 2 m/s leaves the modes unexcited."""
    level: float
    """Scales modes and noise together."""
    noise: float
    """Amplitude of the contact noise against the modes."""
    noise_hz: float
    noise_decay_s: float


@dataclass(frozen=True)
class Material:
    """A material, with `thing`, the words for its object in a prompt."""

    name: str
    thing: str
    restitution: float
    look: Look
    voice: Voice


_WOOD = Material(
    name="wood",
    thing="wooden block",
    restitution=0.5,
    look=Look(
        shape="block",
        palettes=(((0.72, 0.47, 0.24), (0.45, 0.26, 0.11)), ((0.82, 0.60, 0.34), (0.58, 0.36, 0.17))),
        outline=((-1.15, -0.72), (1.15, -0.72), (1.15, 0.72), (-1.15, 0.72)),
        gloss=0.05,
    ),
    voice=Voice(
        pitch_hz=420.0,
        ratios=(1.0, 2.76, 5.40, 8.93),
        gains=(1.0, 0.6, 0.3, 0.15),
        decay_s=0.055,
        damping=0.6,
        brightness_hz=3000.0,
        level=0.26,
        noise=0.25,
        noise_hz=1200.0,
        noise_decay_s=0.006,
    ),
)

_METAL = Material(
    name="metal",
    thing="metal gear",
    restitution=0.58,
    look=Look(
        shape="gear",
        palettes=(((0.66, 0.69, 0.74), (0.30, 0.33, 0.38)), ((0.83, 0.68, 0.33), (0.45, 0.33, 0.12))),
        outline=(),
        gloss=0.9,
    ),
    voice=Voice(
        pitch_hz=780.0,
        ratios=(1.0, 1.52, 2.31, 2.93, 3.77, 4.62, 5.73, 6.90),
        gains=(0.7, 1.0, 0.8, 0.7, 0.5, 0.45, 0.3, 0.25),
        decay_s=0.75,
        damping=0.4,
        brightness_hz=5000.0,
        level=0.125,
        noise=0.3,
        noise_hz=4500.0,
        noise_decay_s=0.003,
    ),
)

_GLASS = Material(
    name="glass",
    thing="glass bottle",
    restitution=0.45,
    look=Look(
        shape="bottle",
        palettes=(((0.45, 0.78, 0.62), (0.88, 1.0, 0.95)), ((0.52, 0.74, 0.90), (0.92, 0.98, 1.0))),
        outline=((-0.68, -1.3), (0.68, -1.3), (0.68, 0.4), (0.25, 1.3), (-0.25, 1.3), (-0.68, 0.4)),
        gloss=1.0,
    ),
    voice=Voice(
        pitch_hz=1750.0,
        ratios=(1.0, 1.47, 2.32, 3.15, 4.25),
        gains=(1.0, 0.5, 0.7, 0.4, 0.3),
        decay_s=0.26,
        damping=0.5,
        brightness_hz=7000.0,
        level=0.19,
        noise=0.2,
        noise_hz=6000.0,
        noise_decay_s=0.002,
    ),
)

_RUBBER = Material(
    name="rubber",
    thing="rubber ball",
    restitution=0.78,
    look=Look(
        shape="ball",
        palettes=(((0.86, 0.16, 0.16), (0.97, 0.93, 0.86)), ((0.13, 0.33, 0.80), (0.98, 0.82, 0.18))),
        outline=(),
        gloss=0.15,
    ),
    voice=Voice(
        pitch_hz=105.0,
        ratios=(1.0, 1.85, 2.90, 4.10),
        gains=(1.0, 0.6, 0.3, 0.2),
        decay_s=0.05,
        damping=0.5,
        brightness_hz=450.0,
        level=0.28,
        noise=0.15,
        noise_hz=350.0,
        noise_decay_s=0.012,
    ),
)

_CERAMIC = Material(
    name="ceramic",
    thing="ceramic mug",
    restitution=0.42,
    look=Look(
        shape="mug",
        palettes=(((0.95, 0.94, 0.90), (0.16, 0.32, 0.66)), ((0.93, 0.90, 0.82), (0.67, 0.27, 0.18))),
        outline=((-0.85, -0.9), (0.55, -0.9), (0.85, -0.1), (0.85, 0.2), (0.55, 0.9), (-0.85, 0.9)),
        gloss=0.6,
    ),
    voice=Voice(
        pitch_hz=1050.0,
        ratios=(1.0, 1.33, 2.20, 3.10, 4.40, 6.00),
        gains=(1.0, 0.8, 0.7, 0.4, 0.3, 0.2),
        decay_s=0.07,
        damping=0.4,
        brightness_hz=4500.0,
        level=0.165,
        noise=0.3,
        noise_hz=3000.0,
        noise_decay_s=0.004,
    ),
)

_PLASTIC = Material(
    name="plastic",
    thing="plastic brick",
    restitution=0.62,
    look=Look(
        shape="brick",
        palettes=(((0.98, 0.80, 0.10), (0.80, 0.58, 0.02)), ((0.25, 0.75, 0.25), (0.10, 0.48, 0.14))),
        outline=((-1.1, -0.85), (1.1, -0.85), (1.1, 0.55), (0.94, 0.85), (-0.94, 0.85), (-1.1, 0.55)),
        gloss=0.4,
    ),
    voice=Voice(
        pitch_hz=610.0,
        ratios=(1.0, 1.70, 2.60, 3.30, 4.70),
        gains=(1.0, 0.9, 0.6, 0.5, 0.3),
        decay_s=0.018,
        damping=0.3,
        brightness_hz=3500.0,
        level=0.175,
        noise=0.6,
        noise_hz=2200.0,
        noise_decay_s=0.010,
    ),
)

_STONE = Material(
    name="stone",
    thing="round stone",
    restitution=0.35,
    look=Look(
        shape="pebble",
        palettes=(((0.50, 0.50, 0.50), (0.22, 0.22, 0.24)), ((0.56, 0.50, 0.44), (0.28, 0.23, 0.20))),
        outline=(),
        gloss=0.0,
    ),
    voice=Voice(
        pitch_hz=1400.0,
        ratios=(0.16, 1.0, 1.60, 2.20, 3.00, 4.10),
        gains=(0.5, 0.8, 0.7, 0.6, 0.5, 0.4),
        decay_s=0.010,
        damping=0.5,
        brightness_hz=5000.0,
        level=0.17,
        noise=1.0,
        noise_hz=3500.0,
        noise_decay_s=0.014,
    ),
)

_DRUM_SKIN = Material(
    name="drum skin",
    thing="hand drum",
    restitution=0.55,
    look=Look(
        shape="drum",
        palettes=(((0.55, 0.12, 0.16), (0.96, 0.90, 0.74)), ((0.12, 0.36, 0.36), (0.95, 0.88, 0.70))),
        outline=((-1.05, -0.78), (1.05, -0.78), (1.05, 0.78), (-1.05, 0.78)),
        gloss=0.2,
    ),
    voice=Voice(
        pitch_hz=165.0,
        ratios=(1.0, 1.594, 2.136, 2.296, 2.653, 2.918, 3.501),
        gains=(1.0, 0.8, 0.6, 0.5, 0.4, 0.3, 0.25),
        decay_s=0.24,
        damping=0.8,
        brightness_hz=750.0,
        level=0.14,
        noise=0.3,
        noise_hz=900.0,
        noise_decay_s=0.010,
    ),
)

MATERIALS = (_WOOD, _METAL, _GLASS, _RUBBER, _CERAMIC, _PLASTIC, _STONE, _DRUM_SKIN)
"""All materials; the order numbers the classes of the tagger."""
