"""PESQ: perceived quality of speech against its reference.

Goal
----
On clips of speech only: how a listener would rate the generated speech beside
the true one, as predicted by ITU-T P.862. Wideband (P.862.2), at 16 kHz, mapped
to MOS-LQO by P.862.2's own mapping 0.999 + 4/(1 + exp(−1.3669 x + 3.8224)),
which gives about 1.04 to 4.64 for raw scores of −0.5 to 4.5. Higher is better.

The number of a clip is made by the pair network `pesq` and stored as the
generated stream's `pesq.wideband`; this metric is its mean over the clips marked
as speech. PESQ was made for coded and transmitted speech that is aligned with its
reference. For speech that a model invented it says little beyond "is the same
signal", so read it with care and never outside of speech.

References
----------
ITU-T P.862, 2001; P.862.2, 2007. Rix et al., Perceptual evaluation of speech
quality (PESQ), ICASSP 2001.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from v2abench.contracts import Direction
from v2abench.metrics.bootstrap import Bounds
from v2abench.metrics.signal import ClipMean


@dataclass(frozen=True)
class PESQ(ClipMean):
    """Mean wideband PESQ (MOS-LQO) over the clips of speech."""

    name: str = "PESQ"
    feature: str = "pesq.wideband"
    unit: str = "MOS-LQO"
    direction: Direction = Direction.HIGHER
    citation: str = "ITU-T P.862.2, 2007; Rix et al. 2001"
    subset: Literal["all", "speech"] = "speech"
    bounds: Bounds = (0.999, 4.999)
