"""One training loop for all networks of the world: deterministic from a seed, and resumable.

The batch of a step is a function of seed and step, so a run that was killed goes on
from its checkpoint as if nothing had happened.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.random import Generator
from torch import Tensor, nn

from v2abench import __version__
from v2abench.files import atomic
from v2abench.impacts.scenes import VERSION
from v2abench.impacts.shipped import save
from v2abench.progress import Progress, silent

Loss = Callable[[Generator], Tensor]
"""Draws a batch with the generator of its step and returns the loss."""


@dataclass(frozen=True)
class Recipe:
    """How long and how fast: AdamW, a warm-up of 5 %, then a cosine to nothing."""

    steps: int
    batch: int
    learning_rate: float
    weight_decay: float = 0.01
    seed: int = 0
    checkpoint_every: int = 50


@dataclass(frozen=True)
class Trained:
    """What a training came to: seconds of training, and the mean loss every so many steps."""

    seconds: float
    log: tuple[tuple[int, float], ...]


def fit(network: nn.Module, loss: Loss, recipe: Recipe, folder: Path, progress: Progress = silent) -> Trained:
    """Train `network` in place; `folder` gets a checkpoint, from which a killed run goes on.

    Planes lie channels last while it trains: convolutions on a CPU are faster so.
    """
    network.to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(
        network.parameters(), lr=recipe.learning_rate, weight_decay=recipe.weight_decay
    )
    checkpoint = folder / "checkpoint.pt"
    step, seconds, log = _resumed(network, optimizer, recipe, checkpoint)
    network.train()
    recent: list[float] = []
    start = time.perf_counter()
    with progress(f"train {folder.name}", recipe.steps) as advance:
        advance(step)
        while step < recipe.steps:
            for group in optimizer.param_groups:
                group["lr"] = recipe.learning_rate * _share(step, recipe.steps)
            value = loss(np.random.default_rng([recipe.seed, step]))
            optimizer.zero_grad(set_to_none=True)
            value.backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            optimizer.step()
            recent.append(value.item())
            step += 1
            advance(1)
            if step % recipe.checkpoint_every == 0 or step == recipe.steps:
                log.append((step, round(float(np.mean(recent)), 4)))
                recent.clear()
                now = time.perf_counter()
                seconds, start = seconds + now - start, now
                _keep(network, optimizer, recipe, checkpoint, (step, seconds, log))
    network.to(memory_format=torch.contiguous_format)
    network.eval()
    return Trained(round(seconds, 1), tuple(log))


def finish(
    network: nn.Module,
    recipe: Recipe,
    trained: Trained,
    folder: Path,
    *,
    facts: Mapping[str, Any],
    judge: Callable[[], Mapping[str, Any]],
) -> dict[str, Any]:
    """Write weights and card beside `folder`, and drop its checkpoint; return the card.

    `judge` measures the network, after its weights were rounded, on held-out clips.
    """
    card: dict[str, Any] = {
        "name": folder.name,
        **facts,
        "world": f"impacts version {VERSION}",
        "parameters": sum(parameter.numel() for parameter in network.parameters()),
        "recipe": asdict(recipe),
        "seconds": trained.seconds,
        "threads": torch.get_num_threads(),
        "versions": {"v2abench": __version__, "torch": torch.__version__, "numpy": np.__version__},
        "log": [list(entry) for entry in trained.log],
    }
    save(network, card, folder)
    card["held_out"] = dict(judge())
    save(network, card, folder)
    (folder / "checkpoint.pt").unlink(missing_ok=True)
    folder.rmdir()
    return card


def _share(step: int, steps: int) -> float:
    """Return the learning rate's share of its greatest value."""
    warm = max(1, steps // 20)
    if step < warm:
        return (step + 1) / warm
    return 0.5 * (1 + math.cos(math.pi * (step - warm) / max(1, steps - warm)))


def _resumed(
    network: nn.Module, optimizer: torch.optim.Optimizer, recipe: Recipe, checkpoint: Path
) -> tuple[int, float, list[tuple[int, float]]]:
    if not checkpoint.is_file():
        return 0, 0.0, []
    kept = torch.load(checkpoint, weights_only=True)
    if kept["recipe"] != asdict(recipe):
        return 0, 0.0, []
    network.load_state_dict(kept["network"])
    optimizer.load_state_dict(kept["optimizer"])
    return kept["step"], kept["seconds"], [(int(step), float(value)) for step, value in kept["log"]]


def _keep(
    network: nn.Module,
    optimizer: torch.optim.Optimizer,
    recipe: Recipe,
    checkpoint: Path,
    state: tuple[int, float, list[tuple[int, float]]],
) -> None:
    step, seconds, log = state
    with atomic(checkpoint) as temporary:
        torch.save(
            {
                "recipe": asdict(recipe),
                "network": network.state_dict(),
                "optimizer": optimizer.state_dict(),
                "step": step,
                "seconds": seconds,
                "log": [list(entry) for entry in log],
            },
            temporary,
        )
