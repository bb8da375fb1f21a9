"""MMAudio's variational autoencoder of mel spectrograms, one-dimensional and magnitude preserving.

(B, bands, T) log-mel spectrograms to (B, C, T / 2) latents and back. The layers keep
activations at unit magnitude: convolutions have normalised filters, sums are weighted,
and inputs are normalised over channels (Karras et al., "Analyzing and Improving the
Training Dynamics of Diffusion Models", CVPR 2024; written from the paper's equations).
"""

import math
from dataclasses import dataclass
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

_LEAST = 1e-4
_SILU_MAGNITUDE = 0.596
_SHARE = 0.3
_BOUND = 256
_LOG_VARIANCES = (-30.0, 20.0)
_MULTIPLES = (1, 2, 4)


@dataclass(frozen=True)
class AutoencoderConfig:
    """Mel bands, channels of the latent, and channels at full resolution."""

    bands: int
    latent_channels: int
    width: int

    @property
    def widths(self) -> tuple[int, ...]:
        """Channels of each level, the finest first."""
        return tuple(multiple * self.width for multiple in _MULTIPLES)


AUTOENCODER_16K = AutoencoderConfig(80, 20, 384)
AUTOENCODER_44K = AutoencoderConfig(128, 40, 512)


class Posterior(NamedTuple):
    """What the encoder says of a latent, each (B, C, L): normal distributions."""

    mean: Tensor
    log_variance: Tensor

    @property
    def deviation(self) -> Tensor:
        """The standard deviations."""
        return (0.5 * self.log_variance).exp()


class Encoder(nn.Module):
    """(B, bands, T) normalised log-mel in, T even; the posterior over (B, C, T / 2) out."""

    def __init__(self, config: AutoencoderConfig) -> None:
        super().__init__()
        finest, *_, coarsest = config.widths
        self.learnable_gain = nn.Parameter(torch.zeros(()))
        self.conv_in = _Convolution(config.bands, finest, 3)
        self.down = nn.ModuleList(
            _Level(2, before, width)
            for before, width in zip((finest, *config.widths), config.widths, strict=False)
        )
        self.down[0].downsample = _Downsample(finest)
        self.mid = _Middle(coarsest)
        self.conv_out = _Convolution(coarsest, 2 * config.latent_channels, 3)

    def forward(self, mel: Tensor) -> Posterior:
        """Encode."""
        x = self.conv_in(mel)
        for level in cast("list[_Level]", list(self.down)):
            x = level(x)
            if level.downsample is not None:
                x = level.downsample(x)
        x = _bounded(self.mid(x))
        mean, log_variance = self.conv_out(_silu(x)).chunk(2, dim=1)
        return Posterior(mean, log_variance.clamp(*_LOG_VARIANCES))


class Decoder(nn.Module):
    """(B, C, L) latents in; (B, bands, 2 L) normalised log-mel out."""

    def __init__(self, config: AutoencoderConfig) -> None:
        super().__init__()
        finest, *_, coarsest = config.widths
        self.learnable_gain = nn.Parameter(torch.zeros(()))
        self.conv_in = _Convolution(config.latent_channels, coarsest, 3)
        self.mid = _Middle(coarsest)
        self.up = nn.ModuleList(
            _Level(3, before, width)
            for before, width in zip((*config.widths[1:], coarsest), config.widths, strict=True)
        )
        self.up[1].upsample = _Upsample(config.widths[1])
        self.conv_out = _Convolution(finest, config.bands, 3)

    def forward(self, latents: Tensor) -> Tensor:
        """Decode."""
        x = _bounded(self.mid(self.conv_in(latents)))
        for level in reversed(cast("list[_Level]", list(self.up))):
            x = level(x)
            if level.upsample is not None:
                x = level.upsample(x)
        return cast(Tensor, self.conv_out(_silu(x)))


class _Level(nn.Module):
    downsample: nn.Module | None
    upsample: nn.Module | None

    def __init__(self, count: int, inside: int, width: int) -> None:
        super().__init__()
        self.block = nn.ModuleList(
            _Residual(inside if place == 0 else width, width) for place in range(count)
        )
        self.downsample = None
        self.upsample = None

    def forward(self, x: Tensor) -> Tensor:
        for block in self.block:
            x = _bounded(block(x))
        return x


class _Middle(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.block_1 = _Residual(width, width)
        self.attn_1 = _Attention(width)
        self.block_2 = _Residual(width, width)

    def forward(self, x: Tensor) -> Tensor:
        return cast(Tensor, self.block_2(self.attn_1(self.block_1(x))))


class _Residual(nn.Module):
    def __init__(self, inside: int, width: int) -> None:
        super().__init__()
        self.conv1 = _Convolution(inside, width, 3)
        self.conv2 = _Convolution(width, width, 3)
        self.nin_shortcut = _Convolution(inside, width, 1) if inside != width else None

    def forward(self, x: Tensor) -> Tensor:
        x = _normalised(x)
        hidden = self.conv2(_silu(self.conv1(_silu(x))))
        return _sum(x if self.nin_shortcut is None else self.nin_shortcut(x), hidden)


class _Attention(nn.Module):
    """One head over time; queries, keys and values alternate channel by channel."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.qkv = _Convolution(width, 3 * width, 1)
        self.proj_out = _Convolution(width, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        parts = torch.unflatten(self.qkv(x), 1, (-1, 3))
        query, key, value = (_normalised(part).transpose(1, 2) for part in parts.unbind(2))
        attended = functional.scaled_dot_product_attention(query, key, value).transpose(1, 2)
        return _sum(x, self.proj_out(attended))


class _Downsample(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1 = _Convolution(width, width, 1)
        self.conv2 = _Convolution(width, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        return cast(Tensor, self.conv2(functional.avg_pool1d(self.conv1(x), 2)))


class _Upsample(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv = _Convolution(width, width, 3)

    def forward(self, x: Tensor) -> Tensor:
        return cast(Tensor, self.conv(functional.interpolate(x, scale_factor=2, mode="nearest-exact")))


class _Convolution(nn.Module):
    """A convolution without bias, whose filters are normalised once by `fold_magnitudes`."""

    def __init__(self, inside: int, outside: int, kernel: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(outside, inside, kernel))

    def forward(self, x: Tensor) -> Tensor:
        return functional.conv1d(x, self.weight, padding=self.weight.shape[2] // 2)


@torch.no_grad()
def fold_magnitudes(half: Encoder | Decoder) -> None:
    """Normalise every filter of freshly loaded weights, in place, and take the gain into the last layer.

    w becomes w / (1e-4 + ‖w‖ / √n) / √n for a filter of n values. Do it once only.
    """
    for module in half.modules():
        if isinstance(module, _Convolution):
            weight = module.weight
            count = weight[0].numel()
            norm = torch.linalg.vector_norm(weight.float(), dim=(1, 2), keepdim=True)
            weight.div_((_LEAST + norm / math.sqrt(count)) * math.sqrt(count))
    half.conv_out.weight.mul_(half.learnable_gain + 1)


def _normalised(x: Tensor) -> Tensor:
    magnitude = x.float().square().mean(dim=1, keepdim=True).sqrt()
    return x / (_LEAST + magnitude).to(x.dtype)


def _silu(x: Tensor) -> Tensor:
    return functional.silu(x) / _SILU_MAGNITUDE


def _sum(x: Tensor, hidden: Tensor) -> Tensor:
    return torch.lerp(x, hidden, _SHARE) / math.hypot(1 - _SHARE, _SHARE)


def _bounded(x: Tensor) -> Tensor:
    return x.clamp(-_BOUND, _BOUND)


class MelStatistics(NamedTuple):
    """Mean and standard deviation of each mel band over the training set, each (1, bands, 1)."""

    mean: Tensor
    deviation: Tensor
