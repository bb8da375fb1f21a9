"""Means over clips of numbers that a network has already given for each clip.

Goal
----
Levels (loudness, true peak, shares of silence and clipping, DC offset), PESQ and
the like are one number a clip; what remains is to average them over clips, say
on how many they stand and how sure the mean is. `ClipMean` does so for any scalar
feature, and `loudness`, `true_peak`, `silence_share`, `clipping_share` and
`dc_offset` are its instances for the `levels` network. `LevelDifference` is the
mean distance in loudness between generated and true sound: whether a model plays
at the right level.

Conventions
-----------
- A scalar feature is an array of shape () or (1,), finite. A clip on which the
  number is undefined (PESQ of a silent reference) has no such feature and does
  not enter.
- Levels describe and do not rank, except the two that are faults: clipping and a
  DC offset.
- The interval is Student's, cut at `bounds`, the range of the feature.
- Loudness is integrated loudness in LUFS; differences of it are in LU.

References
----------
ITU-R BS.1770-5, 2023 (loudness, true peak). EBU Tech 3341, 2023.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from v2abench.contracts import Bootstrap, Direction, Features, Score, Stream
from v2abench.metrics.bootstrap import UNBOUNDED, Bounds, mean_score
from v2abench.metrics.samples import gather_scalars, paired_clips


@dataclass(frozen=True)
class ClipMean:
    """The mean over clips of the scalar `feature` of `stream`."""

    name: str
    feature: str
    unit: str = ""
    direction: Direction = Direction.NEUTRAL
    citation: str = ""
    subset: Literal["all", "speech"] = "all"
    stream: Stream = "generated"
    bounds: Bounds = UNBOUNDED

    @property
    def needs(self) -> Mapping[Stream, tuple[str, ...]]:
        """The one feature."""
        return {self.stream: (self.feature,)}

    @property
    def parameters(self) -> Mapping[str, object]:
        """What the value depends on."""
        return {"feature": self.feature, "stream": self.stream}

    def compute(self, features: Features, bootstrap: Bootstrap | None) -> Score:
        """The mean over the clips that have the feature, with one value a clip."""
        clips = paired_clips(features, (self.stream, self.feature))
        if not clips:
            return Score(None, (), warnings=(f"no clip has {self.feature} of {self.stream}",))
        values = gather_scalars(features, self.stream, self.feature, clips)
        return mean_score(clips, values, bootstrap, self.bounds)


@dataclass(frozen=True)
class LevelDifference:
    """Mean |generated − reference| of a loudness in LU, over clips that have both."""

    name: str = "Level-Diff"
    feature: str = "levels.loudness"
    subset: Literal["all", "speech"] = "all"

    direction: ClassVar[Direction] = Direction.LOWER
    unit: ClassVar[str] = "LU"
    citation: ClassVar[str] = "ITU-R BS.1770-5"

    @property
    def needs(self) -> Mapping[Stream, tuple[str, ...]]:
        """Loudness of both sides."""
        return {"generated": (self.feature,), "reference": (self.feature,)}

    @property
    def parameters(self) -> Mapping[str, object]:
        """What the value depends on."""
        return {"feature": self.feature}

    def compute(self, features: Features, bootstrap: Bootstrap | None) -> Score:
        """The mean over the clips that both sides have, with one value a clip."""
        clips = paired_clips(features, ("generated", self.feature), ("reference", self.feature))
        if not clips:
            return Score(None, (), warnings=(f"no clip has {self.feature} of generated and of reference",))
        generated = gather_scalars(features, "generated", self.feature, clips)
        reference = gather_scalars(features, "reference", self.feature, clips)
        return mean_score(clips, np.abs(generated - reference), bootstrap, (0.0, math.inf))


def loudness(name: str = "Loudness") -> ClipMean:
    """Mean integrated loudness."""
    return ClipMean(name, "levels.loudness", "LUFS", citation="ITU-R BS.1770-5")


def true_peak(name: str = "True-Peak") -> ClipMean:
    """Mean true peak."""
    return ClipMean(name, "levels.true_peak", "dBTP", citation="ITU-R BS.1770-5")


def silence_share(name: str = "Silence") -> ClipMean:
    """Mean share of silent frames."""
    return ClipMean(name, "levels.silence_share", "share", bounds=(0.0, 1.0))


def clipping_share(name: str = "Clipping") -> ClipMean:
    """Mean share of clipped samples."""
    return ClipMean(name, "levels.clipping_share", "share", Direction.LOWER, bounds=(0.0, 1.0))


def dc_offset(name: str = "DC") -> ClipMean:
    """Mean of the largest DC offset of a channel."""
    return ClipMean(name, "levels.dc_offset", "full scale", Direction.LOWER, bounds=(0.0, 1.0))
