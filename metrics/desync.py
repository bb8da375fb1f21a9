"""DeSync: by how many seconds the sound seems to be off, as Synchformer hears and sees it.

Goal
----
For two windows of a clip, its first and its last 4.8 s, Synchformer chooses one of
21 offsets from −2 s to 2 s in steps of 0.2 s. The score is the absolute value of
the chosen offset, mean over windows and clips, in seconds; lower is better.

    DeSync = mean_i mean_w |grid[argmax logits_iw]|

Conventions
-----------
- `synchformer.logits`, (windows, 21) a clip; grid = float32(linspace(−2, 2, 21)).
- The argmax moves in steps of 0.2 s. `details` has two smoother readings of the same
  logits, as diagnostics: `expected`, the softmax expectation of |offset|, and
  `signed`, the mean chosen offset (sound late or early).
- Clips under 4.8 s have no value: the network cannot be asked.
- Another network of that kind may have a grid from −`reach` to `reach` (the embedded
  world's: 1 s), and other windows.
- Of a sound without any event the network chooses an arbitrary offset, maybe 0. With
  `onsets` (times of the generated sound) such a clip counts `reach`, the worst value:
  what never sounds is never in time. The field's DeSync does not do that, nor does the
  default here.

References
----------
Iashin et al., Synchformer, 2024, arXiv:2401.16423. Cheng et al., MMAudio, 2024,
arXiv:2412.15322. As in hkchengrex/av-benchmark@050a5cd `evaluate.py:171-191`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import numpy as np
from scipy.special import softmax

from v2abench.contracts import Bootstrap, Direction, Features, Score, Stream
from v2abench.metrics.bootstrap import mean_score
from v2abench.metrics.samples import Floats, by_clip, finite, paired_clips

OFFSETS: Floats = np.linspace(-2, 2, 21).astype(np.float32).astype(np.float64)
"""Seconds of the 21 classes; index 10 is 0."""


def chosen_offsets(logits: Floats, grid: Floats = OFFSETS) -> Floats:
    """The offset of the greatest logit, in seconds: (..., 21) to (...)."""
    return np.asarray(grid[np.argmax(logits, axis=-1)])


def expected_offsets(logits: Floats, grid: Floats = OFFSETS) -> Floats:
    """The softmax expectation of |offset|, in seconds: (..., 21) to (...)."""
    expected: Floats = softmax(logits, axis=-1) @ np.abs(grid)
    return expected


@dataclass(frozen=True)
class DeSync:
    """Mean absolute offset between generated sound and video, in seconds, on a grid of ±`reach`."""

    name: str = "DeSync"
    logits: str = "synchformer.logits"
    reach: float = 2.0
    onsets: str | None = None
    subset: Literal["all", "speech"] = "all"

    direction: ClassVar[Direction] = Direction.LOWER
    unit: ClassVar[str] = "s"
    citation: ClassVar[str] = "Iashin et al. 2024, arXiv:2401.16423; Cheng et al. 2024, arXiv:2412.15322"

    def __post_init__(self) -> None:
        if self.reach <= 0:
            raise ValueError(f"reach is {self.reach}, needs to be positive")

    @property
    def needs(self) -> Mapping[Stream, tuple[str, ...]]:
        """The logits of the pair, which are kept with the generated sound, and its onsets if they count."""
        return {"generated": (self.logits, self.onsets) if self.onsets else (self.logits,)}

    @property
    def parameters(self) -> Mapping[str, object]:
        """What the value depends on."""
        return {"logits": self.logits, "reach": self.reach, "onsets": self.onsets}

    def compute(self, features: Features, bootstrap: Bootstrap | None) -> Score:
        """The mean over the clips that have what is needed, with one value a clip."""
        needed: list[tuple[Stream, str]] = [("generated", name) for name in self.needs["generated"]]
        clips = paired_clips(features, *needed)
        if not clips:
            return Score(None, (), warnings=(f"no clip has {' and '.join(self.needs['generated'])}",))
        found = by_clip(features, "generated", self.logits)
        logits = [finite(found[clip], "generated", self.logits, clip) for clip in clips]
        heard = np.array([self._heard(features, clip) for clip in clips])
        grid = OFFSETS * (self.reach / 2)
        chosen = [np.abs(chosen_offsets(windows, grid)).mean() for windows in logits]
        expected = [expected_offsets(windows, grid).mean() for windows in logits]
        signed = [chosen_offsets(windows, grid).mean() for windows in logits]
        details = {"expected": float(np.where(heard, expected, self.reach).mean())}
        if heard.any():
            details["signed"] = float(np.compress(heard, signed).mean())
        values = np.where(heard, chosen, self.reach)
        return replace(mean_score(clips, values, bootstrap, (0.0, self.reach)), details=details)

    def _heard(self, features: Features, clip: str) -> bool:
        return self.onsets is None or len(by_clip(features, "generated", self.onsets)[clip]) > 0
