"""The autoencoder of Frieren's latents: (B, 80, T) log-mel to (B, 20, T / 2) and back.

It comes from Make-An-Audio 2 (bytedance/Make-An-Audio-2@f02ec0a, MIT) and is the image
autoencoder of latent diffusion in one dimension. Entry names are those of upstream's
`AutoencoderKL`; encoder and decoder are apart, since generation needs only one of them.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

SCALE = 0.18215
"""What the latents are multiplied with for the flow."""

_EDGE_KERNEL = 5
_ENCODER_KERNEL = 5
_DECODER_KERNEL = 3
_SMALLEST_LOGVAR, _LARGEST_LOGVAR = -30.0, 20.0


@dataclass(frozen=True)
class AutoencoderSize:
    """Mel bands, channels of a latent, and the width of each level."""

    bands: int = 80
    channels: int = 20
    widths: tuple[int, ...] = (384, 768, 1536)


OFFICIAL = AutoencoderSize()


class MelEncoder(nn.Module):
    """(B, bands, T) log-mel in; mean and standard deviation of the latents, (B, channels, T / 2), out."""

    def __init__(self, size: AutoencoderSize = OFFICIAL) -> None:
        super().__init__()
        self.encoder = _Encoder(size)
        self.quant_conv = nn.Conv1d(2 * size.channels, 2 * size.channels, 1)

    def forward(self, mel: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean and standard deviation, not scaled."""
        mean, logvar = self.quant_conv(self.encoder(mel)).chunk(2, dim=1)
        return mean, torch.exp(logvar.clamp(_SMALLEST_LOGVAR, _LARGEST_LOGVAR) / 2)


class MelDecoder(nn.Module):
    """(B, channels, T) latents, not scaled, in; (B, bands, 2 T) log-mel out."""

    def __init__(self, size: AutoencoderSize = OFFICIAL) -> None:
        super().__init__()
        self.decoder = _Decoder(size)
        self.post_quant_conv = nn.Conv1d(size.channels, size.channels, 1)

    def forward(self, latents: Tensor) -> Tensor:
        """Return the log-mel spectrogram."""
        return cast(Tensor, self.decoder(self.post_quant_conv(latents)))


class _Encoder(nn.Module):
    def __init__(self, size: AutoencoderSize) -> None:
        super().__init__()
        first, last = size.widths[0], size.widths[-1]
        self.conv_in = nn.Conv1d(size.bands, first, _EDGE_KERNEL, padding=_EDGE_KERNEL // 2)
        self.down = nn.ModuleList(
            _level(width, outputs, 2, _ENCODER_KERNEL) for width, outputs in pairwise((first, *size.widths))
        )
        self.down[0].add_module("downsample", _Downsample(first))
        self.mid = _middle(last, _ENCODER_KERNEL)
        self.norm_out = nn.GroupNorm(32, last, eps=1e-6)
        self.conv_out = nn.Conv1d(last, 2 * size.channels, _EDGE_KERNEL, padding=_EDGE_KERNEL // 2)

    def forward(self, mel: Tensor) -> Tensor:
        x = _through(self.down, self.conv_in(mel))
        x = _run(self.mid.values(), x)
        return cast(Tensor, self.conv_out(functional.silu(self.norm_out(x))))


class _Decoder(nn.Module):
    """The levels run from the last to the first; time is doubled behind the middle one."""

    def __init__(self, size: AutoencoderSize) -> None:
        super().__init__()
        first, last = size.widths[0], size.widths[-1]
        self.conv_in = nn.Conv1d(size.channels, last, _EDGE_KERNEL, padding=_EDGE_KERNEL // 2)
        self.mid = _middle(last, _DECODER_KERNEL)
        self.up = nn.ModuleList(
            _level(width, outputs, 3, _DECODER_KERNEL) for outputs, width in pairwise((*size.widths, last))
        )
        self.up[1].add_module("upsample", _Upsample(size.widths[1]))
        self.norm_out = nn.GroupNorm(32, first, eps=1e-6)
        self.conv_out = nn.Conv1d(first, size.bands, _EDGE_KERNEL, padding=_EDGE_KERNEL // 2)

    def forward(self, latents: Tensor) -> Tensor:
        x = _run(self.mid.values(), self.conv_in(latents))
        x = _through(reversed(self.up), x)
        return cast(Tensor, self.conv_out(functional.silu(self.norm_out(x))))


def _level(width: int, outputs: int, blocks: int, kernel: int) -> nn.ModuleDict:
    first = _ResnetBlock(width, outputs, kernel)
    others = (_ResnetBlock(outputs, outputs, kernel) for _ in range(blocks - 1))
    return nn.ModuleDict({"block": nn.Sequential(first, *others)})


def _middle(width: int, kernel: int) -> nn.ModuleDict:
    return nn.ModuleDict(
        {
            "block_1": _ResnetBlock(width, width, kernel),
            "attn_1": _Attention(width),
            "block_2": _ResnetBlock(width, width, kernel),
        }
    )


def _through(levels: Iterable[nn.Module], x: Tensor) -> Tensor:
    for level in levels:
        x = _run(cast(nn.ModuleDict, level).values(), x)
    return x


def _run(modules: Iterable[nn.Module], x: Tensor) -> Tensor:
    for module in modules:
        x = module(x)
    return x


class _ResnetBlock(nn.Module):
    def __init__(self, inputs: int, outputs: int, kernel: int) -> None:
        super().__init__()
        self.norm1 = nn.GroupNorm(32, inputs, eps=1e-6)
        self.conv1 = nn.Conv1d(inputs, outputs, kernel, padding=kernel // 2)
        self.norm2 = nn.GroupNorm(32, outputs, eps=1e-6)
        self.conv2 = nn.Conv1d(outputs, outputs, kernel, padding=kernel // 2)
        self.nin_shortcut = nn.Conv1d(inputs, outputs, 1) if inputs != outputs else None

    def forward(self, x: Tensor) -> Tensor:
        inner = self.conv1(functional.silu(self.norm1(x)))
        inner = self.conv2(functional.silu(self.norm2(inner)))
        return cast(Tensor, inner + (x if self.nin_shortcut is None else self.nin_shortcut(x)))


class _Attention(nn.Module):
    """Attention over time, of a single head."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(32, width, eps=1e-6)
        self.q = nn.Conv1d(width, width, 1)
        self.k = nn.Conv1d(width, width, 1)
        self.v = nn.Conv1d(width, width, 1)
        self.proj_out = nn.Conv1d(width, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        normed = self.norm(x)
        query, key, value = (project(normed).mT[:, None] for project in (self.q, self.k, self.v))
        attended = functional.scaled_dot_product_attention(query, key, value)
        return cast(Tensor, x + self.proj_out(attended[:, 0].mT))


class _Downsample(nn.Module):
    """Half the frames; the zero that pads them stands on the right only."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv = nn.Conv1d(width, width, 3, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        return cast(Tensor, self.conv(functional.pad(x, (0, 1))))


class _Upsample(nn.Module):
    """Each frame twice, smoothed."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv = nn.Conv1d(width, width, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return cast(Tensor, self.conv(x.repeat_interleave(2, dim=2)))
