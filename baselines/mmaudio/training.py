"""MMAudio's flow-matching loss, as its networks were trained with it.

Lipman et al., "Flow Matching for Generative Modeling", ICLR 2023, on straight paths;
times are logit-normal (Esser et al., "Scaling Rectified Flow Transformers", 2024).
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from v2abench.baselines.mmaudio.network import MMAudioNetwork
from v2abench.flow import Conditions

DROPOUT = 0.1
"""How often a clip's pictures, and independently its text, are withheld."""


@dataclass(frozen=True)
class Draw:
    """What is random in one training step: (B,) times, noise, and which clips go without what."""

    times: Tensor
    noise: Tensor
    without_video: Tensor
    without_text: Tensor


def draw(latents: Tensor, generator: torch.Generator, dropout: float = DROPOUT) -> Draw:
    """Draw one step for (B, L, C) normalised latents; `generator` is on the CPU, whatever their device."""
    device, count = latents.device, len(latents)
    times = torch.randn(count, generator=generator).sigmoid().to(device)
    noise = torch.randn(latents.shape, generator=generator).to(device)
    withheld = (torch.rand(2, count, generator=generator) < dropout).to(device)
    return Draw(times, noise, withheld[0], withheld[1])


def flow_matching_loss(
    network: MMAudioNetwork, latents: Tensor, conditions: Conditions, drawn: Draw
) -> Tensor:
    """Return each clip's mean squared error of the velocity, (B,).

    `latents` are (B, L, C) and normalised. What is withheld is replaced before the
    network's projections, so that the learned empty features get gradients.
    """
    given = withhold(network, conditions, drawn)
    times = drawn.times[:, None, None]
    x_t = (1 - times) * drawn.noise + times * latents
    velocity: Tensor = network(x_t, drawn.times, network.embed(given))
    return (velocity - (latents - drawn.noise)).square().mean(dim=(1, 2))


def withhold(network: MMAudioNetwork, conditions: Conditions, drawn: Draw) -> Conditions:
    """Return the conditions with those of `drawn` replaced by the network's empty ones."""
    empty = network.empty(conditions)
    without = {"clip": drawn.without_video, "sync": drawn.without_video, "text": drawn.without_text}
    return {
        name: torch.where(mask[:, None, None], empty[name], conditions[name])
        for name, mask in without.items()
    }
