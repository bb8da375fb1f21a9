"""CLAP score: does the sound match the text?

Goal
----
The cosine between the CLAP embedding of the clip's text and that of the generated
sound, mean over clips:

    CLAP = mean_i  (t_i · a_i) / (|t_i| |a_i|)

Between −1 and 1, higher is better. A cosine says nothing by itself: compare it with
that of the ground truth under the same texts.

Conventions
-----------
- `clap_text.embedding` and `clap_audio.embedding`, (512,) a clip, of length 1.
- Which text a clip has, its prompt or its label, is the protocol's choice (`text`),
  and stands in the signature. Clips without a text have no value.
- LAION-CLAP and MS-CLAP, and LAION's checkpoints among themselves, are different
  scales: the signature names the checkpoint.

References
----------
Wu et al., Large-Scale Contrastive Language-Audio Pretraining, 2023, arXiv:2211.06687.
As in hkchengrex/av-benchmark@050a5cd `evaluate.py:195` (LAION-CLAP-Score).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

from v2abench.contracts import Bootstrap, Direction, Features, Score, Stream
from v2abench.metrics.bootstrap import mean_score
from v2abench.metrics.samples import cosines, gather_vectors, paired_clips


@dataclass(frozen=True)
class ClapScore:
    """Mean cosine of text and generated sound in a shared space."""

    name: str = "CLAP"
    audio: str = "clap_audio.embedding"
    text: str = "clap_text.embedding"
    subset: Literal["all", "speech"] = "all"

    direction: ClassVar[Direction] = Direction.HIGHER
    unit: ClassVar[str] = ""
    citation: ClassVar[str] = "Wu et al. 2023, arXiv:2211.06687; av-benchmark"

    @property
    def needs(self) -> Mapping[Stream, tuple[str, ...]]:
        """One embedding of either side."""
        return {"generated": (self.audio,), "text": (self.text,)}

    @property
    def parameters(self) -> Mapping[str, object]:
        """What the value depends on."""
        return {"audio": self.audio, "text": self.text}

    def compute(self, features: Features, bootstrap: Bootstrap | None) -> Score:
        """The mean over the clips that have sound and text, with one value a clip."""
        clips = paired_clips(features, ("generated", self.audio), ("text", self.text))
        if not clips:
            return Score(None, (), warnings=("no clip has a text (prompt or label) and a usable sound",))
        values = cosines(
            gather_vectors(features, "generated", self.audio, clips).rows,
            gather_vectors(features, "text", self.text, clips).rows,
        )
        return mean_score(clips, values, bootstrap, (-1.0, 1.0))
