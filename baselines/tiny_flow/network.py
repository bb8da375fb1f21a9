"""The rectified-flow transformer: 100 tokens of 40 ms, one block like the other.

Peebles and Xie, "Scalable Diffusion Models with Transformers", 2023, made small: the time and
what is known of the whole clip modulate every block; what is known of each 40 ms is added to
its token. Positions are rotary (Su et al., 2021), so any length goes through.
"""

from __future__ import annotations

import math
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from v2abench.baselines.tiny_flow.latent import COMPONENTS
from v2abench.baselines.tiny_flow.vision import FEATURES
from v2abench.flow import Conditions, Embedded

WIDTH = 128
BLOCKS = 4
HEADS = 4

_FREQUENCIES = 64


class FlowTransformer(nn.Module):
    """The velocity field, with the projections of the conditions; `words` is the vocabulary's size."""

    def __init__(self, words: int) -> None:
        super().__init__()
        self.frames = nn.Sequential(nn.Linear(FEATURES, WIDTH), nn.GELU(), nn.Linear(WIDTH, WIDTH))
        self.pooled = nn.Sequential(nn.Linear(2 * FEATURES, WIDTH), nn.GELU(), nn.Linear(WIDTH, WIDTH))
        self.words = nn.Linear(words, WIDTH, bias=False)
        self.unseen = nn.Parameter(torch.zeros(WIDTH))
        self.time = nn.Sequential(nn.Linear(2 * _FREQUENCIES, WIDTH), nn.SiLU(), nn.Linear(WIDTH, WIDTH))
        self.enter = nn.Conv1d(COMPONENTS, WIDTH, 3, padding=1)
        self.blocks = nn.ModuleList(_Block() for _ in range(BLOCKS))
        self.modulate = nn.Linear(WIDTH, 2 * WIDTH)
        self.leave = nn.Linear(WIDTH, COMPONENTS)
        for last in (self.modulate, self.leave, *(block.modulate for block in self.blocks)):
            nn.init.zeros_(cast(nn.Linear, last).weight)
            nn.init.zeros_(cast(nn.Linear, last).bias)

    def embed(self, conditions: Conditions) -> Embedded:
        """Project (B, T, 128) `frames`, (B, V) `words` and (B, 1) `seen` (0 or 1) once for all times."""
        features, seen = conditions["frames"], conditions["seen"]
        pooled = torch.cat([features.mean(dim=1), features.amax(dim=1)], dim=1)
        return {
            "tokens": self.frames(features) * seen[:, None] + (1 - seen[:, None]) * self.unseen,
            "clip": self.pooled(pooled) * seen + self.words(conditions["words"]),
        }

    def forward(self, x: Tensor, t: Tensor, embedded: Embedded) -> Tensor:
        """Return the (B, T, 64) velocity at (B, T, 64) `x` and (B,) `t`."""
        clip = functional.silu(self.time(_waves(t)) + embedded["clip"])
        hidden = self.enter(x.transpose(1, 2)).transpose(1, 2) + embedded["tokens"]
        turns = _turns(x.shape[1], x.device)
        for block in self.blocks:
            hidden = block(hidden, clip, turns)
        shift, scale = self.modulate(clip)[:, None].chunk(2, dim=-1)
        return cast(Tensor, self.leave(_modulated(hidden, shift, scale)))


class _Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.modulate = nn.Linear(WIDTH, 6 * WIDTH)
        self.attend = nn.Linear(WIDTH, 3 * WIDTH)
        self.attended = nn.Linear(WIDTH, WIDTH)
        self.widen = nn.Linear(WIDTH, 3 * WIDTH)
        self.narrow = nn.Linear(3 * WIDTH, WIDTH)

    def forward(self, x: Tensor, clip: Tensor, turns: Tensor) -> Tensor:
        shift, scale, gate, shift_2, scale_2, gate_2 = self.modulate(clip)[:, None].chunk(6, dim=-1)
        x = torch.addcmul(x, gate, self._attention(_modulated(x, shift, scale), turns))
        wide = functional.gelu(self.widen(_modulated(x, shift_2, scale_2)))
        return torch.addcmul(x, gate_2, self.narrow(wide))

    def _attention(self, x: Tensor, turns: Tensor) -> Tensor:
        heads = self.attend(x).unflatten(-1, (3, HEADS, -1)).permute(2, 0, 3, 1, 4)
        query, key = _turned(heads[:2], turns)
        out = functional.scaled_dot_product_attention(query, key, heads[2])
        return cast(Tensor, self.attended(out.transpose(1, 2).flatten(2)))


def _modulated(x: Tensor, shift: Tensor, scale: Tensor) -> Tensor:
    return torch.addcmul(shift, functional.layer_norm(x, (WIDTH,)), 1 + scale)


def _waves(t: Tensor) -> Tensor:
    """Return (B, 128) sines and cosines of the time, from a tenth of a turn to a hundred."""
    turns = torch.logspace(-1, 2, _FREQUENCIES, device=t.device)
    angles = 2 * math.pi * t[:, None] * turns
    return torch.cat([angles.sin(), angles.cos()], dim=1)


def _turns(length: int, device: torch.device) -> Tensor:
    """Return the (length, pairs) complex numbers of the rotary positions."""
    pairs = WIDTH // HEADS // 2
    speeds = 1000 ** (-torch.arange(pairs, device=device) / pairs)
    angles = torch.arange(length, device=device)[:, None] * speeds
    return torch.polar(torch.ones_like(angles), angles)


def _turned(x: Tensor, turns: Tensor) -> Tensor:
    pairs = torch.view_as_complex(x.reshape(*x.shape[:-1], -1, 2))
    return torch.view_as_real(pairs * turns).flatten(-2)
