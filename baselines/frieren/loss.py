"""What Frieren is trained with: flow matching, weighted so as to dwell on the middle of the way.

Source: cyanbx/Frieren-V2A@0c39692, cfm/models/diffusion/cfm_scale_cfg.py and its
`reflow` and `distill` kin. Training times are whole thousandths.
"""

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from v2abench.flow import Conditions, FlowModel
from v2abench.sampling import Velocity, guided

STEPS = 1000
CONDITION_DROPOUT = 0.2

_MARGIN = 1e-5


def weight(t: Tensor) -> Tensor:
    """Return the density of the logit-normal distribution at times `t`, which is almost 0 at both ends.

    It takes the place of drawing the times from it: its mean over uniform times is 1.
    """
    inside = t.clamp(_MARGIN, 1 - _MARGIN)
    return torch.exp(-(torch.logit(inside) ** 2) / 2) / (math.sqrt(2 * math.pi) * inside * (1 - inside))


def flow_matching_loss(
    velocity: Velocity, latents: Tensor, noise: Tensor, t: Tensor, *, weighted: bool = True
) -> Tensor:
    """Return each clip's mean of w(t) · (data - noise - velocity)², (B,).

    `latents` and `noise` are (B, ...), `t` (B,). With the guided velocity, and the noise
    from which the latents were made, it is the loss of reflow; not weighted and at t = 0,
    that of one-step distillation.
    """
    times = t.view(-1, *[1] * (latents.dim() - 1))
    x_t = (1 - times) * noise + times * latents
    errors = (latents - noise - velocity(x_t, t)) ** 2
    return (weight(times) * errors if weighted else errors).flatten(1).mean(dim=1)


def training_loss(
    model: FlowModel, latents: Tensor, conditions: Conditions, generator: torch.Generator
) -> Tensor:
    """Return each clip's loss of the base model, (B,), on latents and batched conditions.

    Times are uniform; each clip's conditions give way to none with a probability of 0.2.
    `generator` is on the CPU.
    """
    count = len(latents)
    noise = torch.randn(latents.shape, generator=generator).to(latents)
    t = torch.randint(STEPS, (count,), generator=generator).to(latents) / STEPS
    dropped = torch.rand(count, generator=generator).to(latents) < CONDITION_DROPOUT
    told = guided(model, _dropped(conditions, model.empty(conditions), dropped), scale=0)
    return flow_matching_loss(told, latents, noise, t)


def _dropped(conditions: Conditions, empty: Conditions, dropped: Tensor) -> Mapping[str, Tensor]:
    return {
        name: torch.where(dropped.view(-1, *[1] * (given.dim() - 1)), empty[name], given)
        for name, given in conditions.items()
    }
