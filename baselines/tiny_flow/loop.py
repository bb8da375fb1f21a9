"""One training loop for both stages: AdamW, a moving average of the weights, checkpoints.

Every draw of a step comes from a generator named after stage and step, so a run that was
killed goes on where it stopped and ends with the same bits.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Generator, Tensor, nn

from v2abench.errors import V2ABenchError
from v2abench.files import atomic
from v2abench.models import clip_seed
from v2abench.progress import Progress

Loss = Callable[[Tensor, Generator], Tensor]
"""From (batch,) indices of clips and the step's generator to the loss."""


@dataclass(frozen=True)
class Stage:
    """How one module is trained. The rate rises over `warm_up` steps and falls to 0 over the last third."""

    name: str
    steps: int
    batch: int
    learning_rate: float
    seed: int = 0
    warm_up: int = 100
    weight_decay: float = 0.01
    average: float = 0.999
    clip_norm: float = 1.0
    checkpoint_every: int = 100

    def rate(self, step: int) -> float:
        """Return the learning rate of a step, from 0."""
        rising = min(1.0, (step + 1) / self.warm_up)
        falling = min(1.0, (self.steps - step) / max(1, self.steps / 3))
        return self.learning_rate * rising * falling


@dataclass(frozen=True)
class Checkpoint:
    """Where the state of a training is kept; `fingerprint` names all that the training depends on."""

    path: Path
    fingerprint: str


@dataclass
class Trained:
    """The averaged module after `step` steps, and the log: one entry a checkpoint."""

    module: nn.Module
    step: int
    log: list[dict[str, float]]


def train_stage(
    module: nn.Module, loss: Loss, stage: Stage, count: int, *, checkpoint: Checkpoint, progress: Progress
) -> Trained:
    """Train `module` in place on `count` clips, from the checkpoint if there is one.

    Raises `V2ABenchError` where the checkpoint is of another training.
    """
    optimizer = torch.optim.AdamW(
        module.parameters(), stage.learning_rate, betas=(0.9, 0.98), weight_decay=stage.weight_decay
    )
    state = Trained(deepcopy(module).requires_grad_(False), 0, [])
    if checkpoint.path.is_file():
        _restore(checkpoint, module, optimizer, state)
    started, total = time.perf_counter(), torch.zeros(())
    with progress(f"train {stage.name}", stage.steps) as advance:
        advance(state.step)
        for step in range(state.step, stage.steps):
            _set_rate(optimizer, stage.rate(step))
            drawn = named_generator(stage.seed, f"{stage.name} {step}")
            total += _step(module, optimizer, loss(clips_of(stage, step, count), drawn), stage)
            _move_average(state.module, module, min(stage.average, (1 + step) / (10 + step)))
            state.step = step + 1
            if state.step % stage.checkpoint_every == 0 or state.step == stage.steps:
                steps = (step % stage.checkpoint_every) + 1
                seconds = time.perf_counter() - started
                state.log.append(
                    {"step": state.step, "loss": round(float(total) / steps, 5), "seconds": round(seconds, 1)}
                )
                _save(checkpoint, module, optimizer, state)
                started, total = time.perf_counter(), torch.zeros(())
            advance(1)
    return state


def clips_of(stage: Stage, step: int, count: int) -> Tensor:
    """Return the (batch,) indices of a step: each pass over the clips is in an order of its own."""
    batch = min(stage.batch, count)
    in_a_pass = count // batch
    order = torch.randperm(
        count, generator=named_generator(stage.seed, f"{stage.name} pass {step // in_a_pass}")
    )
    place = step % in_a_pass * batch
    return order[place : place + batch]


def named_generator(seed: int, name: str) -> Generator:
    """Return the CPU generator that belongs to a seed and a name."""
    return torch.Generator().manual_seed(clip_seed(seed, name))


def _set_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    for group in optimizer.param_groups:
        group["lr"] = rate


def _step(module: nn.Module, optimizer: torch.optim.Optimizer, loss: Tensor, stage: Stage) -> Tensor:
    """Take one step down `loss`; return its value."""
    value = loss.detach()
    if not math.isfinite(float(value)):
        raise V2ABenchError(f"training of {stage.name} diverged; lower its learning rate")
    optimizer.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    nn.utils.clip_grad_norm_(module.parameters(), stage.clip_norm)
    optimizer.step()
    return value


@torch.no_grad()
def _move_average(average: nn.Module, module: nn.Module, decay: float) -> None:
    for held, new in zip(average.parameters(), module.parameters(), strict=True):
        held.lerp_(new, 1 - decay)


def _save(
    checkpoint: Checkpoint, module: nn.Module, optimizer: torch.optim.Optimizer, state: Trained
) -> None:
    with atomic(checkpoint.path) as temporary:
        torch.save(
            {
                "fingerprint": checkpoint.fingerprint,
                "module": module.state_dict(),
                "average": state.module.state_dict(),
                "optimizer": optimizer.state_dict(),
                "step": state.step,
                "log": state.log,
            },
            temporary,
        )


def _restore(
    checkpoint: Checkpoint, module: nn.Module, optimizer: torch.optim.Optimizer, state: Trained
) -> None:
    stored: Mapping[str, Any] = torch.load(checkpoint.path, map_location="cpu", weights_only=True)
    if stored["fingerprint"] != checkpoint.fingerprint:
        raise V2ABenchError(
            f"{checkpoint.path} is of a training with other data, seed or settings; "
            "choose another folder, or delete it"
        )
    module.load_state_dict(stored["module"])
    state.module.load_state_dict(stored["average"])
    optimizer.load_state_dict(stored["optimizer"])
    state.step, state.log = stored["step"], stored["log"]
