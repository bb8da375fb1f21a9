"""IB-score: does the sound mean what the picture shows?

Goal
----
The cosine between the ImageBind embedding of the video and that of the generated
sound, mean over clips, times 100 as papers print it:

    IB = 100 · mean_i  (v_i · a_i) / (|v_i| |a_i|)

Between −100 and 100, higher is better; `details["cosine"]` is the mean without the
factor. Real videos with their own sound score about 30.

Conventions
-----------
- `imagebind_video.embedding` and `imagebind_audio.embedding`, (1024,) a clip, are
  means over views that are not normalised again; the cosine does it.
- ImageBind's weights are CC BY-NC-SA 4.0: not for commercial use.

References
----------
Girdhar et al., ImageBind: One Embedding Space To Bind Them All, 2023, arXiv:2305.05665.
As in hkchengrex/av-benchmark@050a5cd `evaluate.py:166`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

from v2abench.contracts import Bootstrap, Direction, Features, Score, Stream
from v2abench.metrics.bootstrap import mean_score
from v2abench.metrics.samples import cosines, gather_vectors, paired_clips


@dataclass(frozen=True)
class IBScore:
    """Mean cosine of video and generated sound in a shared space, × 100."""

    name: str = "IB-score"
    audio: str = "imagebind_audio.embedding"
    video: str = "imagebind_video.embedding"
    subset: Literal["all", "speech"] = "all"

    direction: ClassVar[Direction] = Direction.HIGHER
    unit: ClassVar[str] = "×100"
    citation: ClassVar[str] = "Girdhar et al. 2023, arXiv:2305.05665; av-benchmark"

    @property
    def needs(self) -> Mapping[Stream, tuple[str, ...]]:
        """One embedding of either side."""
        return {"generated": (self.audio,), "video": (self.video,)}

    @property
    def parameters(self) -> Mapping[str, object]:
        """What the value depends on."""
        return {"audio": self.audio, "video": self.video}

    def compute(self, features: Features, bootstrap: Bootstrap | None) -> Score:
        """The mean over the clips that have both embeddings, with one value a clip."""
        clips = paired_clips(features, ("generated", self.audio), ("video", self.video))
        if not clips:
            return Score(None, (), warnings=(f"no clip has {self.audio} and {self.video}",))
        values = 100 * cosines(
            gather_vectors(features, "generated", self.audio, clips).rows,
            gather_vectors(features, "video", self.video, clips).rows,
        )
        score = mean_score(clips, values, bootstrap, (-100.0, 100.0))
        return replace(score, details={"cosine": float(values.mean()) / 100})
