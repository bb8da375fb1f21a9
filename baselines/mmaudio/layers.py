"""The parts of MMAudio's flow network: gated multi-layer perceptrons, rotations, modulated blocks.

Sequences are (B, N, D): batch, time, channel. Cheng et al., "MMAudio: Taming Multimodal
Joint Training for High-Quality Video-to-Audio Synthesis", CVPR 2025, section 3.
"""

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

HEAD_WIDTH = 64

_THETA = 10000.0
_NORM_EPSILON = torch.finfo(torch.float32).eps

Rotation = tuple[Tensor, Tensor]
"""Cosines and sines, (N, HEAD_WIDTH / 2) float32, by which queries and keys are turned."""


class ChannelLastConv1d(nn.Conv1d):
    """A convolution along time, zero-padded, over (B, N, channels)."""

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 (torch's name)
        """Return (B, N, out_channels)."""
        return super().forward(input.transpose(1, 2)).transpose(1, 2)


def convolution(inside: int, outside: int, kernel: int, *, bias: bool = True) -> ChannelLastConv1d:
    """Return a convolution along time that keeps the length."""
    return ChannelLastConv1d(inside, outside, kernel, padding=kernel // 2, bias=bias)


class GatedMLP(nn.Module):
    """w2(silu(w1 x) · w3 x) without biases; with a `kernel`, of convolutions along time."""

    def __init__(self, width: int, hidden: int, kernel: int | None = None) -> None:
        super().__init__()
        self.w1 = _projection(width, hidden, kernel)
        self.w2 = _projection(hidden, width, kernel)
        self.w3 = _projection(width, hidden, kernel)

    def forward(self, x: Tensor) -> Tensor:
        """Return (..., width)."""
        return cast(Tensor, self.w2(functional.silu(self.w1(x)) * self.w3(x)))


def _projection(inside: int, outside: int, kernel: int | None) -> nn.Module:
    if kernel is None:
        return nn.Linear(inside, outside, bias=False)
    return convolution(inside, outside, kernel, bias=False)


def hidden_width(width: int) -> int:
    """Return the inner width of a gated perceptron: 8/3 of `width`, up to a multiple of 256."""
    return 256 * math.ceil(int(2 * 4 * width / 3) / 256)


@lru_cache(maxsize=16)
@torch.inference_mode(False)
def rotation(length: int, scale: float, device: torch.device) -> Rotation:
    """Return the rotary position embedding of `length` places that lie `scale` apart.

    What sampling has made here serves training too, hence no inference tensors.
    """
    halves = torch.arange(0, HEAD_WIDTH, 2, dtype=torch.float32, device=device)
    frequencies = 1.0 / (_THETA ** (halves / HEAD_WIDTH)) * scale
    angles = torch.outer(torch.arange(length, dtype=torch.float32, device=device), frequencies)
    return angles.cos(), angles.sin()


def rotate(x: Tensor, by: Rotation) -> Tensor:
    """Turn the pairs of neighbouring channels of (B, heads, N, HEAD_WIDTH), in float32."""
    cosines, sines = by
    even, odd = torch.unflatten(x.float(), -1, (-1, 2)).unbind(-1)
    turned = torch.stack([even * cosines - odd * sines, even * sines + odd * cosines], dim=-1)
    return turned.flatten(-2).to(x.dtype)


def modulate(x: Tensor, shift: Tensor, scale: Tensor) -> Tensor:
    """Return the layer-normalised `x`, scaled and shifted."""
    return functional.layer_norm(x, x.shape[-1:]) * (1 + scale) + shift


@dataclass(frozen=True)
class Heads:
    """Queries, keys and values, each (B, heads, N, HEAD_WIDTH)."""

    query: Tensor
    key: Tensor
    value: Tensor


def attend(streams: list[Heads]) -> list[Tensor]:
    """Let all tokens of all streams attend to each other; return (B, N, D) for each stream."""
    query, key, value = (
        torch.cat(parts, dim=2) for parts in zip(*((s.query, s.key, s.value) for s in streams), strict=True)
    )
    found = functional.scaled_dot_product_attention(query, key, value)
    merged = found.transpose(1, 2).flatten(2)
    return list(torch.split(merged, [s.query.shape[2] for s in streams], dim=1))


class _Projections(nn.Module):
    """To queries, keys and values, which alternate channel by channel in the output of `qkv`."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.qkv = nn.Linear(width, 3 * width)
        self.q_norm = nn.RMSNorm(HEAD_WIDTH, eps=_NORM_EPSILON)
        self.k_norm = nn.RMSNorm(HEAD_WIDTH, eps=_NORM_EPSILON)

    def forward(self, x: Tensor, by: Rotation | None) -> Heads:
        parts = self.qkv(x).unflatten(-1, (-1, HEAD_WIDTH, 3))
        query, key, value = parts.permute(4, 0, 2, 1, 3).unbind(0)
        query, key = self.q_norm(query.float()), self.k_norm(key.float())
        if by is not None:
            query, key = rotate(query, by), rotate(key, by)
        return Heads(query.to(value.dtype), key.to(value.dtype), value)


class Block(nn.Module):
    """A transformer block of one modality, modulated by a condition (adaptive layer norm).

    `kernel` makes its projections convolutions along time. A block with `pre_only` has a
    say in the attention, and no output.
    """

    def __init__(self, width: int, kernel: int | None = None, *, pre_only: bool = False) -> None:
        super().__init__()
        self.attn = _Projections(width)
        self.adaLN_modulation = nn.Sequential(nn.SiLU(), nn.Linear(width, (2 if pre_only else 6) * width))
        self.pre_only = pre_only
        if not pre_only:
            self.linear1 = nn.Linear(width, width) if kernel is None else convolution(width, width, kernel)
            self.ffn = GatedMLP(width, hidden_width(width), kernel)

    def before(self, x: Tensor, condition: Tensor, by: Rotation | None) -> tuple[Heads, tuple[Tensor, ...]]:
        """Return what the block brings to the attention, and what `after` needs."""
        modulation = self.adaLN_modulation(condition).chunk(2 if self.pre_only else 6, dim=-1)
        shift, scale = modulation[:2]
        return self.attn(modulate(x, shift, scale), by), tuple(modulation[2:])

    def after(self, x: Tensor, attended: Tensor, rest: tuple[Tensor, ...]) -> Tensor:
        """Return the block's output for its input `x`."""
        gate, shift_mlp, scale_mlp, gate_mlp = rest
        x = torch.addcmul(x, self.linear1(attended), gate)
        return torch.addcmul(x, self.ffn(modulate(x, shift_mlp, scale_mlp)), gate_mlp)

    def forward(self, x: Tensor, condition: Tensor, by: Rotation) -> Tensor:
        """Return the output of a block whose tokens attend to each other alone."""
        heads, rest = self.before(x, condition, by)
        return self.after(x, attend([heads])[0], rest)


class JointBlock(nn.Module):
    """One block each for latent, clip and text, which meet in one attention."""

    def __init__(self, width: int, *, last: bool) -> None:
        super().__init__()
        self.last = last
        self.latent_block = Block(width, kernel=3)
        self.clip_block = Block(width, kernel=3, pre_only=last)
        self.text_block = Block(width, pre_only=last)

    def forward(
        self,
        streams: tuple[Tensor, Tensor, Tensor],
        local: Tensor,
        overall: Tensor,
        by: tuple[Rotation, Rotation],
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return the streams (latent, clip, text); after the last joint block only latent goes on.

        `local` modulates the latent, one condition a token; `overall` the other two.
        """
        latent, clip, text = streams
        latent_heads, latent_rest = self.latent_block.before(latent, local, by[0])
        clip_heads, clip_rest = self.clip_block.before(clip, overall, by[1])
        text_heads, text_rest = self.text_block.before(text, overall, None)
        attended = attend([latent_heads, clip_heads, text_heads])
        latent = self.latent_block.after(latent, attended[0], latent_rest)
        if not self.last:
            clip = self.clip_block.after(clip, attended[1], clip_rest)
            text = self.text_block.after(text, attended[2], text_rest)
        return latent, clip, text


class FinalBlock(nn.Module):
    """From the last tokens to the velocity."""

    def __init__(self, width: int, outside: int) -> None:
        super().__init__()
        self.adaLN_modulation = nn.Sequential(nn.SiLU(), nn.Linear(width, 2 * width))
        self.conv = convolution(width, outside, 7)

    def forward(self, x: Tensor, overall: Tensor) -> Tensor:
        """Return (B, N, outside)."""
        shift, scale = self.adaLN_modulation(overall).chunk(2, dim=-1)
        return cast(Tensor, self.conv(modulate(x, shift, scale)))


class TimeEmbedding(nn.Module):
    """A sinusoidal embedding of flow time and a perceptron over it.

    Version 1 takes 256 frequencies from 1 down and t as it is; version 2 takes `width`
    frequencies from 10000 down.
    """

    def __init__(self, width: int, *, v2: bool) -> None:
        super().__init__()
        self.channels = width if v2 else 256
        self.scale = 10000.0 if v2 else 1.0
        self.mlp = nn.Sequential(nn.Linear(self.channels, width), nn.SiLU(), nn.Linear(width, width))

    def forward(self, t: Tensor) -> Tensor:
        """Return (B, width) for (B,) times."""
        exponents = torch.arange(0, self.channels, 2, dtype=torch.float32, device=t.device) / self.channels
        # In this order of operations: at scale 10000 another rounding shifts phases by up to 1e-3.
        frequencies = self.scale * (1.0 / (10000.0**exponents))
        angles = t.float()[:, None] * frequencies
        return cast(Tensor, self.mlp(torch.cat([angles.cos(), angles.sin()], dim=-1)))
