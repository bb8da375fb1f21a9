"""Flow-DPO: training a flow model on preference pairs.

Of every pair winner and loser are noised to the same time t with the same noise (unless told
otherwise), go through the network in one batch, and are held against the reference's velocities at the
very same points (`losses`).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from accelerate import Accelerator
from torch import Tensor

from v2abench.finetune import losses
from v2abench.finetune.curriculum import Curriculum, Schedule, make_schedule
from v2abench.finetune.guard import Convention, check_convention
from v2abench.finetune.losses import DPOLoss, PairErrors
from v2abench.finetune.pair_data import PairData
from v2abench.finetune.points import PairBatch, Points, batch_at, held_out_points, step_points
from v2abench.finetune.policy import LoRA, Pair, checkpoint_blocks, make_pair, weights_of
from v2abench.finetune.recipe import DPORecipe, TrainingRecipe
from v2abench.finetune.reference_errors import read_reference_errors, store_reference_errors
from v2abench.finetune.tensors import TensorStore
from v2abench.finetune.trainer import MicroLoss, Trainer
from v2abench.finetune.watching import warn_of_small_stages, warn_where_both_rise
from v2abench.flow import FlowModel
from v2abench.progress import Progress, silent

_log = logging.getLogger(__name__)

TIME_BINS = 4
HELD_OUT_DRAWS = 4
"""Times and noises at which every held-out pair is judged."""

Panel = Callable[[int], Mapping[str, float]]
"""Held-out metrics of the model as it is at this moment, after so many steps."""


@dataclass(frozen=True)
class Objective:
    """Losses and diagnostics of pairs under one recipe; `cached` are the reference's errors, if stored."""

    recipe: DPORecipe
    pair: Pair
    cached: TensorStore | None
    device: torch.device

    @property
    def settings(self) -> DPOLoss:
        """What the recipe says of the loss."""
        r = self.recipe
        return DPOLoss(
            beta=r.beta,
            loss_type=r.loss_type,
            label_smoothing=r.label_smoothing,
            loser_weight=r.loser_weight,
            sft_weight=r.sft_weight,
            norm_guard=r.norm_guard,
            beta_schedule=r.beta_schedule,
        )

    def measure(
        self, velocity: Callable[..., Tensor], data: PairData, indices: Sequence[int], points: Points
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the mean loss of the pairs, and their diagnostics, (B,) each."""
        batch = batch_at(data, indices, points, self.device)
        reference = self._reference(batch)
        policy = velocity(batch.x_t, batch.t, batch.conditions, self.recipe.training_guidance_scale)
        errors = self._errors(policy, reference, batch, known=partial(self._known, data, indices, points))
        t = points.t.to(self.device)
        loss = losses.dpo_loss(errors, self.settings, self.settings.beta_at(t))
        if reference is not None and self.recipe.norm_guard:
            loss = loss + self.recipe.norm_guard * losses.norm_excess(policy, reference)
        found = losses.diagnostics(errors, self.settings.beta_at(t), self.recipe.loser_weight)
        if reference is not None:
            found["velocity_norm_ratio"] = _norms(policy.detach()) / _norms(reference)
        return loss, found | _by_time(found, t)

    def _reference(self, batch: PairBatch) -> Tensor | None:
        if self.cached is not None:
            return None
        return self.pair.reference(batch.x_t, batch.t, batch.conditions, self.recipe.training_guidance_scale)

    def _known(self, data: PairData, indices: Sequence[int], points: Points) -> tuple[Tensor, Tensor]:
        if self.cached is None:
            raise AssertionError("there are either velocities of the reference or cached errors")
        return read_reference_errors(self.cached, data, indices, points.draws)

    def _errors(
        self,
        policy: Tensor,
        reference: Tensor | None,
        batch: PairBatch,
        *,
        known: Callable[[], tuple[Tensor, Tensor]],
    ) -> PairErrors:
        if reference is not None:
            return losses.pair_errors(policy, reference, batch.target, self.recipe.reduction)
        winner, loser = losses.error(policy, batch.target, self.recipe.reduction).chunk(2)
        return PairErrors(winner, loser, *(one.to(winner) for one in known()))


@dataclass
class DPORun:
    """A training: data, objective, order and trainer; `train` goes on from the last checkpoint."""

    recipe: DPORecipe
    data: PairData
    held_out: PairData
    objective: Objective
    pair: Pair
    schedule: Schedule
    trainer: Trainer
    convention: Convention
    panel: Panel | None = None

    def train(self, progress: Progress = silent) -> None:
        """Take the steps that are left; evaluate the base first, then every few steps; save and log."""
        trainer = self.trainer
        with progress("train dpo", self.recipe.max_steps) as advance:
            advance(trainer.step)
            while trainer.step < self.recipe.max_steps:
                self._step()
                advance(1)
        trainer.close()

    def forwards(self) -> int:
        """Return the network's passes of one sample each in training, the reference's among them."""
        reference = 0 if self.objective.cached is not None else 1
        branches = 2 if self.recipe.training_guidance_scale >= 1 else 1
        return self.trainer.step * self.schedule.batch_size * 2 * (1 + reference) * branches

    def _step(self) -> None:
        trainer = self.trainer
        if trainer.step == 0:
            self.evaluate()
        step, indices = trainer.step, self.schedule.batch(trainer.step)
        trainer.update([self._part(step, indices, positions) for positions in self._positions()])
        trainer.averages.add({"stage": float(self.schedule.stage(step) + 1)})
        if trainer.is_time_to_evaluate():
            self.evaluate()
        trainer.end_step()
        if trainer.log is not None and trainer.step % self.recipe.logging_steps == 0:
            warn_where_both_rise(trainer.log.rows)

    def _positions(self) -> list[range]:
        """Where this process's parts stand in the batch of a step."""
        size, parts = self.recipe.per_device_train_batch_size, self.recipe.gradient_accumulation_steps
        first = self.trainer.accelerator.process_index * size * parts
        return [range(first + part * size, first + (part + 1) * size) for part in range(parts)]

    def _part(self, step: int, indices: Sequence[int], positions: range) -> MicroLoss:
        chosen = [indices[place] for place in positions]

        def make_loss() -> Tensor:
            points = step_points(
                self.recipe,
                self.data,
                chosen,
                positions=positions,
                step=step,
                batch_size=self.schedule.batch_size,
            )
            loss, found = self.objective.measure(self.trainer.wrapped, self.data, chosen, points)
            self.trainer.averages.add({"loss": loss.detach(), **found})
            return loss

        return make_loss

    def evaluate(self) -> None:
        """Log how the averaged weights do on held-out pairs, at fixed points, and on the panel.

        Every process takes part, for collective wrappers; the main one writes.
        """
        values: dict[str, float] = {}
        with weights_of(self.trainer.policy, self.trainer.weights()):
            if len(self.held_out):
                values |= self._held_out()
            if self.panel is not None and self.trainer.is_main:
                values |= self.panel(self.trainer.step)
        self.trainer.accelerator.wait_for_everyone()
        if self.trainer.evaluations is not None and values:
            self.trainer.evaluations.add(self.trainer.step, values)

    @torch.no_grad()
    def _held_out(self) -> dict[str, float]:
        sums: dict[str, list[Tensor]] = {}
        size = self.recipe.per_device_train_batch_size
        objective = Objective(self.recipe, self.objective.pair, None, self.objective.device)
        for draw in range(HELD_OUT_DRAWS):
            for start in range(0, len(self.held_out), size):
                indices = range(start, min(start + size, len(self.held_out)))
                points = held_out_points(self.recipe, self.held_out, indices, draw, HELD_OUT_DRAWS)
                _, found = objective.measure(self.trainer.policy, self.held_out, indices, points)
                for name, value in found.items():
                    sums.setdefault(name, []).append(value)
        return {name: float(torch.cat(v).mean()) for name, v in sums.items() if torch.cat(v).numel()}


def start_dpo(
    model: FlowModel,
    data: PairData,
    recipe: DPORecipe,
    folder: Path,
    *,
    accelerator: Accelerator,
    fingerprint: str,
    panel: Panel | None = None,
    progress: Progress = silent,
) -> DPORun:
    """Check the model's convention, make its network trainable and return the training.

    Raises `ConventionError` where time or sign run the wrong way, and `V2ABenchError` for pairs and
    steps that do not fit the recipe.
    """
    used, held_out = data.split(recipe.held_out_pairs)
    if recipe.precompute_ref:
        held_out = held_out.subset([])
    per_process = recipe.per_device_train_batch_size * recipe.gradient_accumulation_steps
    schedule = make_schedule(
        used.scores(),
        curriculum_of(recipe),
        recipe.max_steps,
        per_process * accelerator.num_processes,
        recipe.seed,
    )
    warn_of_small_stages(schedule)
    pair = make_pair(
        model, lora_of(recipe), keep_reference=not recipe.precompute_ref or recipe.lora is not None
    )
    device = accelerator.device
    pair.policy.to(device)
    convention = _convention(pair, used, device)
    cached = None
    if recipe.precompute_ref:
        before = partial(_without_gradient, pair.policy)
        with accelerator.main_process_first():
            cached = store_reference_errors(
                before,
                used,
                recipe,
                folder / "reference",
                fingerprint=fingerprint,
                device=device,
                progress=progress,
            )
    if recipe.gradient_checkpointing:
        checkpoint_blocks(model.network)
    trainer = Trainer(pair.policy, recipe, folder, fingerprint=fingerprint, accelerator=accelerator)
    objective = Objective(recipe, pair, cached, device)
    return DPORun(recipe, used, held_out, objective, pair, schedule, trainer, convention, panel)


def curriculum_of(recipe: DPORecipe) -> Curriculum:
    """Return what the recipe says of stages."""
    return Curriculum(
        recipe.curriculum_thresholds, recipe.curriculum_mode, recipe.stage_steps, recipe.stage_replay
    )


def lora_of(recipe: TrainingRecipe) -> LoRA | None:
    """Return the adapters that the recipe asks for, None for full fine-tuning."""
    part = recipe.lora
    return LoRA(part.rank, part.alpha, part.target_modules) if part else None


def _convention(pair: Pair, data: PairData, device: torch.device) -> Convention:
    indices = range(min(8, len(data)))
    winners = data.latents(indices).chunk(2)[0].to(device)
    conditions = data.conditions_of(indices, device)
    found = check_convention(pair.policy, winners, conditions)
    _log.info("convention holds: %s", found)
    return found


@torch.no_grad()
def _without_gradient(policy: Callable[..., Tensor], *inputs: object) -> Tensor:
    return policy(*inputs)


def _norms(velocity: Tensor) -> Tensor:
    norms: Tensor = velocity.flatten(1).norm(dim=1)
    return norms


def _by_time(found: Mapping[str, Tensor], t: Tensor) -> dict[str, Tensor]:
    """Return accuracy and margin also by quarters of the time, from the noise on.

    Near both ends winner and loser look alike, which a mean over all times hides.
    """
    quarter = (t * TIME_BINS).long().clamp(max=TIME_BINS - 1)
    return {
        f"{name}@{part + 1}of{TIME_BINS}": found[name][quarter == part]
        for name in ("rewards/accuracies", "rewards/margins")
        for part in range(TIME_BINS)
    }
