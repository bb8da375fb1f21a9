"""`corrupted:KIND:STRENGTH`: true sounds of the embedded world, made wrong to a known degree.

Each kind spoils one thing and leaves the rest as it is, so that what a metric does not see,
or sees where nothing is, comes out (`v2abench impacts validate`). Sounds are made from the
scene behind a clip's id, with a draw from the clip's seed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from scipy.signal import butter, sosfiltfilt

from v2abench.baselines.controls import Control
from v2abench.contracts import ModelInfo, Request
from v2abench.errors import UnknownNameError, V2ABenchError
from v2abench.impacts.materials import MATERIALS
from v2abench.impacts.scenes import SAMPLE_RATE, SECONDS, Event, Scene, is_clip_id, scene_of, with_material
from v2abench.impacts.sounds import render_sound
from v2abench.media.audio import Audio
from v2abench.models import ModelContext

Samples = NDArray[np.float32]
_EARLIEST_S, _LATEST_S, _APART_S = 0.1, SECONDS - 0.2, 0.15


@dataclass(frozen=True)
class Corruption:
    """A kind: what it does to a scene's sound at a strength, and the strengths that make sense."""

    make: Callable[[Scene, float, Generator], Samples]
    unit: str
    least: float
    most: float


def true_sound(scene: Scene) -> Samples:
    """Return the (64000,) samples of the scene's own sound."""
    return np.asarray(render_sound(scene).samples[0])


def shifted(scene: Scene, seconds: float, rng: Generator) -> Samples:
    """Late or early by so much, what is shifted in being silence."""
    sound, by = true_sound(scene), round(seconds * SAMPLE_RATE) * int(rng.choice((-1, 1)))
    moved = np.zeros_like(sound)
    if by >= 0:
        moved[by:] = sound[: len(sound) - by]
    else:
        moved[:by] = sound[-by:]
    return moved


def of_other_material(scene: Scene, share: float, rng: Generator) -> Samples:
    """The same events in another material, for this share of the clips."""
    others = [material for material in MATERIALS if material.name != scene.material.name]
    other = others[rng.integers(len(others))]
    return true_sound(with_material(scene, other) if rng.random() < share else scene)


def noisy(scene: Scene, decibels: float, rng: Generator) -> Samples:
    """White noise, so many decibels below the sound (above where negative)."""
    sound = true_sound(scene)
    noise = rng.standard_normal(len(sound)) * np.sqrt(np.mean(sound**2)) * 10 ** (-decibels / 20)
    return np.asarray(np.clip(sound + noise, -1, 1), dtype=np.float32)


def with_dropped(scene: Scene, share: float, rng: Generator) -> Samples:
    """Without this share of the events, at least one."""
    count = max(1, round(share * len(scene.events)))
    gone = set(rng.choice(len(scene.events), size=count, replace=False).tolist())
    kept = tuple(event for number, event in enumerate(scene.events) if number not in gone)
    return true_sound(replace(scene, events=kept))


def with_invented(scene: Scene, count: float, rng: Generator) -> Samples:
    """With so many events more, of ordinary strength, at other times."""
    events = list(scene.events)
    for _ in range(round(count)):
        times = rng.uniform(_EARLIEST_S, _LATEST_S, size=64)
        gaps = np.abs(times[:, None] - [event.time_s for event in events]).min(axis=1)
        if gaps.max() < _APART_S:
            break
        time = float(times[np.argmax(gaps >= _APART_S)])
        events.append(
            Event(time, float(np.mean([event.speed for event in scene.events])), scene.material.name)
        )
    return true_sound(replace(scene, events=tuple(sorted(events, key=lambda event: event.time_s))))


def band_limited(scene: Scene, hertz: float, rng: Generator) -> Samples:  # noqa: ARG001 (one signature)
    """Low-passed, without a change in time."""
    sections = butter(6, hertz, fs=SAMPLE_RATE, output="sos")
    return np.asarray(sosfiltfilt(sections, true_sound(scene)), dtype=np.float32)


def clipped(scene: Scene, decibels: float, rng: Generator) -> Samples:  # noqa: ARG001
    """Amplified by so much and cut at the peak that it had."""
    sound = true_sound(scene)
    peak = np.abs(sound).max()
    return np.asarray(np.clip(sound * 10 ** (decibels / 20), -peak, peak), dtype=np.float32)


CORRUPTIONS: dict[str, Corruption] = {
    "shifted": Corruption(shifted, "seconds", 0.0, 3.0),
    "material": Corruption(of_other_material, "share of clips", 0.0, 1.0),
    "noise": Corruption(noisy, "dB below the sound", -40.0, 80.0),
    "dropped": Corruption(with_dropped, "share of events", 0.0, 1.0),
    "invented": Corruption(with_invented, "events", 0.0, 20.0),
    "band": Corruption(band_limited, "Hz", 100.0, 7900.0),
    "clipped": Corruption(clipped, "dB of gain", 0.0, 60.0),
}


def open_corrupted(argument: str, context: ModelContext) -> Control:
    """True sounds of impacts made wrong: `corrupted:KIND:STRENGTH`.

    Kinds are shifted, material, noise, dropped, invented, band and clipped. Raises
    `V2ABenchError` for another dataset and for a strength that makes no sense.
    """
    kind, _, strength = argument.partition(":")
    if kind not in CORRUPTIONS:
        raise UnknownNameError("corruption", kind, CORRUPTIONS)
    corruption, value = CORRUPTIONS[kind], _strength(argument, strength)
    if strangers := [clip.id for clip in context.dataset.clips if not is_clip_id(clip.id)]:
        raise V2ABenchError(
            f"--model corrupted:{argument}: {strangers[0]!r} is no clip of impacts, whose scenes are known"
        )

    def answer(request: Request) -> Audio:
        rng = np.random.default_rng(request.seed)
        return Audio(corruption.make(scene_of(request.clip.id), value, rng)[None], SAMPLE_RATE)

    return Control(ModelInfo(f"corrupted:{kind}:{value:g}", source="control", control=True), answer)


def _strength(argument: str, text: str) -> float:
    corruption = CORRUPTIONS[argument.partition(":")[0]]
    try:
        value = float(text)
    except ValueError:
        value = np.nan
    if not corruption.least <= value <= corruption.most:
        raise V2ABenchError(
            f"--model corrupted:{argument}: give the strength behind the kind, {corruption.unit}, "
            f"from {corruption.least:g} to {corruption.most:g}"
        )
    return value
