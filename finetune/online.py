"""DDPO and GRPO: training a flow model on rewards of its own samples.

A rollout samples several sounds for each of some videos; rewards become advantages; then the recorded
steps are trained on, `num_iterations` updates a rollout, with clipped importance ratios. Black et al.,
arXiv 2305.13301 (DDPO); Liu et al., arXiv 2505.05470 (Flow-GRPO).
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from accelerate import Accelerator
from torch import Tensor

from v2abench.clips import Clip
from v2abench.errors import V2ABenchError
from v2abench.finetune.advantages import PromptStatistics, advantages
from v2abench.finetune.curriculum import Curriculum, make_schedule
from v2abench.finetune.dpo import Panel, lora_of
from v2abench.finetune.guard import Convention, check_convention
from v2abench.finetune.pair_data import condition_key, store_conditions
from v2abench.finetune.policy import Pair, checkpoint_blocks, make_pair, weights_of
from v2abench.finetune.policy_gradient import (
    Clipping,
    clipped_losses,
    kl_to_reference,
    normalised_log_ratio,
    ratio_diagnostics,
)
from v2abench.finetune.recipe import PolicyGradientRecipe
from v2abench.finetune.rewards import Reward, checked
from v2abench.finetune.rollouts import Batch, Roller
from v2abench.finetune.sde import Step, transition
from v2abench.finetune.tensors import TensorStore
from v2abench.finetune.trainer import MicroLoss, Trainer
from v2abench.flow import FlowModel
from v2abench.progress import Progress, silent
from v2abench.sampling import noise_for, sample_latents

_log = logging.getLogger(__name__)

RATIO_TOLERANCE = 1e-5
"""How far the logarithm of a ratio may be from 0 before the first update on a rollout."""
RATIO_TOLERANCE_HALF = 1e-3
"""The same in half precision."""


class RatioError(V2ABenchError):
    """Training and rollout do not compute the same log-densities."""


@dataclass
class OnlineRun:
    """A training: clips, reward, rollouts and trainer; `train` goes on from the last checkpoint."""

    recipe: PolicyGradientRecipe
    clips: tuple[Clip, ...]
    reward: Reward
    roller: Roller
    pair: Pair
    trainer: Trainer
    convention: Convention
    statistics: PromptStatistics
    panel: Panel | None = None

    @property
    def clipping(self) -> Clipping:
        """What the recipe says of clipping."""
        r = self.recipe
        return Clipping(r.epsilon, r.epsilon_high, r.adv_clip_max)

    def train(self, progress: Progress = silent) -> None:
        """Take the steps that are left: rollouts, each with its updates."""
        with progress(f"train {self.recipe.method}", self.recipe.max_steps) as advance:
            advance(self.trainer.step)
            if self.trainer.step == 0 and self.panel is not None:
                self._evaluate(self.panel)
            while self.trainer.step < self.recipe.max_steps:
                rollout = self.trainer.step // self.recipe.num_iterations
                batches, known = self.prepare(rollout)
                for iteration in range(self.recipe.num_iterations):
                    self.update(batches, known, first=iteration == 0)
                    advance(1)
        self.trainer.close()

    def forwards(self) -> int:
        """Return the network's passes of one sample each, of rollouts and of training."""
        return int(self.trainer.extra.get("generator_forwards", 0))

    def prepare(self, rollout: int) -> tuple[list[Batch], Tensor]:
        """Sample this process's share of a rollout; return its batches and (samples,) advantages."""
        videos = self._videos(rollout)
        mine = self._share(len(videos))
        size = self.recipe.per_device_train_batch_size
        batches = [
            self.roller.roll(rollout, videos[start : min(start + size, mine.stop)], start)
            for start in range(mine.start, mine.stop, size)
        ]
        sounds = [sound for batch in batches for sound in batch.sounds]
        own = checked(self.reward(videos[mine.start : mine.stop], sounds), len(mine), self.recipe.reward)
        together = self.trainer.accelerator.gather(own.float().to(self.roller.device))
        known = self._advantages([clip.id for clip in videos], together.double().cpu())
        self._count(sum(len(batch.clips) for batch in batches) * self.recipe.num_rollout_steps)
        return batches, known[mine.start : mine.stop]

    def update(self, batches: Sequence[Batch], known: Tensor, *, first: bool) -> None:
        """Take one step on all recorded steps of all samples."""
        trainer = self.trainer
        parts, start = [], 0
        mean_size = len(known) / len(batches)
        for batch in batches:
            part = known[start : start + len(batch.clips)].float().to(self.roller.device)
            start += len(batch.clips)
            parts += [
                self._part(batch, step, part, len(part) / mean_size, first=first) for step in batch.steps
            ]
        trainer.update(parts)
        steps = sum(len(batch.clips) * len(batch.steps) for batch in batches)
        self._count(steps * (2 if self.recipe.beta else 1))
        trainer.averages.add({"generator_forwards": float(trainer.extra["generator_forwards"])})
        if self.panel is not None and trainer.is_time_to_evaluate():
            self._evaluate(self.panel)
        trainer.extra["statistics"] = self.statistics.state()
        trainer.end_step()

    def _part(self, batch: Batch, step: Step, known: Tensor, weight: float, *, first: bool) -> MicroLoss:
        def make_loss() -> Tensor:
            r, scale = self.recipe, self.roller.guidance_scale
            t = torch.full((len(known),), step.t, device=known.device)
            velocity = self.trainer.wrapped(step.before, t, batch.conditions, scale)
            now = transition(step.before, velocity, step.t, step.t_next, self.roller.sde)
            log_ratio = now.log_prob(step.after) - step.log_prob
            if first:
                self._require_same(log_ratio.detach())
            self.trainer.averages.add(ratio_diagnostics(log_ratio.detach(), self.clipping))
            if r.ratio_norm:
                log_ratio = normalised_log_ratio(log_ratio, now.mean, step.mean, now.std)
            loss = clipped_losses(log_ratio, known, self.clipping).mean()
            self.trainer.averages.add({"policy_loss": loss.detach()})
            if r.beta:
                distance = self._distance(batch, step, t, velocity, now.mean)
                self.trainer.averages.add({"kl": distance.detach()})
                loss = loss + r.beta * distance.mean()
            return loss * weight

        return make_loss

    def _distance(self, batch: Batch, step: Step, t: Tensor, velocity: Tensor, mean: Tensor) -> Tensor:
        other = self.pair.reference(step.before, t, batch.conditions, self.roller.guidance_scale)
        there = transition(step.before, other, step.t, step.t_next, self.roller.sde)
        size = step.t_next - step.t
        return kl_to_reference((mean, there.mean), (velocity, other), there.std, size, self.recipe.kl)

    def _require_same(self, log_ratio: Tensor) -> None:
        furthest = float(log_ratio.abs().max())
        if furthest > (RATIO_TOLERANCE_HALF if self.recipe.bf16 else RATIO_TOLERANCE):
            raise RatioError(
                f"before the first update an importance ratio is off 1 by {furthest:.2g}: the network gives "
                "other velocities in training than in the rollout; use float32, and no compiled network"
            )

    def _advantages(self, videos: Sequence[str], rewards: Tensor) -> Tensor:
        r = self.recipe
        groups = rewards.reshape(-1, r.num_generations)
        if r.scale_rewards in {"stock", "fair"}:
            known = self.statistics.advantages(videos, rewards)
            self.trainer.averages.add({"fallback_share": self.statistics.fallback_share})
        else:
            known = advantages(groups, r.scale_rewards).flatten()  # type: ignore[arg-type]
        self.trainer.averages.add(
            {
                "reward": rewards,
                "reward_std": groups.std(dim=1, correction=0),
                "zero_std_ratio": (groups.std(dim=1, correction=0) < 1e-8).double(),
                "advantage_abs": known.abs(),
            }
        )
        return known

    def _videos(self, rollout: int) -> list[Clip]:
        """Return the clips of a rollout, each as often as it is sampled."""
        r = self.recipe
        plain = make_schedule(
            [0.0] * len(self.clips),
            Curriculum(()),
            rollout + 1,
            min(r.videos_per_rollout, len(self.clips)),
            r.seed,
        )
        return [self.clips[index] for index in plain.batch(rollout) for _ in range(r.num_generations)]

    def _share(self, count: int) -> range:
        processes = self.trainer.accelerator.num_processes
        if count % processes:
            raise V2ABenchError(
                f"{count} samples a rollout do not fit {processes} processes; change videos_per_rollout or "
                "num_generations"
            )
        size = count // processes
        first = self.trainer.accelerator.process_index * size
        return range(first, first + size)

    def _count(self, passes: int) -> None:
        """Count the network's passes of one sample each, over all processes."""
        branches = 2 if self.roller.guidance_scale >= 1 else 1
        before = self.trainer.extra.get("generator_forwards", 0)
        everywhere = passes * branches * self.trainer.accelerator.num_processes
        self.trainer.extra["generator_forwards"] = before + everywhere

    def _evaluate(self, panel: Panel) -> None:
        trainer = self.trainer
        if trainer.evaluations is not None:
            with weights_of(trainer.policy, trainer.weights()):
                trainer.evaluations.add(trainer.step, panel(trainer.step))
        trainer.accelerator.wait_for_everyone()


def start_online(
    model: FlowModel,
    clips: Sequence[Clip],
    reward: Reward,
    recipe: PolicyGradientRecipe,
    folder: Path,
    *,
    seconds: float,
    accelerator: Accelerator,
    fingerprint: str,
    panel: Panel | None = None,
    progress: Progress = silent,
) -> OnlineRun:
    """Check the model's convention, make its network trainable and return the training.

    Raises `ConventionError` where time or sign run the wrong way, and `V2ABenchError` where no clip can
    be used.
    """
    store = TensorStore(folder / "conditions", fingerprint)
    with accelerator.main_process_first():
        store = TensorStore(folder / "conditions", fingerprint)
        faults = store_conditions(model, clips, store, seconds, progress)
    usable = tuple(clip for clip in clips if condition_key(clip) not in faults)
    for fault in list(faults.values())[:5]:
        _log.warning("a clip is left out: %s", fault)
    if not usable:
        raise V2ABenchError(
            f"no clip of {recipe.dataset} can be used: {next(iter(faults.values()), 'it has none')}"
        )
    device = accelerator.device
    pair = make_pair(model, lora_of(recipe), keep_reference=bool(recipe.beta) or recipe.lora is not None)
    pair.policy.to(device)
    roller = Roller(model, pair.policy, recipe, store, seconds, device)
    convention = _convention(roller, usable)
    if recipe.gradient_checkpointing:
        checkpoint_blocks(model.network)
    trainer = Trainer(pair.policy, recipe, folder, fingerprint=fingerprint, accelerator=accelerator)
    fair = recipe.scale_rewards == "fair"
    statistics = PromptStatistics(
        recipe.buffer_size, min(recipe.min_count, recipe.num_generations) if fair else recipe.min_count
    )
    statistics.restore(trainer.extra.get("statistics", {}))
    return OnlineRun(recipe, usable, reward, roller, pair, trainer, convention, statistics, panel)


def _convention(roller: Roller, clips: Sequence[Clip]) -> Convention:
    """Check the model on samples of its own, made as it samples by itself."""
    chosen = clips[:8]
    conditions = roller.conditions_of(chosen)
    shape = roller.model.latent_shape(roller.seconds)
    noise = torch.stack([noise_for(seed, shape) for seed in range(len(chosen))]).to(roller.device)
    own = sample_latents(roller.model, conditions, noise).clone()
    return check_convention(roller.policy, own, conditions)
