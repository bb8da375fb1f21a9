"""Sampling with the policy as it is, in a way that its steps can be trained on: rollouts.

The steps of a window are stochastic and recorded with their log-densities (`sde`); the others are
Euler's. Rollout and training put the same samples through the same batches and code, so that before the
first update every importance ratio is 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from v2abench.clips import Clip
from v2abench.finetune.draws import generator, noises
from v2abench.finetune.pair_data import condition_key
from v2abench.finetune.policy import Policy
from v2abench.finetune.recipe import PolicyGradientRecipe
from v2abench.finetune.sde import SDE, Step, roll_out
from v2abench.finetune.tensors import TensorStore
from v2abench.flow import Conditions, FlowModel, Sampling
from v2abench.media.audio import Audio
from v2abench.sampling import time_grid


@dataclass(frozen=True)
class Batch:
    """Samples that go through the network together: clips, one a sample, and the recorded steps."""

    clips: tuple[Clip, ...]
    conditions: Conditions
    steps: tuple[Step, ...]
    sounds: tuple[Audio, ...]


@dataclass(frozen=True)
class Roller:
    """Makes rollouts of one policy under one recipe."""

    model: FlowModel
    policy: Policy
    recipe: PolicyGradientRecipe
    conditions: TensorStore
    seconds: float
    device: torch.device

    @property
    def sde(self) -> SDE:
        """The stochastic steps."""
        return SDE(self.recipe.sde, self.recipe.noise_level)

    @property
    def guidance_scale(self) -> float:
        """The guidance of rollouts and of training on them."""
        return self.recipe.guidance_scale or 0.0

    def window(self, rollout: int) -> range:
        """Return the trained steps of a rollout: all but the last, or some that begin in the first half.

        The last step's noise is so small that its density is ill-conditioned.
        """
        steps, wanted = self.recipe.num_rollout_steps, self.recipe.trained_steps
        if not wanted:
            return range(steps - 1)
        latest = min(steps // 2, steps - 1 - wanted)
        drawn = torch.randint(latest + 1, (1,), generator=generator(self.recipe.seed, f"window {rollout}"))
        return range(int(drawn), int(drawn) + wanted)

    @torch.no_grad()
    def roll(self, rollout: int, clips: Sequence[Clip], first: int) -> Batch:
        """Sample a sound for each of `clips`; `first` is the place of the first in the whole rollout."""
        conditions = self.conditions_of(clips)
        names = [f"{rollout} {first + place}" for place in range(len(clips))]
        shape, seed = self.model.latent_shape(self.seconds), self.recipe.seed
        grid = time_grid(Sampling(steps=self.recipe.num_rollout_steps, shift=self.model.sampling.shift))

        def velocity(x: Tensor, t: Tensor) -> Tensor:
            found: Tensor = self.policy(x, t, conditions, self.guidance_scale)
            return found

        latents, steps = roll_out(
            velocity,
            noises(seed, [f"start {name}" for name in names], shape).to(self.device),
            grid,
            sde=self.sde,
            window=self.window(rollout),
            step_noise=lambda k: noises(seed, [f"step {k} {name}" for name in names], shape).to(self.device),
        )
        return Batch(tuple(clips), conditions, tuple(steps), tuple(self.model.decode(latents)))

    def conditions_of(self, clips: Sequence[Clip]) -> Conditions:
        """Return the stored conditions of clips as one batch."""
        stacked = self.conditions.stack([condition_key(clip) for clip in clips])
        return {name: tensor.to(self.device) for name, tensor in stacked.items()}
