"""The vector field of Frieren: a transformer with convolutions, told of the video by its channels.

Time is a token before the sequence; the condition is joined to the latent over the
channels, frame by frame. There is no cross attention and no adaptive norm. Entry names
are those of upstream's `ChannelConcatDiT` and of its Lightning checkpoint.
"""

import math
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

FRAMES_PER_ROW = 8
"""Latent frames for each row of the condition."""

_LONGEST_PERIOD = 10000
_KERNEL = 9


@dataclass(frozen=True)
class EstimatorSize:
    """Channels of a latent, of a video row and of the condition; width, heads, blocks, positions."""

    channels: int = 20
    rows: int = 512
    context: int = 768
    width: int = 576
    heads: int = 8
    blocks: int = 4
    positions: int = 1000


OFFICIAL = EstimatorSize()


class FlowNetwork(nn.Module):
    """What is trained: the vector field, and the projection of the video's rows before it."""

    def __init__(self, size: EstimatorSize = OFFICIAL) -> None:
        super().__init__()
        self.model = nn.ModuleDict({"diffusion_model": Estimator(size)})
        rows = nn.Sequential(nn.Linear(size.rows, size.context))
        self.cond_stage_model = nn.ModuleDict({"embedder": rows})

    @property
    def estimator(self) -> "Estimator":
        """The vector field."""
        return cast(Estimator, self.model["diffusion_model"])

    def embed(self, rows: Tensor) -> Tensor:
        """Return the condition of each latent frame, (B, 8 T, width / 2), for (B, T, 512) video rows."""
        return self.estimator.embed(self.cond_stage_model["embedder"](rows))

    def forward(self, x_t: Tensor, steps: Tensor, condition: Tensor) -> Tensor:
        """Return the velocity of (B, channels, L) `x_t` at (B,) times in thousandths."""
        return cast(Tensor, self.estimator(x_t, steps, condition))


class Estimator(nn.Module):
    """The vector field; `embed` is apart, as it need not be done for every step of sampling."""

    def __init__(self, size: EstimatorSize) -> None:
        super().__init__()
        width = size.width
        self.t_embedder = _TimeEmbedder(width)
        self.c_embedder = _ConditionEmbedder(size.context, width)
        self.proj_in = nn.Conv1d(size.channels, width, 5, padding=2)
        self.x_proj = nn.Linear(width, width // 2)
        self.c_proj = nn.Linear(width, width // 2)
        self.pos_emb = nn.Embedding(size.positions, width)
        self.blocks = nn.ModuleList(_Block(width, size.heads) for _ in range(size.blocks))
        self.final_layer = _Final(width, size.channels)

    def embed(self, context: Tensor) -> Tensor:
        """Return (B, 8 T, width / 2) for a (B, T, context) condition: each row for eight frames."""
        rows = self.c_proj(self.c_embedder(context))
        return cast(Tensor, rows.repeat_interleave(FRAMES_PER_ROW, dim=1))

    def forward(self, x_t: Tensor, steps: Tensor, condition: Tensor) -> Tensor:
        """Return the velocity of (B, channels, L) `x_t` at (B,) times in thousandths."""
        latent = self.x_proj(self.proj_in(x_t).mT)
        frames = torch.cat([latent, condition], dim=-1)
        tokens = torch.cat([self.t_embedder(steps)[:, None], frames], dim=1)
        x = (tokens + self.pos_emb.weight[: tokens.shape[1]]).mT
        for block in self.blocks:
            x = block(x)
        return cast(Tensor, self.final_layer(x[..., 1:]))


class _TimeEmbedder(nn.Module):
    def __init__(self, width: int, sinusoids: int = 256) -> None:
        super().__init__()
        self.frequencies = sinusoids // 2
        self.mlp = nn.Sequential(nn.Linear(sinusoids, width), nn.SiLU(), nn.Linear(width, width))

    def forward(self, steps: Tensor) -> Tensor:
        order = torch.arange(self.frequencies, device=steps.device, dtype=torch.float32) / self.frequencies
        angles = steps.float()[:, None] * torch.exp(-math.log(_LONGEST_PERIOD) * order)
        return cast(Tensor, self.mlp(torch.cat([angles.cos(), angles.sin()], dim=1)))


class _ConditionEmbedder(nn.Module):
    def __init__(self, context: int, width: int) -> None:
        super().__init__()
        activation = nn.GELU(approximate="tanh")
        self.mlp = nn.Sequential(
            nn.Linear(context, width), activation, nn.Linear(width, width), nn.LayerNorm(width)
        )

    def forward(self, context: Tensor) -> Tensor:
        return cast(Tensor, self.mlp(context))


class _Block(nn.Module):
    """(B, width, 1 + L) with the token of time in front; a transformer block between two projections."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(32, width, eps=1e-6)
        self.proj_in = nn.Conv1d(width, width, 1)
        self.transformer_blocks = nn.ModuleList([_TransformerBlock(width, heads)])
        self.proj_out = nn.Conv1d(width, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.transformer_blocks[0](self.proj_in(self.norm(x)).mT)
        return cast(Tensor, x + self.proj_out(tokens.mT))


class _TransformerBlock(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.attn1 = _SelfAttention(width, heads)
        self.attn2 = _SelfAttention(width, heads)
        self.ff = _FeedForward(width)
        self.norm1 = nn.LayerNorm(width)
        self.norm2 = nn.LayerNorm(width)
        self.norm3 = nn.LayerNorm(width)

    def forward(self, tokens: Tensor) -> Tensor:
        tokens = tokens + self.attn1(self.norm1(tokens))
        tokens = tokens + self.attn2(self.norm2(tokens))
        return cast(Tensor, tokens + self.ff(self.norm3(tokens).mT).mT)


class _SelfAttention(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.to_q = nn.Linear(width, width, bias=False)
        self.to_k = nn.Linear(width, width, bias=False)
        self.to_v = nn.Linear(width, width, bias=False)
        self.to_out = nn.Sequential(nn.Linear(width, width))

    def forward(self, tokens: Tensor) -> Tensor:
        query, key, value = (
            project(tokens).unflatten(2, (self.heads, -1)).transpose(1, 2)
            for project in (self.to_q, self.to_k, self.to_v)
        )
        attended = functional.scaled_dot_product_attention(query, key, value)
        return cast(Tensor, self.to_out(attended.transpose(1, 2).flatten(2)))


class _FeedForward(nn.Module):
    """A gated feed-forward layer that convolves over time."""

    def __init__(self, width: int) -> None:
        super().__init__()
        inner = 4 * width
        gated = nn.ModuleDict({"proj": nn.Conv1d(width, 2 * inner, _KERNEL, padding=_KERNEL // 2)})
        narrowing = nn.Conv1d(inner, width, _KERNEL, padding=_KERNEL // 2)
        self.net = nn.ModuleList([gated, nn.Identity(), narrowing])

    def forward(self, x: Tensor) -> Tensor:
        values, gate = self.net[0]["proj"](x).chunk(2, dim=1)  # type: ignore[index]
        return cast(Tensor, self.net[2](values * functional.gelu(gate)))


class _Final(nn.Module):
    def __init__(self, width: int, channels: int) -> None:
        super().__init__()
        self.norm_final = nn.GroupNorm(16, width)
        self.conv1d = nn.Conv1d(width, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        return cast(Tensor, self.conv1d(self.norm_final(x)))
