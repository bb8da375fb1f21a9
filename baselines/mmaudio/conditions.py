"""What MMAudio is told of a clip, as feature networks, so that it is computed once and stored.

Pictures go to CLIP at 8 and to Synchformer at 25 frames a second; the prompt goes to
CLIP's text half. Frames are chosen as by upstream's demo.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import ClassVar, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from v2abench.baselines.mmaudio import clip
from v2abench.baselines.mmaudio.variants import CLIP_RATE, SYNC_RATE
from v2abench.contracts import Array, Forward, Prepared
from v2abench.media.reading import FrameStream
from v2abench.networks.synchformer.visual import SynchformerVideo
from v2abench.networks.synchformer.visual import square as sync_square

# 0.4 GB of activations, whatever the length of the clip and the batch.
_FRAMES_PER_PASS = 16


@dataclass(frozen=True)
class MMAudioClip:
    """The `mmaudio_clip` network: `frames` (T, 1024) float32, an embedding of length 1 each 1/8 s."""

    name: ClassVar[str] = "mmaudio_clip"
    version: ClassVar[int] = 1
    modality: ClassVar[Literal["video"]] = "video"
    weights: ClassVar[tuple[str, ...]] = (clip.WEIGHTS,)
    memory: ClassVar[int] = 2_530_000_000
    package: ClassVar[str] = "open_clip"
    features: ClassVar[tuple[str, ...]] = ("frames",)
    parameters: ClassVar[Mapping[str, object]] = {}
    frames: ClassVar[FrameStream] = FrameStream(
        Fraction(CLIP_RATE), "rgb24", transform=clip.square, choice="due"
    )

    def prepare(self, media: NDArray[np.uint8]) -> Prepared:
        """Take the (T, 384, 384, 3) frames."""
        return Prepared({"frames": media})

    def load(self, device: str) -> Forward:
        """Return the forward half with the official weights on `device`.

        Raises `V2ABenchError` where the weights or open_clip are not to be had.
        """
        tower = clip.load_tower(clip.VisionTower).to(device)

        @torch.inference_mode()
        def embed(frames: NDArray[np.uint8]) -> NDArray[np.float32]:
            passes = torch.split(torch.from_numpy(frames), _FRAMES_PER_PASS)
            outputs = [tower(clip.normalise(pixels.to(device))) for pixels in passes]
            embedded: NDArray[np.float32] = torch.cat(outputs).cpu().numpy()
            return embedded

        def forward(batch: Sequence[Prepared]) -> list[Mapping[str, Array]]:
            # A clip is some 64 frames; alone, its values cannot depend on the others.
            return [{"frames": embed(given.inputs["frames"])} for given in batch]

        return forward


@dataclass(frozen=True)
class MMAudioText:
    """The `mmaudio_text` network: `tokens` (77, 1024) float32, a state of length 1 for each place."""

    name: ClassVar[str] = "mmaudio_text"
    version: ClassVar[int] = 1
    modality: ClassVar[Literal["text"]] = "text"
    weights: ClassVar[tuple[str, ...]] = (clip.WEIGHTS,)
    memory: ClassVar[int] = 1_420_000_000
    package: ClassVar[str] = "open_clip"
    features: ClassVar[tuple[str, ...]] = ("tokens",)
    parameters: ClassVar[Mapping[str, object]] = {}
    frames: ClassVar[None] = None

    def prepare(self, media: str) -> Prepared:
        """Take the text."""
        return Prepared({"text": media})

    def load(self, device: str) -> Forward:
        """Return the forward half with the official weights on `device`.

        Raises `V2ABenchError` where the weights or open_clip are not to be had.
        """
        tower = clip.load_tower(clip.TextTower).to(device)

        @torch.inference_mode()
        def forward(batch: Sequence[Prepared]) -> list[Mapping[str, Array]]:
            numbers = [clip.tokens([given.inputs["text"]]).to(device) for given in batch]
            return [{"tokens": tower(text)[0].cpu().numpy()} for text in numbers]

        return forward


@dataclass(frozen=True)
class MMAudioSync(SynchformerVideo):
    """The `mmaudio_sync` network: `segments` (S, 8, 768) float32, `synchformer_video` on frames when due."""

    name: ClassVar[str] = "mmaudio_sync"
    frames: ClassVar[FrameStream] = FrameStream(
        Fraction(SYNC_RATE), "rgb24", transform=sync_square, choice="due"
    )
