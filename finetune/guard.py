"""The check before every training that the model's time and sign run the way it says.

A model whose adapter has time or sign the wrong way round trains without a sign of it: the loss
falls, accuracy rises, the samples get worse. But it foretells its own samples badly, which shows.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass

import torch
from torch import Tensor

from v2abench.errors import V2ABenchError
from v2abench.finetune.draws import generator
from v2abench.finetune.losses import error
from v2abench.flow import Conditions

Velocity = Callable[[Tensor, Tensor, Conditions], Tensor]


class ConventionError(V2ABenchError):
    """The model's velocity does not point from noise to data as time runs from 0 to 1."""


@dataclass(frozen=True)
class Convention:
    """Mean squared error on the model's own samples, with time and sign as they are, and either flipped."""

    error: float
    flipped_time: float
    flipped_sign: float

    def record(self) -> dict[str, float]:
        """Return the numbers by name."""
        return asdict(self)


@torch.no_grad()
def check_convention(
    velocity: Velocity, latents: Tensor, conditions: Conditions, seed: int = 0
) -> Convention:
    """Compare the three errors on (B, ...) own samples, each at 8 times spread over [0, 1].

    Raises `ConventionError` unless the error as declared is the least.
    """
    drawn = generator(seed, "convention")
    totals = torch.zeros(3, dtype=torch.float64)
    for part in range(8):
        t = ((part + torch.rand(len(latents), generator=drawn)) / 8).to(latents)
        noise = torch.randn(latents.shape, generator=drawn).to(latents)
        x_t, target = interpolate(noise, latents, t), latents - noise
        right, turned = velocity(x_t, t, conditions), velocity(x_t, 1 - t, conditions)
        found = [error(right, target), error(turned, target), error(-right, target)]
        totals += torch.stack([one.double().mean().cpu() for one in found])
    convention = Convention(*(totals / 8).tolist())
    if convention.error < min(convention.flipped_time, convention.flipped_sign):
        return convention
    wrong = "time" if convention.flipped_time < convention.flipped_sign else "sign"
    raise ConventionError(
        f"the model's {wrong} seems to run the wrong way: it misses its samples by {convention.error:.3g}, "
        f"with time flipped by {convention.flipped_time:.3g}, with the sign flipped by "
        f"{convention.flipped_sign:.3g}; mend its adapter (v2abench/flow.py says how time runs), or train on "
        "samples of this very model"
    )


def interpolate(noise: Tensor, data: Tensor, t: Tensor) -> Tensor:
    """Return x_t = (1 - t) · noise + t · data, with one time a row."""
    t = t.reshape(-1, *[1] * (data.ndim - 1))
    return (1 - t) * noise + t * data
