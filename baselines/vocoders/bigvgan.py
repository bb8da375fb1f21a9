"""BigVGAN: from a log-mel spectrogram to a waveform, by transposed convolutions and periodic activations.

Lee, Ping, Ginsburg, Catanzaro and Yoon, "BigVGAN: A Universal Neural Vocoder with
Large-Scale Training", ICLR 2023. A `BigVGAN` holds convolutions whose weight norm is
already folded; `fold_weight_norm` makes that of a checkpoint. Activations are
anti-aliased: each goes to twice the rate, through the nonlinearity, and back.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from v2abench.weights.deterministic import values

TAPS = 12
"""Length of the anti-aliasing filter."""

DILATIONS = (1, 3, 5)

_LEAST = 1e-9
_QUIET = 0.01


@dataclass(frozen=True)
class BigVGANConfig:
    """Mel bands, stride and kernel of each upsampling stage, and how the waveform ends.

    `width` is that before the first stage; each stage halves it. A stage is the mean of
    blocks with `block_kernels`. `output` bounds the waveform by a tanh or by clipping at ±1.
    """

    bands: int
    rates: tuple[int, ...]
    kernels: tuple[int, ...]
    bias: bool
    output: Literal["tanh", "clamp"]
    width: int = 1536
    block_kernels: tuple[int, ...] = (3, 7, 11)

    @property
    def hop(self) -> int:
        """Samples a frame."""
        return math.prod(self.rates)


BIGVGAN_16K = BigVGANConfig(80, (4, 4, 2, 2, 2, 2), (8, 8, 4, 4, 4, 4), bias=True, output="tanh")
"""The vocoder of Make-An-Audio 2, which MMAudio and Frieren use at 16 kHz."""

BIGVGAN_44K = BigVGANConfig(128, (8, 4, 2, 2, 2, 2), (16, 8, 4, 4, 4, 4), bias=False, output="clamp")
"""`nvidia/bigvgan_v2_44khz_128band_512x`."""


class BigVGAN(nn.Module):
    """(B, bands, frames) log-mel in; (B, 1, frames * hop) waveform in [-1, 1] out.

    Its entries are those of an official checkpoint, but `weight` for the two of weight norm.
    """

    def __init__(self, config: BigVGANConfig) -> None:
        super().__init__()
        self.config = config
        widths = [config.width >> stage for stage in range(len(config.rates) + 1)]
        self.conv_pre = nn.Conv1d(config.bands, widths[0], 7, padding=3)
        stages = zip(config.rates, config.kernels, widths, widths[1:], strict=False)
        self.ups = nn.ModuleList(
            nn.ModuleList([nn.ConvTranspose1d(wide, narrow, kernel, rate, (kernel - rate) // 2)])
            for rate, kernel, wide, narrow in stages
        )
        self.resblocks = nn.ModuleList(
            _Block(width, kernel) for width in widths[1:] for kernel in config.block_kernels
        )
        self.activation_post = _Activation(widths[-1])
        self.conv_post = nn.Conv1d(widths[-1], 1, 7, padding=3, bias=config.bias)

    def forward(self, mel: Tensor) -> Tensor:
        """Return the waveform."""
        x = self.raw(mel)
        return torch.tanh(x) if self.config.output == "tanh" else x.clamp(-1, 1)

    def raw(self, mel: Tensor) -> Tensor:
        """Return the waveform before it is bounded."""
        x = self.conv_pre(mel)
        count = len(self.config.block_kernels)
        for stage, (up,) in enumerate(cast("list[list[nn.Module]]", self.ups)):
            x = up(x)
            x = sum(block(x) for block in self.resblocks[stage * count : (stage + 1) * count]) / count
        return cast(Tensor, self.conv_post(self.activation_post(x)))


class _Block(nn.Module):
    """An AMP block: three pairs of dilated and plain convolutions, each with its activation before it."""

    def __init__(self, width: int, kernel: int) -> None:
        super().__init__()
        self.convs1 = nn.ModuleList(
            nn.Conv1d(width, width, kernel, dilation=dilation, padding=(kernel - 1) * dilation // 2)
            for dilation in DILATIONS
        )
        self.convs2 = nn.ModuleList(
            nn.Conv1d(width, width, kernel, padding=(kernel - 1) // 2) for _ in DILATIONS
        )
        self.activations = nn.ModuleList(_Activation(width) for _ in range(2 * len(DILATIONS)))

    def forward(self, x: Tensor) -> Tensor:
        for index, (dilated, plain) in enumerate(zip(self.convs1, self.convs2, strict=True)):
            inner = dilated(self.activations[2 * index](x))
            x = x + plain(self.activations[2 * index + 1](inner))
        return x


class _Activation(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.act = _SnakeBeta(width)
        self.upsample = _Filter()
        self.downsample = nn.ModuleDict({"lowpass": _Filter()})

    def forward(self, x: Tensor) -> Tensor:
        batch, _, length = x.shape
        # One filter serves all channels: as items of a batch they need no depthwise convolution.
        flat = functional.pad(x.reshape(-1, 1, length), (5, 5), mode="replicate")
        up = 2 * functional.conv_transpose1d(flat, self.upsample.filter, stride=2)[..., 15:-15]
        active = self.act(up.reshape(batch, -1, 2 * length))
        padded = functional.pad(active.reshape(-1, 1, 2 * length), (5, 6), mode="replicate")
        lowpass = cast(_Filter, self.downsample["lowpass"]).filter
        return functional.conv1d(padded, lowpass, stride=2).reshape(batch, -1, length)


class _Filter(nn.Module):
    filter: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("filter", antialiasing_filter())


class _SnakeBeta(nn.Module):
    """x + sin²(a·x) / b, with logarithms of a and b for each channel."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.alpha = nn.Parameter(torch.zeros(width))
        self.beta = nn.Parameter(torch.zeros(width))

    def forward(self, x: Tensor) -> Tensor:
        frequency, magnitude = self.alpha.exp()[:, None], self.beta.exp()[:, None]
        return x + torch.sin(x * frequency) ** 2 / (magnitude + _LEAST)


def antialiasing_filter() -> Tensor:
    """Return the low-pass filter at a quarter of the rate, (1, 1, 12) float32 of sum 1.

    A sinc under a symmetric Kaiser window for a transition of half width 0.3.
    """
    attenuation = 2.285 * (TAPS // 2 - 1) * math.pi * 4 * 0.3 + 7.95
    window = torch.kaiser_window(TAPS, periodic=False, beta=0.1102 * (attenuation - 8.7), device="cpu")
    time = torch.arange(TAPS, device="cpu") - (TAPS - 1) / 2
    taps = 0.5 * window * torch.sinc(0.5 * time)
    return (taps / taps.sum()).view(1, 1, -1)


def fold_weight_norm(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return a checkpoint's entries with each weight-normalised pair made one `weight`.

    The pair may be named `weight_g`, `weight_v` or as by torch's parametrisations; what is
    folded already stays. w = g · v / ‖v‖, the norm over all axes but the first.
    """
    folded: dict[str, Tensor] = {}
    for name, tensor in state.items():
        plain = name.replace("parametrizations.weight.original0", "weight_g").replace(
            "parametrizations.weight.original1", "weight_v"
        )
        folded[plain] = tensor
    for gain in [name for name in folded if name.endswith(".weight_g")]:
        stem = gain.removesuffix("_g")
        direction, magnitude = folded.pop(f"{stem}_v"), folded.pop(gain)
        norm = torch.linalg.vector_norm(direction.float(), dim=(1, 2), keepdim=True)
        folded[stem] = magnitude * direction / norm
    return folded


def load_bigvgan(config: BigVGANConfig, state: Mapping[str, Tensor]) -> BigVGAN:
    """Return the generator with a checkpoint's entries, in eval mode on the CPU.

    Raises `RuntimeError` where the entries are not those of `config`.
    """
    with torch.device("meta"):
        generator = BigVGAN(config)
    generator.load_state_dict(fold_weight_norm(state), strict=True, assign=True)
    return generator.eval().requires_grad_(False)


def checkpoint_shapes(config: BigVGANConfig) -> dict[str, tuple[int, ...]]:
    """Return name and shape of each entry of an official checkpoint, with weight norm."""
    with torch.device("meta"):
        generator = BigVGAN(config)
    shapes: dict[str, tuple[int, ...]] = {}
    for name, tensor in generator.state_dict().items():
        shape = tuple(tensor.shape)
        if name.endswith(".weight"):
            shapes |= {f"{name}_g": (shape[0], 1, 1), f"{name}_v": shape}
        else:
            shapes[name] = shape
    return shapes


def deterministic_bigvgan(config: BigVGANConfig) -> BigVGAN:
    """Return the generator with deterministic weights and true filters.

    The last convolution is a hundredth as strong, which keeps the waveform out of saturation.
    """
    state = {
        name: antialiasing_filter() if name.endswith(".filter") else values(name, shape)
        for name, shape in checkpoint_shapes(config).items()
    }
    state["conv_post.weight_g"] *= _QUIET
    return load_bigvgan(config, state)
