"""The oracle: how right any sound is for a scene, from what is known of the scene.

No network has a say. Times are graded against the scene's events; the material against
templates, the same events sounded in each of the eight materials; the level against that
of the scene's own sound. Its onsets are those of `onsets`, as for the metric Onset-F1, but
they are held against the true events, not against what is heard in the true sound.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from v2abench.impacts.materials import MATERIALS
from v2abench.impacts.onsets import flux, onset_times
from v2abench.impacts.scenes import SAMPLE_RATE, SECONDS, Scene, scene_of, with_material
from v2abench.impacts.sounds import render_sound
from v2abench.impacts.spectrograms import BANDS, log_mel
from v2abench.media.audio import Audio
from v2abench.media.resampling import resample
from v2abench.metrics.onset_f1 import count_matches, f1

Floats = NDArray[np.float64]

TOLERANCE_S = 0.06
WORST_LEVEL_DB = 20.0
"""A sound that is so much too loud or too soft has no right level at all."""
_SLICES = ((1, 3), (3, 6), (6, 10), (10, 16), (16, 26), (26, 40))
"""First and last log-mel frame (10 ms) of each slice, after the strongest onset."""
_BROAD_BANDS = 8
_QUIETEST_POWER = 1e-8


@dataclass(frozen=True, eq=False)
class Answer:
    """What is known of a scene: `events` (k,) in seconds, `material`, `level_db` (full scale 0).

    `templates` (8, 6, 8) are the scene's events in each of `MATERIALS`, as `spectral_slices`.
    """

    events: Floats
    material: str
    level_db: float
    templates: Floats


@dataclass(frozen=True)
class Grade:
    """How right a sound is.

    `material` is the nearest one, None where nothing is struck; `level_error_db` is how much
    louder than the true sound it is.
    """

    precision: float
    recall: float
    f1: float
    material: str | None
    right_material: bool
    level_error_db: float

    @property
    def level(self) -> float:
        """From 1, the right level, to 0, off by 20 dB or more."""
        return max(0.0, 1.0 - abs(self.level_error_db) / WORST_LEVEL_DB)

    @property
    def overall(self) -> float:
        """The mean of onset F1, material (1 or 0) and level, each in 0..1."""
        return (self.f1 + self.right_material + self.level) / 3


@lru_cache(maxsize=1024)
def answer_to(clip_id: str) -> Answer:
    """Return what is known of a clip such as `test-000017`; raises `V2ABenchError` for another id."""
    return answer_of(scene_of(clip_id))


def answer_of(scene: Scene) -> Answer:
    """Return what is known of a scene; sounds it in every material, in about 0.1 s."""
    sounds = [render_sound(with_material(scene, material)).samples[0] for material in MATERIALS]
    return Answer(
        events=np.array([event.time_s for event in scene.events]),
        material=scene.material.name,
        level_db=_level_db(render_sound(scene).samples[0]),
        templates=np.stack([spectral_slices(log_mel(sound)) for sound in sounds]),
    )


def grade(answer: Answer, audio: Audio) -> Grade:
    """Grade a sound of any rate and number of channels; its first 4 s count, mixed to mono."""
    mono = audio.samples.mean(axis=0)
    sound = resample(mono - mono.mean(), audio.sample_rate, SAMPLE_RATE)[: round(SECONDS * SAMPLE_RATE)]
    mel = log_mel(sound)
    onsets = onset_times(mel)
    matches = count_matches(onsets, answer.events, TOLERANCE_S)
    material = nearest_material(answer, mel) if len(onsets) else None
    return Grade(
        precision=matches / len(onsets) if len(onsets) else 0.0,
        recall=matches / len(answer.events),
        f1=f1(matches, len(onsets), len(answer.events)),
        material=material,
        right_material=material == answer.material,
        level_error_db=_level_db(sound) - answer.level_db,
    )


def nearest_material(answer: Answer, mel: NDArray[np.float32]) -> str:
    """Return the material whose template is nearest, in mean absolute difference after levels are matched."""
    apart = spectral_slices(mel) - answer.templates
    level = np.median(apart, axis=(1, 2), keepdims=True)
    return MATERIALS[int(np.abs(apart - level).mean(axis=(1, 2)).argmin())].name


def spectral_slices(mel: NDArray[np.float32]) -> Floats:
    """Return (6, 8): the log-mel in 8 broad bands, in six slices of time after the strongest onset."""
    start = int(flux(mel).argmax())
    last = len(mel) - 1
    slices = [mel[min(start + first, last) : start + end] for first, end in _SLICES]
    bands = np.stack([part.mean(axis=0, dtype=np.float64) for part in slices])
    broad = bands.reshape(len(_SLICES), _BROAD_BANDS, BANDS // _BROAD_BANDS)
    return np.asarray(broad.mean(axis=2), dtype=np.float64)


def _level_db(sound: NDArray[np.float32]) -> float:
    return float(10 * np.log10(np.mean(sound.astype(np.float64) ** 2) + _QUIETEST_POWER))
