"""Onset-F1: are the onsets of the generated sound those of the true one?

Goal
----
Two lists of times, heard in the generated and in the reference sound of a clip. An onset
of one matches at most one of the other, within a tolerance; as many are matched as can be.

    precision = matches / generated,  recall = matches / reference,
    F1 = 2 · matches / (generated + reference)

Between 0 and 1, higher is better. The score of a run is the mean F1 over clips;
`details` has precision and recall over all onsets together.

Conventions
-----------
- `times` of both sides, float64 seconds, (k,), ascending, possibly empty.
- The tolerance is inclusive, 60 ms by default: about the span within which sight and
  sound of an impact are taken for one (ITU-R BT.1359 has 45 ms early to 125 ms late).
- A clip without any onset on either side scores 1: there was nothing to hear.

References
----------
As `mir_eval.onset.f_measure` (Raffel et al., mir_eval, ISMIR 2014), whose window is 50 ms.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import numpy as np

from v2abench.contracts import Bootstrap, Direction, Features, Score, Stream
from v2abench.metrics.bootstrap import mean_score
from v2abench.metrics.samples import Floats, by_clip, finite, paired_clips

_ROUNDING_S = 1e-9


def count_matches(first: Floats, second: Floats, tolerance: float) -> int:
    """How many times of two ascending lists, (k,) and (l,) seconds, match one to one; as many as can."""
    matches = i = j = 0
    while i < len(first) and j < len(second):
        apart = first[i] - second[j]
        if abs(apart) <= tolerance + _ROUNDING_S:
            matches, i, j = matches + 1, i + 1, j + 1
        elif apart < 0:
            i += 1
        else:
            j += 1
    return matches


def f1(matches: int, first: int, second: int) -> float:
    """The harmonic mean of matches / first and matches / second; 1 where both lists are empty."""
    return 2 * matches / (first + second) if first + second else 1.0


@dataclass(frozen=True)
class OnsetF1:
    """F1 of the onsets of the generated sound against those of the reference, within `tolerance` seconds."""

    name: str = "Onset-F1"
    onsets: str = "onsets.times"
    tolerance: float = 0.06
    subset: Literal["all", "speech"] = "all"

    direction: ClassVar[Direction] = Direction.HIGHER
    unit: ClassVar[str] = ""
    citation: ClassVar[str] = "Raffel et al. 2014, mir_eval"

    def __post_init__(self) -> None:
        if self.tolerance <= 0:
            raise ValueError(f"tolerance is {self.tolerance}, needs to be positive")

    @property
    def needs(self) -> Mapping[Stream, tuple[str, ...]]:
        """Onsets of both sounds."""
        return {"generated": (self.onsets,), "reference": (self.onsets,)}

    @property
    def parameters(self) -> Mapping[str, object]:
        """What the value depends on."""
        return {"onsets": self.onsets, "tolerance": self.tolerance}

    def compute(self, features: Features, bootstrap: Bootstrap | None) -> Score:
        """The mean over the clips that both sides have, with one value a clip."""
        clips = paired_clips(features, ("generated", self.onsets), ("reference", self.onsets))
        if not clips:
            return Score(None, (), warnings=(f"no clip has {self.onsets} of generated and of reference",))
        counts = np.array([self._counts(features, clip) for clip in clips])
        values = np.array([f1(*row) for row in counts.tolist()])
        matches, generated, reference = counts.sum(axis=0).tolist()
        details = {
            "precision": matches / generated if generated else 0.0,
            "recall": matches / reference if reference else 0.0,
        }
        return replace(mean_score(clips, values, bootstrap, (0.0, 1.0)), details=details)

    def _counts(self, features: Features, clip: str) -> tuple[int, int, int]:
        """The matches, the onsets generated, and those of the reference."""
        sides: tuple[Stream, ...] = ("generated", "reference")
        generated, reference = (
            finite(by_clip(features, side, self.onsets)[clip], side, self.onsets, clip) for side in sides
        )
        return count_matches(generated, reference, self.tolerance), len(generated), len(reference)
