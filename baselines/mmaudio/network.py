"""MMAudio's flow network: the velocity of audio latents under video, text and synchronisation features.

Time runs from t = 0 (noise) to t = 1 (data), as upstream. L is the length of the
latent, C its channels; conditions have lengths of their own, which the weights do not
depend on.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn

from v2abench.baselines.mmaudio.layers import (
    Block,
    ChannelLastConv1d,
    FinalBlock,
    GatedMLP,
    JointBlock,
    TimeEmbedding,
    convolution,
    hidden_width,
    rotation,
)
from v2abench.flow import Conditions, Embedded

SYNC_STEPS = 8
"""Synchronisation features of one segment."""

DERIVED = ("t_embed.freqs", "latent_rot", "clip_rot")
"""Entries of old checkpoints that are computed here."""


@dataclass(frozen=True)
class NetworkConfig:
    """What tells one variant of the network from another.

    `depth` counts all blocks, of which the last `fused_depth` see the latent alone. `v2`
    has SiLU behind the first layer of each stream and more frequencies of time.
    """

    latent_channels: int
    width: int
    depth: int
    fused_depth: int
    v2: bool = False
    clip_channels: int = 1024
    sync_channels: int = 768
    text_channels: int = 1024
    text_tokens: int = 77


class MMAudioNetwork(nn.Module):
    """The network, with the entry names of the official checkpoints.

    Conditions are `clip` (B, N, 1024), `sync` (B, 8 S, 768) and `text` (B, 77, 1024).
    """

    latent_mean: Tensor
    latent_std: Tensor
    empty_string_feat: Tensor

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.config = config
        width, channels = config.width, config.latent_channels
        joint = config.depth - config.fused_depth
        self.sync_pos_emb = nn.Parameter(torch.zeros(1, 1, SYNC_STEPS, config.sync_channels))
        self.register_buffer("latent_mean", torch.zeros(1, 1, channels))
        self.register_buffer("latent_std", torch.ones(1, 1, channels))
        self.register_buffer("empty_string_feat", torch.zeros(config.text_tokens, config.text_channels))
        self.empty_clip_feat = nn.Parameter(torch.zeros(1, config.clip_channels))
        self.empty_sync_feat = nn.Parameter(torch.zeros(1, config.sync_channels))
        self.audio_input_proj = _convolved(channels, width, config.v2)
        self.clip_input_proj = _projected(config.clip_channels, width, 3, config.v2)
        self.sync_input_proj = _convolved(config.sync_channels, width, config.v2, inner=3)
        self.text_input_proj = _projected(config.text_channels, width, None, config.v2)
        self.clip_cond_proj = nn.Linear(width, width)
        self.text_cond_proj = nn.Linear(width, width)
        self.global_cond_mlp = GatedMLP(width, hidden_width(width))
        self.t_embed = TimeEmbedding(width, v2=config.v2)
        self.joint_blocks = nn.ModuleList(JointBlock(width, last=i == joint - 1) for i in range(joint))
        self.fused_blocks = nn.ModuleList(Block(width, kernel=3) for _ in range(config.fused_depth))
        self.final_layer = FinalBlock(width, channels)

    def embed(self, conditions: Conditions) -> Embedded:
        """Return the conditions after the network's projections, which do not depend on t.

        `clip`, `sync` and `text` keep their lengths; `overall` is (B, 1, width).
        """
        steps = torch.unflatten(conditions["sync"], 1, (-1, SYNC_STEPS))
        sync = self.sync_input_proj((steps + self.sync_pos_emb).flatten(1, 2))
        clip = self.clip_input_proj(conditions["clip"])
        text = self.text_input_proj(conditions["text"])
        told = self.clip_cond_proj(clip.mean(dim=1)) + self.text_cond_proj(text.mean(dim=1))
        return {"clip": clip, "sync": sync, "text": text, "overall": self.global_cond_mlp(told)[:, None]}

    def empty(self, conditions: Conditions, text: Tensor | None = None) -> Conditions:
        """Return conditions of the same shapes that say nothing, or only the (77, 1024) `text`."""
        given = self.empty_string_feat if text is None else text
        return {
            "clip": self.empty_clip_feat.expand_as(conditions["clip"]),
            "sync": self.empty_sync_feat.expand_as(conditions["sync"]),
            "text": given.expand_as(conditions["text"]),
        }

    def forward(self, x_t: Tensor, t: Tensor, embedded: Embedded) -> Tensor:
        """Return the velocity data - noise at the (B, L, C) normalised latents `x_t` and (B,) times."""
        latent, clip, text = self.audio_input_proj(x_t), embedded["clip"], embedded["text"]
        overall = self.t_embed(t)[:, None] + embedded["overall"]
        local = overall + resampled(embedded["sync"], x_t.shape[1])
        length, frames = x_t.shape[1], clip.shape[1]
        # Both clocks agree: a picture stands beside the latents of its time.
        rotations = (
            rotation(length, 1.0, x_t.device),
            rotation(frames, length / frames, x_t.device),
        )
        for block in self.joint_blocks:
            latent, clip, text = block((latent, clip, text), local, overall, rotations)
        for block in self.fused_blocks:
            latent = block(latent, local, rotations[0])
        return cast(Tensor, self.final_layer(latent, overall))

    def normalise(self, latents: Tensor) -> Tensor:
        """From the autoencoder's latents to those that the flow works on."""
        return (latents - self.latent_mean) / self.latent_std

    def unnormalise(self, latents: Tensor) -> Tensor:
        """From the flow's latents to those of the autoencoder."""
        return latents * self.latent_std + self.latent_mean


def _convolved(inside: int, width: int, v2: bool, inner: int = 7) -> nn.Sequential:
    first: ChannelLastConv1d = convolution(inside, width, 7)
    return nn.Sequential(first, nn.SiLU() if v2 else nn.SELU(), GatedMLP(width, hidden_width(width), inner))


def _projected(inside: int, width: int, kernel: int | None, v2: bool) -> nn.Sequential:
    between = [nn.SiLU()] if v2 else []
    return nn.Sequential(nn.Linear(inside, width), *between, GatedMLP(width, hidden_width(width), kernel))


def resampled(tokens: Tensor, length: int) -> Tensor:
    """Return (B, N, D) tokens at `length` places, the nearest one each (torch's `nearest-exact`)."""
    return torch.nn.functional.interpolate(
        tokens.transpose(1, 2), size=length, mode="nearest-exact"
    ).transpose(1, 2)


def checkpoint_entries(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return a checkpoint's entries without those that are derived."""
    return {name: tensor for name, tensor in state.items() if name not in DERIVED}
