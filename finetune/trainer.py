"""One optimiser loop for every method: gradients, schedule, moving average, checkpoints, logs.

The device, data parallelism and half precision are accelerate's; everything random is drawn by name
(`draws`), so that a resumed run, or one that splits its batch otherwise, sees the same numbers.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor

from v2abench.errors import V2ABenchError
from v2abench.finetune import checkpoints
from v2abench.finetune.logs import Log, draw_curves
from v2abench.finetune.policy import Policy
from v2abench.finetune.recipe import TrainingRecipe

MicroLoss = Callable[[], Tensor]
"""Makes the graph of one part of a batch, and returns its mean loss."""


@dataclass
class Averages:
    """Means of named numbers between two lines of the log, over all processes."""

    sums: dict[str, Tensor] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)

    def add(self, values: Mapping[str, Tensor | float]) -> None:
        """Take up values, tensors with one number a sample; empty tensors count nothing."""
        for name, value in values.items():
            known = torch.as_tensor(value).detach()
            self.sums[name] = self.sums.get(name, 0.0) + known.double().sum()
            self.counts[name] = self.counts.get(name, 0) + known.numel()

    def take(self, accelerator: Accelerator) -> dict[str, float]:
        """Return the means and start anew. All processes must have the same names."""
        names = sorted(self.sums)
        both = torch.tensor(
            [[float(self.sums[name]), self.counts[name]] for name in names], dtype=torch.float64
        ).reshape(-1, 2)
        if accelerator.num_processes > 1:
            both = accelerator.reduce(both.to(accelerator.device), reduction="sum").cpu()
        self.sums, self.counts = {}, {}
        return {
            name: float(total / count) for name, (total, count) in zip(names, both, strict=True) if count > 0
        }


class Trainer:
    """The state of a training: policy, optimiser, moving average, step, logs.

    `fingerprint` names all that the training depends on; a folder of another one is refused. `extra`
    is state of the method, which checkpoints keep too.
    """

    def __init__(
        self,
        policy: Policy,
        recipe: TrainingRecipe,
        folder: Path,
        *,
        fingerprint: str,
        accelerator: Accelerator,
        extra: dict[str, Any] | None = None,
    ) -> None:
        self.policy, self.recipe, self.folder = policy, recipe, folder
        self.accelerator = accelerator
        self.fingerprint = fingerprint
        self.parameters = policy.trainable()
        self.step = 0
        self.extra = {} if extra is None else extra
        self.averages = Averages()
        optimizer = torch.optim.AdamW(
            self.parameters.values(), recipe.learning_rate, weight_decay=recipe.weight_decay
        )
        self.wrapped, self.optimizer = accelerator.prepare(policy, optimizer)
        self.average = {name: p.detach().clone() for name, p in self.parameters.items()}
        self._restore()
        self.log = self._open_log("training")
        self.evaluations = self._open_log("evaluation")

    @property
    def is_main(self) -> bool:
        """Whether this process writes."""
        return bool(self.accelerator.is_main_process)

    def rate(self, step: int) -> float:
        """Return the learning rate of a step, from 0: a linear warm-up, then constant."""
        return self.recipe.learning_rate * min(1.0, (step + 1) / max(1, self.recipe.warmup_steps))

    def update(self, parts: Sequence[MicroLoss]) -> None:
        """Take one step down the mean of the parts' losses, which count alike.

        Raises `V2ABenchError` where a loss or the gradient is not finite.
        """
        for group in self.optimizer.param_groups:
            group["lr"] = self.rate(self.step)
        for place, make_loss in enumerate(parts):
            with self._synchronised(last=place == len(parts) - 1):
                loss = make_loss()
                self._require_finite(float(loss.detach()), "loss")
                self.accelerator.backward(loss / len(parts))
        norm = self.accelerator.clip_grad_norm_(self.parameters.values(), self.recipe.max_grad_norm)
        self._require_finite(float(norm), "gradient")
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.averages.add({"grad_norm": float(norm), "lr": self.rate(self.step)})
        self._move_average()
        self.step += 1

    def end_step(self) -> None:
        """Log and save where it is time to; a checkpoint ends a line of the log too."""
        saving = self.step % self.recipe.save_steps == 0 or self.step >= self.recipe.max_steps
        if saving or self.step % self.recipe.logging_steps == 0:
            values = self.averages.take(self.accelerator)
            if self.log is not None:
                self.log.add(self.step, values)
        if saving:
            self.save()

    def is_time_to_evaluate(self) -> bool:
        """Whether held-out evaluation is due after this step."""
        return self.step % self.recipe.eval_steps == 0 or self.step >= self.recipe.max_steps

    def weights(self) -> Mapping[str, Tensor]:
        """Return the weights to evaluate and to keep: the moving average, or the raw ones without it."""
        return self.average if self.recipe.ema_decay else self.raw_weights()

    def raw_weights(self) -> dict[str, Tensor]:
        """Return the trained weights as they are."""
        return {name: p.detach().clone() for name, p in self.parameters.items()}

    def save(self) -> None:
        """Write a checkpoint, from the main process."""
        if self.is_main:
            state = {
                "weights": self.raw_weights(),
                "average": dict(self.average),
                "optimizer": self.optimizer.state_dict(),
                "extra": self.extra,
            }
            keep = self.recipe.save_total_limit
            checkpoints.save(self.folder / "checkpoints", self.step, self.fingerprint, state, keep)
        self.accelerator.wait_for_everyone()

    def close(self) -> None:
        """End the logs and draw the curves."""
        if self.log is not None and self.evaluations is not None:
            draw_curves({"training": self.log, "evaluation": self.evaluations}, self.folder / "curves.png")
            self.log.close()
            self.evaluations.close()

    def _open_log(self, name: str) -> Log | None:
        return Log(self.folder, name, self.step) if self.is_main else None

    def _synchronised(self, *, last: bool) -> AbstractContextManager[Any]:
        return nullcontext() if last else self.accelerator.no_sync(self.wrapped)

    def _require_finite(self, value: float, what: str) -> None:
        if not math.isfinite(value):
            raise V2ABenchError(
                f"the {what} of step {self.step + 1} is not finite; lower learning_rate, or look at the data"
            )

    @torch.no_grad()
    def _move_average(self) -> None:
        decay = min(self.recipe.ema_decay, (1 + self.step) / (10 + self.step))
        for name, parameter in self.parameters.items():
            self.average[name].lerp_(parameter, 1 - decay)

    def _restore(self) -> None:
        state = checkpoints.newest(self.folder / "checkpoints", self.fingerprint)
        if state is None:
            return
        with torch.no_grad():
            for name, parameter in self.parameters.items():
                parameter.copy_(state["weights"][name])
                self.average[name].copy_(state["average"][name])
        self.optimizer.load_state_dict(state["optimizer"])
        self.step = state["step"]
        self.extra.update(state["extra"])
