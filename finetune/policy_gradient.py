"""The losses of DDPO and GRPO over recorded steps: clipped ratios, and distance to the reference."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

KL = Literal["exact", "flow_grpo", "velocity"]


@dataclass(frozen=True)
class Clipping:
    """PPO's clip range of the ratio, `epsilon` below 1 and `epsilon_high` above (None: the same)."""

    epsilon: float = 1e-4
    epsilon_high: float | None = None
    advantage: float = 5.0

    @property
    def high(self) -> float:
        """The range above 1."""
        return self.epsilon if self.epsilon_high is None else self.epsilon_high


def clipped_losses(log_ratio: Tensor, advantage: Tensor, clipping: Clipping) -> Tensor:
    """Return the (B,) losses max(-A·r, -A·clip(r)), A clipped too (Schulman et al., 2017)."""
    bounded = advantage.clamp(-clipping.advantage, clipping.advantage)
    ratio = log_ratio.exp()
    inside = ratio.clamp(1 - clipping.epsilon, 1 + clipping.high)
    return torch.maximum(-bounded * ratio, -bounded * inside)


@torch.no_grad()
def ratio_diagnostics(log_ratio: Tensor, clipping: Clipping) -> dict[str, float]:
    """Return what to log of the (B,) log-ratios; `approx_kl` is the mean of (r - 1) - log r."""
    ratio = log_ratio.exp()
    return {
        "ratio/mean": float(ratio.mean()),
        "ratio/min": float(ratio.min()),
        "ratio/max": float(ratio.max()),
        "clip_frac/low": float((ratio < 1 - clipping.epsilon).double().mean()),
        "clip_frac/high": float((ratio > 1 + clipping.high).double().mean()),
        "approx_kl": float((ratio - 1 - log_ratio).mean()),
    }


def normalised_log_ratio(log_ratio: Tensor, mean: Tensor, old_mean: Tensor, std: float) -> Tensor:
    """Return the log-ratio without its bias and its scale 1/std (GRPO-Guard, arXiv 2510.22319).

    It equals the mean over elements of (mean - old_mean) · n, with n the noise that was drawn.
    """
    moved = (mean - old_mean).square().flatten(1).mean(1)
    return std * log_ratio + moved / (2 * std)


def kl_to_reference(
    means: tuple[Tensor, Tensor], velocities: tuple[Tensor, Tensor], std: float, step: float, kind: KL
) -> Tensor:
    """Return the (B,) distances of one step from policy to reference, means over elements.

    `exact` is the divergence of the two Gaussians; `flow_grpo` that times the step, as its code has
    it; `velocity` the plain squared difference of the velocities.
    """
    first, second = velocities if kind == "velocity" else means
    squared = (first - second).square().flatten(1).mean(1)
    match kind:
        case "velocity":
            return squared
        case "exact":
            return squared / (2 * std**2)
        case "flow_grpo":
            return squared / (2 * std**2) * step
