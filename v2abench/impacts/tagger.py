"""The world's tagger: which of eight materials is heard, or nothing, and an embedding for Fréchet distances.

It stands in for PANNs and PaSST on the embedded benchmark. What it says holds for
sounds of this world only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np
import torch
from torch import Tensor, nn

from v2abench.contracts import Array, Forward, Prepared
from v2abench.impacts.encoders import SoundEncoder, whole_sound
from v2abench.impacts.materials import MATERIALS
from v2abench.impacts.scenes import SAMPLE_RATE
from v2abench.impacts.shipped import digest, with_shipped
from v2abench.impacts.spectrograms import log_mel

if TYPE_CHECKING:
    from v2abench.media.reading import AudioWindow

CLASSES = (*(material.name for material in MATERIALS), "nothing")
"""What it tells apart: the materials, and silence or steady noise."""
DIMENSIONS = 32
"""Of the embedding: few, so that FD is well determined on a hundred clips."""


class TaggerNet(nn.Module):
    """(B, 400, 64) log-mel in; (B, 32) embeddings and (B, 9) logits over `CLASSES` out."""

    def __init__(self, width: int = 96) -> None:
        super().__init__()
        self.encoder = SoundEncoder(width)
        self.project = nn.Linear(2 * width, DIMENSIONS)
        self.classify = nn.Linear(DIMENSIONS, len(CLASSES))

    def forward(self, mel: Tensor) -> tuple[Tensor, Tensor]:
        """Encode instants, pool them by mean and maximum, and classify."""
        instants = self.encoder(mel)
        embedding = torch.tanh(self.project(torch.cat([instants.mean(1), instants.amax(1)], dim=1)))
        return embedding, self.classify(embedding)


@dataclass(frozen=True)
class ImpactsTagger:
    """The `impacts_tagger` network: `embedding` (32,) and `logits` (9,) float32 over `CLASSES`."""

    name: ClassVar[str] = "impacts_tagger"
    version: ClassVar[int] = 1
    modality: ClassVar[Literal["audio"]] = "audio"
    weights: ClassVar[tuple[str, ...]] = ()
    features: ClassVar[tuple[str, ...]] = ("embedding", "logits")
    frames: ClassVar[None] = None

    @property
    def parameters(self) -> Mapping[str, object]:
        """The shipped weights."""
        return {"weights": digest("tagger")}

    def prepare(self, media: AudioWindow) -> Prepared:
        """Return the log-mel spectrogram, (400, 64) float32; raises `ClipFault` under 3.9 s."""
        return Prepared({"mel": whole_sound(log_mel(media.waveform(SAMPLE_RATE)))})

    def load(self, device: str) -> Forward:
        """Return the forward half with the shipped weights on `device`."""
        network = with_shipped(TaggerNet(), "tagger").to(device)

        @torch.inference_mode()
        def forward(batch: Sequence[Prepared]) -> list[Mapping[str, Array]]:
            mel = torch.from_numpy(np.stack([clip.inputs["mel"] for clip in batch])).to(device)
            names = ("embedding", "logits")
            clips = zip(*(output.cpu().numpy() for output in network(mel)), strict=True)
            return [dict(zip(names, clip, strict=True)) for clip in clips]

        return forward
