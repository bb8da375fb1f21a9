"""Training of the tagger."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.random import Generator
from torch import Tensor
from torch.nn import functional

from v2abench.impacts.materials import MATERIALS
from v2abench.impacts.tagger import CLASSES, TaggerNet
from v2abench.impacts.training.batches import World, hollow, late, louder
from v2abench.impacts.training.loop import Recipe, finish, fit
from v2abench.impacts.training_data import TrainingData
from v2abench.progress import Progress, silent

RECIPE = Recipe(steps=100, batch=48, learning_rate=3e-3)
HOLLOW = 6
"""Sounds without any event in a batch."""


def train_tagger(
    train: TrainingData,
    test: TrainingData,
    folder: Path,
    recipe: Recipe = RECIPE,
    progress: Progress = silent,
) -> dict[str, Any]:
    """Train on `train`, measure on `test`, write beside `folder`; return the card."""
    torch.manual_seed(recipe.seed)
    network, world = TaggerNet(), World(train)

    def loss(rng: Generator) -> Tensor:
        indices = world.draw(rng, recipe.batch)
        mels = torch.cat([late(rng, louder(rng, world.mels(indices))), hollow(rng, HOLLOW)])
        nothing = torch.full((HOLLOW,), CLASSES.index("nothing"))
        classes = torch.cat([world.materials(indices), nothing])
        return functional.cross_entropy(network(_masked(rng, mels))[1], classes, label_smoothing=0.05)

    trained = fit(network, loss, recipe, folder, progress)
    facts = {
        "task": "material of the objects heard, 8 classes, or nothing",
        "data": f"{train.count} clips of {train.split}",
    }
    return finish(network, recipe, trained, folder, facts=facts, judge=lambda: accuracy(network, World(test)))


def _masked(rng: Generator, mels: Tensor) -> Tensor:
    """Hide a few neighbouring bands, at the level of faint noise."""
    start = int(rng.integers(0, mels.shape[2]))
    mels[:, :, start : start + int(rng.integers(0, 7))] = -5.0
    return mels


@torch.inference_mode()
def accuracy(network: TaggerNet, world: World) -> dict[str, Any]:
    """Return the share of clips whose material is told, of all and of each material."""
    indices = np.arange(world.data.count)
    chosen = torch.cat([network(world.mels(part))[1].argmax(1) for part in np.array_split(indices, 16)])
    right = (chosen == world.materials(indices)).numpy()
    each = {
        material.name: round(float(right[world.data.materials == number].mean()), 4)
        for number, material in enumerate(MATERIALS)
        if (world.data.materials == number).any()
    }
    return {
        "split": world.data.split,
        "clips": len(indices),
        "accuracy": round(float(right.mean()), 4),
        "by_material": each,
    }
