"""AV-Align: do the onsets of the sound fall on the bursts of motion in the picture?

Goal
----
A weightless measure of synchrony. Onsets of the generated sound and peaks of the
video's optical flow are two lists of times; the score is their intersection
over union, with a tolerance of one frame:

    AV-Align = matches / (onsets + peaks − matches)

Between 0 and 1, higher is better. The score of a run is the mean over clips.

Conventions
-----------
- `onsets.times` of the generated sound and `motion.peaks` of the video, float64
  seconds, (k,), ascending, possibly empty.
- Going through the onsets in order, each takes the first peak not yet taken with
  peak − 1/frame_rate < onset < peak + 1/frame_rate; both bounds are strict.
- Where there is neither onset nor peak, upstream divides by zero. A still,
  silent clip is in sync; here its score is 1.
- A flow peak is a strict local maximum of the mean flow magnitude, found by the
  network `motion`: plateaus and the two ends are none.

What chance gives
-----------------
More onsets hit more peaks: white noise, with an onset every 0.3 s, outscores the
truth. `AVAlignExcess` is what is left when chance is taken off, the score minus
its mean over `shifts` circular shifts of the onsets within the clip, at equal
steps of length / (shifts + 1). It is 0 in expectation for onsets that know
nothing of the video, and below 0 for sound that comes at the wrong time.
This correction is ours; no published number has it.

References
----------
Yariv et al., Diverse and Aligned Audio-to-Video Generation via Text-to-Video
Model Adaptation (TempoTokens), 2024, arXiv:2309.16429.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from v2abench.contracts import Bootstrap, Direction, Features, Score, Stream
from v2abench.metrics.bootstrap import mean_score
from v2abench.metrics.samples import Floats, by_clip, finite, paired_clips


def intersection_over_union(audio: Floats, video: Floats, frame_rate: float) -> float:
    """The score of one clip from onsets `audio` (k,) and peaks `video` (l,) in seconds."""
    free = np.ones(len(video), dtype=bool)
    earliest, latest = video - 1 / frame_rate, video + 1 / frame_rate
    for onset in audio:
        near = np.flatnonzero(free & (earliest < onset) & (onset < latest))
        free[near[:1]] = False
    matches = len(video) - int(free.sum())
    union = len(audio) + len(video) - matches
    return matches / union if union else 1.0


@dataclass(frozen=True)
class AVAlign:
    """AV-Align of the generated sound with the video, of `frame_rate` frames a second."""

    name: str = "AV-Align"
    onsets: str = "onsets.times"
    peaks: str = "motion.peaks"
    frame_rate: float = 25
    subset: Literal["all", "speech"] = "all"

    direction: ClassVar[Direction] = Direction.HIGHER
    unit: ClassVar[str] = ""
    citation: ClassVar[str] = "Yariv et al. 2024, arXiv:2309.16429"

    def __post_init__(self) -> None:
        if self.frame_rate <= 0:
            raise ValueError(f"frame_rate is {self.frame_rate}, needs to be positive")

    @property
    def needs(self) -> Mapping[Stream, tuple[str, ...]]:
        """Onsets of the generated sound, motion peaks of the video."""
        return {"generated": (self.onsets,), "video": (self.peaks,)}

    @property
    def parameters(self) -> Mapping[str, object]:
        """What the value depends on."""
        return {"onsets": self.onsets, "peaks": self.peaks, "frame_rate": self.frame_rate}

    def compute(self, features: Features, bootstrap: Bootstrap | None) -> Score:
        """The mean over clips that have onsets and motion computed, with one value a clip."""
        clips = _timed_clips(features, self.onsets, self.peaks)
        if not clips:
            return Score(None, (), warnings=(f"no clip has {self.onsets} and {self.peaks}",))
        values = [intersection_over_union(*times, self.frame_rate) for times in clips.values()]
        return mean_score(list(clips), np.array(values), bootstrap, (0.0, 1.0))


@dataclass(frozen=True)
class AVAlignExcess:
    """AV-Align minus what the same onsets score by chance, at other times of the same clip."""

    name: str = "AV-Align-excess"
    onsets: str = "onsets.times"
    peaks: str = "motion.peaks"
    motion: str = "motion.magnitude"
    frame_rate: float = 25
    shifts: int = 16
    subset: Literal["all", "speech"] = "all"

    direction: ClassVar[Direction] = Direction.HIGHER
    unit: ClassVar[str] = ""
    citation: ClassVar[str] = "v2abench, after Yariv et al. 2024, arXiv:2309.16429"

    def __post_init__(self) -> None:
        if self.frame_rate <= 0 or self.shifts < 1:
            raise ValueError(f"frame_rate {self.frame_rate} and shifts {self.shifts} need to be positive")

    @property
    def needs(self) -> Mapping[Stream, tuple[str, ...]]:
        """Onsets of the generated sound; motion peaks of the video, and its motion for the length."""
        return {"generated": (self.onsets,), "video": (self.peaks, self.motion)}

    @property
    def parameters(self) -> Mapping[str, object]:
        """What the value depends on."""
        return {
            "frame_rate": self.frame_rate,
            "onsets": self.onsets,
            "peaks": self.peaks,
            "shifts": self.shifts,
        }

    def compute(self, features: Features, bootstrap: Bootstrap | None) -> Score:
        """The mean over clips that have onsets and motion computed, with one value a clip."""
        clips = _timed_clips(features, self.onsets, self.peaks)
        if not clips:
            return Score(None, (), warnings=(f"no clip has {self.onsets} and {self.peaks}",))
        frames = by_clip(features, "video", self.motion)
        values = [
            intersection_over_union(onsets, peaks, self.frame_rate)
            - self._by_chance(onsets, peaks, len(frames[clip]) / self.frame_rate)
            for clip, (onsets, peaks) in clips.items()
        ]
        return mean_score(list(clips), np.array(values), bootstrap, (-1.0, 1.0))

    def _by_chance(self, onsets: Floats, peaks: Floats, seconds: float) -> float:
        shifts = seconds * np.arange(1, self.shifts + 1) / (self.shifts + 1)
        moved = np.sort((onsets + shifts[:, None]) % seconds, axis=1)
        return float(np.mean([intersection_over_union(times, peaks, self.frame_rate) for times in moved]))


def _timed_clips(features: Features, onsets: str, peaks: str) -> dict[str, tuple[Floats, Floats]]:
    """The onsets and the peaks of every clip that has both."""
    heard, seen = by_clip(features, "generated", onsets), by_clip(features, "video", peaks)
    return {
        clip: (finite(heard[clip], "generated", onsets, clip), finite(seen[clip], "video", peaks, clip))
        for clip in paired_clips(features, ("generated", onsets), ("video", peaks))
    }
