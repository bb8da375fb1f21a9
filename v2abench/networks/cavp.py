"""CAVP: one space for pictures and sound, with a row for every quarter of a second.

Luo, Yan, Hu and Zhao, "Diff-Foley: Synchronized Video-to-Audio Synthesis with Latent
Diffusion Models", NeurIPS 2023 (luosiallen/Diff-Foley@0ba1e8a, Apache-2.0), whose
contrastive audio-visual pretraining also conditions Frieren. The video half is a
SlowOnly ResNet-50: convolutions over time only in its last two stages, and no
striding over time anywhere.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import ClassVar, Literal, TypeVar, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from v2abench.contracts import Array, Forward, Prepared
from v2abench.errors import V2ABenchError
from v2abench.media.reading import FrameStream
from v2abench.networks.cnn14 import ConvBlock
from v2abench.weights.checkpoints import read_checkpoint
from v2abench.weights.deterministic import filled, is_deterministic
from v2abench.weights.fetching import require

WEIGHTS = "cavp"
FRAME_RATE = Fraction(4)
SIZE = 224
CHUNK = 40
"""Frames that go through together, 10 s: what is encoded depends on where it is cut."""
WIDTH = 512

_BLOCKS = (3, 4, 6, 3)
_EXPANSION = 4
_BANDS = 128

TowerT = TypeVar("TowerT", "VideoTower", "AudioTower")


def stretch(frame: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return an (H, W, 3) uint8 frame as 224 x 224 pixels, whatever its aspect ratio.

    Source: torchvision `Resize((224, 224))` of a PIL picture (bilinear, antialiased),
    to one level of 255 in about 0.1 % of the pixels.
    """
    picture = torch.tensor(frame).permute(2, 0, 1)[None]
    scaled = functional.interpolate(picture, (SIZE, SIZE), mode="bilinear", antialias=True)
    return scaled[0].permute(1, 2, 0).contiguous().numpy()


class VideoTower(nn.Module):
    """(B, 3, T, H, W) pixels in [0, 1] in; (B, T, 512) rows of length 1 out."""

    def __init__(self) -> None:
        super().__init__()
        self.video_encoder = _SlowOnly()
        self.video_project_head = nn.Linear(512 * _EXPANSION, WIDTH)

    def forward(self, pixels: Tensor) -> Tensor:
        """Return the normalised rows."""
        return functional.normalize(self.project(pixels), dim=-1)

    def project(self, pixels: Tensor) -> Tensor:
        """Return the rows before they are normalised."""
        pooled = self.video_encoder(pixels).mean(dim=(3, 4))
        return cast(Tensor, self.video_project_head(pooled.mT))


class _SlowOnly(nn.Module):
    """(B, 3, T, H, W) to (B, 2048, T, H / 32, W / 32)."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = _Convolution(3, 64, (1, 7, 7), stride=2)
        self.maxpool = nn.MaxPool3d((1, 3, 3), (1, 2, 2), (0, 1, 1))
        width = 64
        for stage, blocks in enumerate(_BLOCKS):
            planes = 64 << stage
            reach, stride = (3 if stage >= 2 else 1), (2 if stage else 1)
            layer = nn.Sequential(_Bottleneck(width, planes, reach, stride))
            width = planes * _EXPANSION
            layer.extend(_Bottleneck(width, planes, reach) for _ in range(blocks - 1))
            self.add_module(f"layer{stage + 1}", layer)

    def forward(self, pixels: Tensor) -> Tensor:
        x = self.maxpool(torch.relu(self.conv1(pixels)))
        for stage in range(len(_BLOCKS)):
            x = self.get_submodule(f"layer{stage + 1}")(x)
        return cast(Tensor, x)


class _Bottleneck(nn.Module):
    """`reach` frames are convolved over time, `stride` shrinks the picture and with it the identity."""

    def __init__(self, width: int, planes: int, reach: int, stride: int = 1) -> None:
        super().__init__()
        wide = planes * _EXPANSION
        self.conv1 = _Convolution(width, planes, (reach, 1, 1))
        self.conv2 = _Convolution(planes, planes, (1, 3, 3), stride)
        self.conv3 = _Convolution(planes, wide, (1, 1, 1))
        self.downsample = _Convolution(width, wide, (1, 1, 1), stride) if width != wide else None

    def forward(self, x: Tensor) -> Tensor:
        identity = x if self.downsample is None else self.downsample(x)
        inner = torch.relu(self.conv2(torch.relu(self.conv1(x))))
        return torch.relu(self.conv3(inner) + identity)


class _Convolution(nn.Module):
    """A centred convolution and its batch norm; `stride` is over height and width."""

    def __init__(self, inputs: int, outputs: int, kernel: tuple[int, int, int], stride: int = 1) -> None:
        super().__init__()
        padding = (kernel[0] // 2, kernel[1] // 2, kernel[2] // 2)
        self.conv = nn.Conv3d(inputs, outputs, kernel, (1, stride, stride), padding, bias=False)
        self.bn = nn.BatchNorm3d(outputs)

    def forward(self, x: Tensor) -> Tensor:
        return cast(Tensor, self.bn(self.conv(x)))


class AudioTower(nn.Module):
    """(B, 128, F) spectrograms in; (B, F / 16, 512) rows of length 1 out.

    Generation does not need it; with the video tower it says how well a sound fits a video.
    """

    def __init__(self) -> None:
        super().__init__()
        self.spec_encoder = _SpectrogramEncoder()

    def forward(self, spectrogram: Tensor) -> Tensor:
        """Return the normalised rows."""
        return functional.normalize(self.spec_encoder(spectrogram), dim=-1)


class _SpectrogramEncoder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.bn = nn.BatchNorm2d(_BANDS)
        pools: tuple[int | tuple[int, int], ...] = (2, 2, 2, 2, (1, 2), 1)
        widths = (1, 64, 128, 256, 512, 1024, 2048)
        for number, (inputs, outputs, pool) in enumerate(zip(widths, widths[1:], pools, strict=False), 1):
            self.add_module(f"conv_block{number}", ConvBlock(inputs, outputs, pool))
        self.fc1 = nn.Linear(2048, 2048)
        self.final_project = nn.Linear(2048, WIDTH)

    def forward(self, spectrogram: Tensor) -> Tensor:
        x = self.bn(spectrogram[..., None]).permute(0, 3, 2, 1)
        for number in range(1, 7):
            x = self.get_submodule(f"conv_block{number}")(x)
        x = x.mean(dim=3)
        x = (functional.max_pool1d(x, 3, 1, 1) + functional.avg_pool1d(x, 3, 1, 1)).mT
        # Upstream applies this very layer twice.
        x = torch.relu(self.fc1(torch.relu(self.fc1(x))))
        return cast(Tensor, self.final_project(x))


def load_tower(make: type[TowerT], checkpoint: Path) -> TowerT:
    """Return a tower with its part of the official weights, in eval mode on the CPU.

    Raises `V2ABenchError` where the file is another one.
    """
    with torch.device("meta"):
        tower = make()
    parts = tuple(f"{name}." for name, _ in tower.named_children())
    mine = {name: tensor for name, tensor in _entries(checkpoint).items() if name.startswith(parts)}
    try:
        tower.load_state_dict(mine, strict=True, assign=True)
    except RuntimeError as error:
        raise V2ABenchError(
            f"{checkpoint} is not the CAVP of Diff-Foley (cavp_epoch66.ckpt): {error}; "
            f"delete it and run `v2abench weights pull {WEIGHTS}`"
        ) from error
    return tower.eval().requires_grad_(False)


def _entries(checkpoint: Path) -> dict[str, Tensor]:
    """The entries, flat or under `state_dict`; training in parallel left `module.` in their names."""
    loaded = read_checkpoint(checkpoint)
    return {name.replace("module.", ""): tensor for name, tensor in loaded.get("state_dict", loaded).items()}


@dataclass(frozen=True)
class CAVP:
    """The `cavp` network: `rows` (T, 512) float32 of length 1, four a second.

    The frames go through in chunks of 40 (10 s), as they do upstream. There the video is
    first encoded anew at 4 fps, which loses some detail; here the frames are taken as
    they are.
    """

    name: ClassVar[str] = "cavp"
    version: ClassVar[int] = 1
    modality: ClassVar[Literal["video"]] = "video"
    weights: ClassVar[tuple[str, ...]] = (WEIGHTS,)
    features: ClassVar[tuple[str, ...]] = ("rows",)
    parameters: ClassVar[Mapping[str, object]] = {}
    frames: ClassVar[FrameStream] = FrameStream(FRAME_RATE, "rgb24", transform=stretch)

    def prepare(self, media: NDArray[np.uint8]) -> Prepared:
        """Take the (T, 224, 224, 3) frames."""
        return Prepared({"frames": media})

    def load(self, device: str) -> Forward:
        """Return the forward half with the official weights on `device`.

        Raises `V2ABenchError` where the weights are not to be had.
        """
        tower = filled(VideoTower) if is_deterministic() else load_tower(VideoTower, require(WEIGHTS))
        tower.to(device)

        @torch.inference_mode()
        def encode(frames: NDArray[np.uint8]) -> NDArray[np.float32]:
            chunks = torch.split(torch.from_numpy(frames), CHUNK)
            rows = [tower(pixels(chunk.to(device))[None])[0].cpu() for chunk in chunks]
            return torch.cat(rows).numpy()

        def forward(batch: Sequence[Prepared]) -> list[Mapping[str, Array]]:
            # One clip is a full load for the device; alone, its values cannot depend on the others.
            return [{"rows": encode(clip.inputs["frames"])} for clip in batch]

        return forward


def pixels(frames: Tensor) -> Tensor:
    """Return (T, H, W, 3) uint8 frames as (3, T, H, W) float32 in [0, 1]."""
    return frames.permute(3, 0, 1, 2).float() / 255
