"""ImageBind: one space for pictures and sound, for the IB-score.

Girdhar et al., "ImageBind: One Embedding Space To Bind Them All", CVPR 2023
(facebookresearch/ImageBind@53680b0). Of the released "huge" model the vision and
the audio tower are loaded. A clip's embedding is the mean over its views, not
normalised again; the IB-score is the cosine of video and sound. Code and weights
of ImageBind are CC BY-NC-SA 4.0: not for commercial use.
"""

from __future__ import annotations

import zipfile
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from v2abench.contracts import Array, Forward, Prepared
from v2abench.errors import ClipFault
from v2abench.media.reading import FrameStream
from v2abench.media.resampling import resample
from v2abench.networks.imagebind_inputs import (
    FRAME,
    SAMPLE_RATE,
    VIEW_SECONDS,
    normalise_views,
    scale_frame,
    sound_views,
    video_views,
)
from v2abench.weights.deterministic import filled, is_deterministic
from v2abench.weights.fetching import require

if TYPE_CHECKING:
    from v2abench.media.reading import AudioWindow

_EPSILON = 1e-6
_LARGEST_LOGIT_SCALE = 100
_VIEWS_PER_PASS = 32


@dataclass(frozen=True)
class TowerSize:
    """Width of a token, transformer blocks, attention heads, width of the embedding."""

    width: int
    blocks: int
    heads: int
    embedding: int = 1024


VISION = TowerSize(width=1280, blocks=32, heads=16)
AUDIO = TowerSize(width=768, blocks=12, heads=12)


class Tower(nn.Module):
    """The part of ImageBind for one modality, with the entry names of the official checkpoint."""

    def __init__(
        self, modality: str, tokens: nn.Module, trunk: nn.Module, head: nn.Module, scaling: nn.Module
    ) -> None:
        super().__init__()
        self.modality = modality
        self.modality_preprocessors = nn.ModuleDict({modality: tokens})
        self.modality_trunks = nn.ModuleDict({modality: trunk})
        self.modality_heads = nn.ModuleDict({modality: head})
        self.modality_postprocessors = nn.ModuleDict({modality: scaling})

    def forward(self, views: Tensor) -> Tensor:
        """Return the (n, 1024) embeddings of n views, all of one length."""
        tokens = self.modality_preprocessors[self.modality](views)
        head = self.modality_heads[self.modality](self.modality_trunks[self.modality](tokens))
        embeddings: Tensor = self.modality_postprocessors[self.modality](head)
        return embeddings


def vision_tower(size: TowerSize) -> Tower:
    """Return the tower for (n, 3, 2, 224, 224) normalised pixels; its embeddings have length 1."""
    norm = nn.Sequential(nn.LayerNorm(size.width, eps=_EPSILON))
    trunk = _Trunk(size, norm, learned_key=False)
    return Tower("vision", _VisionTokens(size.width), trunk, _head(size), _Normalise())


def audio_tower(size: TowerSize) -> Tower:
    """Return the tower for (n, 128, 204) normalised log-mel spectrograms.

    The embeddings are as long as the checkpoint's logit scale, at most 100.
    """
    trunk = _Trunk(size, nn.Identity(), learned_key=True)
    scaling = nn.Sequential(_Normalise(), _LogitScale())
    return Tower("audio", _AudioTokens(size.width), trunk, _head(size), scaling)


class _VisionTokens(nn.Module):
    """A class token and 16 x 16 patches of 14 x 14 pixels over two frames."""

    def __init__(self, width: int) -> None:
        super().__init__()
        # Upstream a still picture is doubled at place 0.
        projection = nn.Conv3d(3, width, (2, 14, 14), stride=(2, 14, 14), bias=False)
        self.rgbt_stem = nn.ModuleDict({"proj": nn.Sequential(nn.Identity(), projection)})
        self.cls_token = nn.Parameter(torch.zeros(1, 1, width))
        self.pos_embedding_helper = _Positions(1 + 16 * 16, width)

    def forward(self, views: Tensor) -> Tensor:
        patches = self.rgbt_stem["proj"](views).flatten(2).mT
        return _with_class_token(self.cls_token, patches) + self.pos_embedding_helper.pos_embed


class _AudioTokens(nn.Module):
    """A class token and 12 x 19 patches of 16 bands x 16 frames, which overlap."""

    def __init__(self, width: int) -> None:
        super().__init__()
        projection = nn.Conv2d(1, width, 16, stride=10, bias=False)
        self.rgbt_stem = nn.ModuleDict({"proj": projection, "norm_layer": nn.LayerNorm(width, eps=1e-5)})
        self.cls_token = nn.Parameter(torch.zeros(1, 1, width))
        self.pos_embedding_helper = _Positions(1 + 12 * 19, width)

    def forward(self, views: Tensor) -> Tensor:
        patches = self.rgbt_stem["proj"](views[:, None]).flatten(2).mT
        tokens = _with_class_token(self.cls_token, self.rgbt_stem["norm_layer"](patches))
        return tokens + self.pos_embedding_helper.pos_embed


class _Positions(nn.Module):
    def __init__(self, tokens: int, width: int) -> None:
        super().__init__()
        self.pos_embed = nn.Parameter(torch.zeros(1, tokens, width))


def _with_class_token(token: Tensor, patches: Tensor) -> Tensor:
    return torch.cat([token.expand(len(patches), -1, -1), patches], dim=1)


class _Trunk(nn.Module):
    def __init__(self, size: TowerSize, before: nn.Module, *, learned_key: bool) -> None:
        super().__init__()
        self.pre_transformer_layer = before
        self.blocks = nn.Sequential(*(_Block(size, learned_key) for _ in range(size.blocks)))

    def forward(self, tokens: Tensor) -> Tensor:
        trunk: Tensor = self.blocks(self.pre_transformer_layer(tokens))
        return trunk


class _Block(nn.Module):
    """A pre-norm transformer block; `learned_key` appends one key and value to the sequence."""

    def __init__(self, size: TowerSize, learned_key: bool) -> None:
        super().__init__()
        width = size.width
        self.attn = nn.MultiheadAttention(width, size.heads, add_bias_kv=learned_key, batch_first=True)
        layers = {"fc1": nn.Linear(width, 4 * width), "act": nn.GELU(), "fc2": nn.Linear(4 * width, width)}
        self.mlp = nn.Sequential(OrderedDict(layers))
        self.norm_1 = nn.LayerNorm(width, eps=_EPSILON)
        self.norm_2 = nn.LayerNorm(width, eps=_EPSILON)

    def forward(self, x: Tensor) -> Tensor:
        normed = self.norm_1(x)
        x = x + self.attn(normed, normed, normed, need_weights=False)[0]
        x = x + self.mlp(self.norm_2(x))
        return x


def _head(size: TowerSize) -> nn.Sequential:
    norm = nn.LayerNorm(size.width, eps=_EPSILON)
    return nn.Sequential(norm, _ClassToken(), nn.Linear(size.width, size.embedding, bias=False))


class _ClassToken(nn.Module):
    def forward(self, tokens: Tensor) -> Tensor:
        return tokens[:, 0]


class _Normalise(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return functional.normalize(x, dim=-1)


class _LogitScale(nn.Module):
    log_logit_scale: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("log_logit_scale", torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.log_logit_scale.exp().clamp(max=_LARGEST_LOGIT_SCALE)


def load_tower(make: Callable[[TowerSize], Tower], size: TowerSize, checkpoint: Path) -> Tower:
    """Return a tower with its part of the official weights, in eval mode on the CPU.

    The file (4.8 GB) is mapped: of the other modalities nothing is read, and what is
    read is not copied before it is moved to a device.
    """
    with torch.device("meta"):
        tower = make(size)
    mappable = zipfile.is_zipfile(checkpoint)  # torch's older format is not
    state = torch.load(checkpoint, map_location="cpu", weights_only=True, mmap=mappable)
    mine = {name: tensor for name, tensor in state.items() if f".{tower.modality}." in name}
    tower.load_state_dict(mine, strict=True, assign=True)
    return tower.eval().requires_grad_(False)


def _tower(make: Callable[[TowerSize], Tower], size: TowerSize) -> Tower:
    if is_deterministic():
        return filled(lambda: make(size))
    return load_tower(make, size, require("imagebind"))


@dataclass(frozen=True)
class ImageBindVideo:
    """The `imagebind_video` network: `embedding` (1024,) float32.

    The mean over the views of the video, which are the pairs of neighbouring frames at
    0.5 fps in three crops each: 9 views for 8 s.
    """

    name: ClassVar[str] = "imagebind_video"
    version: ClassVar[int] = 1
    modality: ClassVar[Literal["video"]] = "video"
    weights: ClassVar[tuple[str, ...]] = ("imagebind",)
    memory: ClassVar[int] = 2_531_000_000
    features: ClassVar[tuple[str, ...]] = ("embedding",)
    parameters: ClassVar[Mapping[str, object]] = {}
    frames: ClassVar[FrameStream] = FrameStream(
        frame_rate=Fraction(1, 2), pixel_format="rgb24", transform=scale_frame
    )

    def prepare(self, media: NDArray[np.uint8]) -> Prepared:
        """Return the views of (T, H, W, 3) frames, already scaled to a shorter side of 224.

        Raises `ClipFault` for fewer than two frames.
        """
        if len(media) < 2:
            detail = f"imagebind_video needs 2 frames at 0.5 fps (4 s of video), the clip has {len(media)}"
            raise ClipFault("too-short", detail)
        return Prepared({"views": video_views(media)})

    def load(self, device: str) -> Forward:
        """Return the forward half with the official weights on `device`.

        Raises `V2ABenchError` where the weights are not to be had.
        """
        tower = _tower(vision_tower, VISION).to(device)
        return _mean_over_views(lambda views: tower(normalise_views(views)), device)


@dataclass(frozen=True)
class ImageBindAudio:
    """The `imagebind_audio` network: `embedding` (1024,) float32.

    The mean over three views of the sound, 2 s each, at the beginning, in the middle
    and at the end of the protocol's window. av-benchmark spreads the three over the
    whole file, however long it is: for files that are no longer than the window (all
    that a model generates for it) the two agree, for longer ones they do not.
    The quirks are told at `sound_views`.
    """

    shared_mean_quirk: bool = True
    first_channel_quirk: bool = True

    name: ClassVar[str] = "imagebind_audio"
    version: ClassVar[int] = 1
    modality: ClassVar[Literal["audio"]] = "audio"
    weights: ClassVar[tuple[str, ...]] = ("imagebind",)
    memory: ClassVar[int] = 345_000_000
    features: ClassVar[tuple[str, ...]] = ("embedding",)
    frames: ClassVar[None] = None

    @property
    def parameters(self) -> Mapping[str, object]:
        """What changes the values."""
        return {
            "shared_mean_quirk": self.shared_mean_quirk,
            "first_channel_quirk": self.first_channel_quirk,
        }

    def prepare(self, media: AudioWindow) -> Prepared:
        """Return the three views of the window, (3, 128, 204) float32.

        A window shorter than 2 s is zero-padded, with a note. Raises `ClipFault` for
        one shorter than 25 ms.
        """
        samples = resample(media.audio.samples, media.audio.sample_rate, SAMPLE_RATE)
        count = samples.shape[1]
        if count < FRAME:
            detail = f"imagebind_audio needs 25 ms of sound, the clip has {count / SAMPLE_RATE * 1000:.1f} ms"
            raise ClipFault("too-short", detail)
        padded = count < VIEW_SECONDS * SAMPLE_RATE
        notes = (f"padded to one view of {VIEW_SECONDS} s",) if padded else ()
        return Prepared(
            {
                "views": sound_views(
                    samples,
                    shared_mean_quirk=self.shared_mean_quirk,
                    first_channel_quirk=self.first_channel_quirk,
                )
            },
            notes,
        )

    def load(self, device: str) -> Forward:
        """Return the forward half with the official weights on `device`.

        Raises `V2ABenchError` where the weights are not to be had.
        """
        return _mean_over_views(_tower(audio_tower, AUDIO).to(device), device)


def _mean_over_views(embed: Callable[[Tensor], Tensor], device: str) -> Forward:
    @torch.inference_mode()
    def forward(batch: Sequence[Prepared]) -> list[Mapping[str, Array]]:
        views = [clip.inputs["views"] for clip in batch]
        parts = torch.split(torch.from_numpy(np.concatenate(views)), _VIEWS_PER_PASS)
        embeddings = torch.cat([embed(part.to(device)) for part in parts]).cpu().numpy()
        starts = np.cumsum([len(clip) for clip in views])[:-1]
        return [{"embedding": clip.mean(axis=0)} for clip in np.split(embeddings, starts)]

    return forward
