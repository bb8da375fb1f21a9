"""Stochastic sampling of a flow, with the probability of every step.

One step goes from t to t + h, t = 0 being the noise: x' = mean + std · n, n standard normal. With any
diffusion g(t) ≥ 0 this leaves the marginals of the flow as they are (Flow-GRPO, arXiv 2505.05470;
Albergo et al., arXiv 2303.08797):

    mean = x · (1 - g²h / (2(1-t))) + h · v · (1 + g²t / (2(1-t))),   std = g√h

- `flow`: g = a·√((1-t)/t), in the first step with h in place of t, where it would be infinite.
- `dance`: g = a (DanceGRPO, arXiv 2505.07818).
- `cps`: no discretised equation; mean and noise are mixed so that the variance is kept (Flow-CPS,
  arXiv 2509.05952). It contracts the distribution: see docs/finetune.md. Its last step has no noise.
- `ode`, or a = 0: Euler.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

Kind = Literal["flow", "dance", "cps", "ode"]

Velocity = Callable[[Tensor, Tensor], Tensor]
"""From (B, ...) x and (B,) t to the (B, ...) velocity."""


@dataclass(frozen=True)
class SDE:
    """The kind of noise and its level a: 0.7 for `flow` and `cps`, 0.3 for `dance`, as published."""

    kind: Kind = "flow"
    noise_level: float = 0.7

    def diffusion(self, t: float, t_next: float) -> float:
        """Return g of the step from `t` to `t_next`; means nothing for `cps`."""
        match self.kind:
            case "flow":
                return self.noise_level * math.sqrt((1 - t) / (t or t_next))
            case "dance":
                return self.noise_level
            case "ode" | "cps":
                return 0.0


@dataclass(frozen=True)
class Transition:
    """The Gaussian of x': its (B, ...) mean and one deviation, 0 where the step is deterministic."""

    mean: Tensor
    std: float

    def draw(self, noise: Tensor) -> Tensor:
        """Return x' for standard normal `noise`."""
        return self.mean + self.std * noise

    def log_prob(self, x_next: Tensor, reduction: Literal["mean", "sum"] = "mean") -> Tensor:
        """Return the (B,) log-density of x', by default the mean over elements, as DDPO and Flow-GRPO do.

        Raises `ValueError` for a deterministic step, which has none.
        """
        if self.std == 0:
            raise ValueError("a step without noise has no density")
        constant = math.log(self.std) + 0.5 * math.log(2 * math.pi)
        density = -(x_next - self.mean).square() / (2 * self.std**2) - constant
        density = density.flatten(1)
        return density.mean(1) if reduction == "mean" else density.sum(1)


def transition(x: Tensor, velocity: Tensor, t: float, t_next: float, sde: SDE) -> Transition:
    """Return the step from `t` to `t_next` at (B, ...) `x`."""
    step = t_next - t
    if sde.kind == "cps" and sde.noise_level:
        std = (1 - t_next) * math.sin(sde.noise_level * math.pi / 2)
        clean, noise = x + (1 - t) * velocity, x - t * velocity
        return Transition(t_next * clean + math.sqrt((1 - t_next) ** 2 - std**2) * noise, std)
    g = sde.diffusion(t, t_next)
    if g == 0:
        return Transition(x + step * velocity, 0.0)
    pull = g**2 / (2 * (1 - t))
    return Transition(x * (1 - pull * step) + step * velocity * (1 + pull * t), g * math.sqrt(step))


@dataclass(frozen=True)
class Step:
    """One recorded step: its times, (B, ...) x before and after, the mean and (B,) log-density of then."""

    t: float
    t_next: float
    before: Tensor
    after: Tensor
    log_prob: Tensor
    mean: Tensor


@torch.no_grad()
def roll_out(
    velocity: Velocity,
    noise: Tensor,
    grid: Tensor,
    *,
    sde: SDE,
    window: range,
    step_noise: Callable[[int], Tensor],
) -> tuple[Tensor, list[Step]]:
    """Return the data end of every sample and the recorded steps, those of `window`.

    Outside of the window sampling is Euler's. `grid` are the times from 0 to 1, `step_noise(k)` the
    (B, ...) standard normal of step k. All of it in float32.
    """
    x, steps = noise, []
    for index in range(len(grid) - 1):
        t, t_next = float(grid[index]), float(grid[index + 1])
        moved = velocity(x, torch.full((len(x),), t, device=x.device, dtype=x.dtype))
        if index not in window:
            x = transition(x, moved, t, t_next, SDE("ode")).mean
            continue
        step = transition(x, moved, t, t_next, sde)
        after = step.draw(step_noise(index)) if step.std else step.mean
        if step.std:
            steps.append(Step(t, t_next, x, after, step.log_prob(after), step.mean))
        x = after
    return x, steps
