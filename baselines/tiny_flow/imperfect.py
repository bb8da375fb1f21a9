"""Imperfect pairs, as data from the wild are: a third of the sounds are wrong in one way.

A ninth each is off in time, of the wrong material, or of poor quality (noise, a narrow band,
or clipping). What is wrong with which clip depends on seed and clip alone. This leaves tiny-flow
the headroom that preference optimisation is about.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from scipy.signal import butter, sosfilt

from v2abench.impacts.materials import MATERIALS
from v2abench.impacts.scenes import SAMPLE_RATE, Scene, with_material
from v2abench.impacts.sounds import render_sound
from v2abench.impacts.training_data import TrainingData
from v2abench.models import clip_seed
from v2abench.progress import Progress, silent

SHARE = 1 / 3

Sound = NDArray[np.float32]
Fault = Callable[[Scene, Sound, Generator], Sound]


def imperfect_sounds(
    data: TrainingData, seed: int, progress: Progress = silent
) -> tuple[NDArray[np.int16], Counter[str]]:
    """Return the 16-bit sounds of all scenes, (count, samples), and how many have which fault."""
    sounds = np.empty((data.count, data.sounds([0]).shape[1]), dtype=np.int16)
    counts: Counter[str] = Counter()
    with progress("imperfect pairs", data.count) as advance:
        for index, scene in enumerate(data.scenes):
            name, sound = imperfect(scene, data.sounds([index])[0], seed)
            sounds[index] = np.rint(sound * 32767)
            counts[name] += 1
            advance(1)
    return sounds, counts


def imperfect(scene: Scene, sound: Sound, seed: int, share: float = SHARE) -> tuple[str, Sound]:
    """Return what is wrong with this pair (`none` for most) and its sound, (samples,) within ±1."""
    rng = np.random.default_rng(clip_seed(seed, f"imperfect {scene.id}"))
    if rng.random() >= share:
        return "none", sound
    name = str(rng.choice(sorted(_FAULTS)))
    return name, np.clip(_FAULTS[name](scene, sound, rng), -1, 1)


def _off_in_time(_scene: Scene, sound: Sound, rng: Generator) -> Sound:
    """Move the sound by 0.12 to 0.8 s either way; what falls out at one end comes in at the other."""
    seconds = rng.choice((-1.0, 1.0)) * rng.uniform(0.12, 0.8)
    return np.asarray(np.roll(sound, round(seconds * SAMPLE_RATE)))


def _other_material(scene: Scene, _sound: Sound, rng: Generator) -> Sound:
    others = [material for material in MATERIALS if material.name != scene.material.name]
    return np.asarray(render_sound(with_material(scene, others[rng.integers(len(others))])).samples[0])


def _poor_quality(_scene: Scene, sound: Sound, rng: Generator) -> Sound:
    ways = (_noisy, _muffled, _clipped)
    return ways[rng.integers(len(ways))](sound, rng)


def _noisy(sound: Sound, rng: Generator) -> Sound:
    """Add white noise at 0 to 8 dB below the sound."""
    level = float(np.sqrt(np.mean(sound**2))) * 10 ** (-rng.uniform(0, 8) / 20)
    return np.asarray(sound + level * rng.standard_normal(len(sound)), dtype=np.float32)


def _muffled(sound: Sound, rng: Generator) -> Sound:
    """Leave only what is below 600 to 1500 Hz."""
    sections = butter(4, rng.uniform(600, 1500), fs=SAMPLE_RATE, output="sos")
    return np.asarray(sosfilt(sections, sound), dtype=np.float32)


def _clipped(sound: Sound, rng: Generator) -> Sound:
    """Clip at a tenth to a quarter of the peak, and bring the peak back."""
    peak, share = float(np.abs(sound).max()), rng.uniform(0.1, 0.25)
    return np.asarray(np.clip(sound, -share * peak, share * peak) / share, dtype=np.float32)


_FAULTS: dict[str, Fault] = {
    "timing": _off_in_time,
    "material": _other_material,
    "quality": _poor_quality,
}
