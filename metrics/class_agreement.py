"""Class agreement: is the class heard in the generated sound the one heard in the true sound?

Goal
----
The share of clips in which a tagging network's most likely class is the same for the
generated and for the reference sound:

    agreement = mean over clips of [argmax generated logits = argmax reference logits]

Between 0 and 1, higher is better; chance is 1 / classes where these are balanced. Unlike
KL it does not grow without bound for a network that is confidently wrong.

Conventions
-----------
- Clips pair by id; logits are (classes,) a clip. Of equal logits the first one counts.
- It is the network's opinion of both sounds, not the truth about either.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from v2abench.contracts import Bootstrap, Direction, Features, Score, Stream
from v2abench.metrics.bootstrap import mean_score
from v2abench.metrics.samples import Floats, gather_vectors, paired_clips, row_wise


def _alike(generated: Floats, reference: Floats) -> Floats:
    return np.asarray(generated.argmax(axis=1) == reference.argmax(axis=1), dtype=np.float64)


@dataclass(frozen=True)
class ClassAgreement:
    """The share of clips whose most likely class is that of the reference."""

    name: str = "Class-Match"
    logits: str = "aisfx.logits"
    subset: Literal["all", "speech"] = "all"

    direction: ClassVar[Direction] = Direction.HIGHER
    unit: ClassVar[str] = ""
    citation: ClassVar[str] = "v2abench"

    @property
    def needs(self) -> Mapping[Stream, tuple[str, ...]]:
        """Logits of both sides."""
        return {"generated": (self.logits,), "reference": (self.logits,)}

    @property
    def parameters(self) -> Mapping[str, object]:
        """What the value depends on."""
        return {"logits": self.logits}

    def compute(self, features: Features, bootstrap: Bootstrap | None) -> Score:
        """The mean over the clips that both sides have; 1 or 0 a clip."""
        clips = paired_clips(features, ("generated", self.logits), ("reference", self.logits))
        if not clips:
            return Score(None, (), warnings=(f"no clip has {self.logits} of generated and of reference",))
        generated = gather_vectors(features, "generated", self.logits, clips).rows
        reference = gather_vectors(features, "reference", self.logits, clips).rows
        values = row_wise(_alike, generated, reference)
        return mean_score(clips, values, bootstrap, (0.0, 1.0))
