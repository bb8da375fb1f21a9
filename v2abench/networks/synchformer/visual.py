"""The picture half of Synchformer: a Motionformer with divided space-time attention.

A segment is 16 frames at 25 fps, every 8 frames; each is encoded by itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import ClassVar, Literal, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from v2abench.contracts import Array, Forward, Prepared
from v2abench.errors import ClipFault
from v2abench.media.reading import FrameStream
from v2abench.networks.resizing import resize_short_side
from v2abench.networks.synchformer.attention import AttentionPooling, attend
from v2abench.networks.synchformer.checkpoint import WEIGHTS, load_weights

FRAME_RATE = Fraction(25)
SIDE = 224
SEGMENT_FRAMES = 16
HOP_FRAMES = 8

_PATCH = (2, 16, 16)
_STEPS = SEGMENT_FRAMES // _PATCH[0]
_PLACES = (SIDE // _PATCH[1]) ** 2

# 0.6 GB of activations, whatever the length of the clip and the batch.
_SEGMENTS_PER_PASS = 8


def square(frame: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return the central 224 x 224 of a frame whose shorter side is scaled to 224.

    `frame` is (H, W, 3) uint8. Source: av-benchmark@050a5cd, torchvision's
    Resize(224, BICUBIC) and CenterCrop(224) of uint8. (Synchformer itself scales to 256.)
    """
    scaled = resize_short_side(frame, SIDE)
    top, left = (round((size - SIDE) / 2) for size in scaled.shape[:2])
    return scaled[top : top + SIDE, left : left + SIDE]


def segments(frames: Tensor) -> Tensor:
    """Return all segments of (T, 224, 224, 3) frames, a view of (S, 3, 16, 224, 224)."""
    return frames.unfold(0, SEGMENT_FRAMES, HOP_FRAMES).permute(0, 3, 4, 1, 2)


def normalise(pixels: Tensor) -> Tensor:
    """Map uint8 to float32 in [-1, 1]."""
    return (pixels.float() / 255 - 0.5) / 0.5


class VisualEncoder(nn.Module):
    """The network, with the entry names of the checkpoint's `vfeat_extractor`.

    (n, 3, 16, 224, 224) normalised segments in; (n, 8, width) out, one every 80 ms.
    """

    def __init__(self, width: int = 768, depth: int = 12, heads: int = 12) -> None:
        super().__init__()
        self.cls_token = nn.Parameter(torch.zeros(1, 1, width))
        self.pos_embed = nn.Parameter(torch.zeros(1, 1 + _PLACES, width))
        self.temp_embed = nn.Parameter(torch.zeros(1, _STEPS, width))
        # Never used, but in the checkpoint.
        self.patch_embed = nn.ModuleDict({"proj": nn.Conv2d(3, width, _PATCH[1:], _PATCH[1:])})
        self.patch_embed_3d = nn.ModuleDict({"proj": nn.Conv3d(3, width, _PATCH, _PATCH)})
        self.blocks = nn.ModuleList(_Block(width, heads) for _ in range(depth))
        self.norm = nn.LayerNorm(width, eps=1e-6)
        self.spatial_attn_agg = AttentionPooling(width, heads, 4 * width)

    def forward(self, pixels: Tensor) -> Tensor:
        """Encode segments, each by itself."""
        patches = self.patch_embed_3d["proj"](pixels).flatten(2).transpose(1, 2)
        x = torch.cat([self.cls_token.expand(len(pixels), -1, -1), patches], dim=1) + self._positions()
        for block in self.blocks:
            x = block(x)
        by_step = torch.unflatten(self.norm(x[:, 1:]), 1, (_STEPS, _PLACES))
        return torch.unflatten(self.spatial_attn_agg.pool(by_step.flatten(0, 1)), 0, (-1, _STEPS))

    def _positions(self) -> Tensor:
        """(1, 1 + 1568, width): place plus time step; the class token has a place only."""
        places = self.pos_embed[:, 1:].repeat(1, _STEPS, 1)
        steps = self.temp_embed.repeat_interleave(_PLACES, dim=1)
        return torch.cat([self.pos_embed[:, :1], places + steps], dim=1)


class _Block(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width, eps=1e-6)
        self.norm2 = nn.LayerNorm(width, eps=1e-6)
        self.norm3 = nn.LayerNorm(width, eps=1e-6)
        self.attn = _DividedAttention(width, heads, "space")
        self.timeattn = _DividedAttention(width, heads, "time")
        self.mlp = nn.ModuleDict({"fc1": nn.Linear(width, 4 * width), "fc2": nn.Linear(4 * width, width)})

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.timeattn(self.norm3(x))
        x = x + self.attn(self.norm1(x))
        return cast(Tensor, x + self.mlp["fc2"](functional.gelu(self.mlp["fc1"](self.norm2(x)))))


class _DividedAttention(nn.Module):
    """The class token attends to all; a patch to the class token and to the patches of
    its time step (`space`) or to those of its place at all steps (`time`).
    """

    def __init__(self, width: int, heads: int, over: Literal["space", "time"]) -> None:
        super().__init__()
        self.heads = heads
        self.over = over
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        query, key, value = self.qkv(x).chunk(3, dim=2)
        token = attend(query[:, :1], key, value, self.heads)
        groups = attend(
            self._grouped(query[:, 1:]), self._with_token(key), self._with_token(value), self.heads
        )
        return cast(Tensor, self.proj(torch.cat([token, self._ungrouped(groups)], dim=1)))

    def _grouped(self, patches: Tensor) -> Tensor:
        """(n, 1568, width) -> (n * groups, members, width)."""
        grid = torch.unflatten(patches, 1, (_STEPS, _PLACES))
        return (grid if self.over == "space" else grid.transpose(1, 2)).flatten(0, 1)

    def _with_token(self, x: Tensor) -> Tensor:
        """(n, 1 + 1568, width) -> (n * groups, 1 + members, width)."""
        groups = self._grouped(x[:, 1:])
        return torch.cat([x[:, :1].repeat_interleave(len(groups) // len(x), dim=0), groups], dim=1)

    def _ungrouped(self, groups: Tensor) -> Tensor:
        if self.over == "space":
            return torch.unflatten(groups, 0, (-1, _STEPS)).flatten(1, 2)
        return torch.unflatten(groups, 0, (-1, _PLACES)).transpose(1, 2).flatten(1, 2)


@dataclass(frozen=True)
class SynchformerVideo:
    """The `synchformer_video` network: `segments` (S, 8, 768) float32.

    S = (T - 16) // 8 + 1 of T frames, 24 for 8 s.
    """

    name: ClassVar[str] = "synchformer_video"
    version: ClassVar[int] = 1
    modality: ClassVar[Literal["video"]] = "video"
    weights: ClassVar[tuple[str, ...]] = (WEIGHTS,)
    memory: ClassVar[int] = 490_000_000
    most_at_once: ClassVar[int] = 1
    features: ClassVar[tuple[str, ...]] = ("segments",)
    parameters: ClassVar[Mapping[str, object]] = {}
    frames: ClassVar[FrameStream] = FrameStream(FRAME_RATE, "rgb24", transform=square)

    def prepare(self, media: NDArray[np.uint8]) -> Prepared:
        """Take the (T, 224, 224, 3) frames; raises `ClipFault` under one segment."""
        if len(media) < SEGMENT_FRAMES:
            needed = f"Synchformer needs at least {SEGMENT_FRAMES} frames at {FRAME_RATE} fps"
            raise ClipFault("too-short", f"{needed}, the clip has {len(media)}")
        return Prepared({"frames": media})

    def load(self, device: str) -> Forward:
        """Return the forward half with the official weights on `device`.

        Raises `V2ABenchError` where the weights are not to be had.
        """
        encoder = VisualEncoder()
        load_weights({"vfeat_extractor": encoder})
        encoder.to(device)

        @torch.inference_mode()
        def encode(frames: NDArray[np.uint8]) -> NDArray[np.float32]:
            passes = torch.split(segments(torch.from_numpy(frames)), _SEGMENTS_PER_PASS)
            outputs = [encoder(normalise(pixels.to(device))) for pixels in passes]
            return torch.cat(outputs).cpu().numpy()

        def forward(batch: Sequence[Prepared]) -> list[Mapping[str, Array]]:
            # One clip is a full load for the device; alone, its values cannot depend on the others.
            return [{"segments": encode(clip.inputs["frames"])} for clip in batch]

        return forward
