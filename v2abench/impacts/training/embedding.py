"""Training of the two-tower embedding."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.random import Generator
from torch import Tensor
from torch.nn import functional

from v2abench.impacts.embedding import STEP, EmbeddingNet, pooled
from v2abench.impacts.training.batches import World, hollow, worn
from v2abench.impacts.training.loop import Recipe, finish, fit
from v2abench.impacts.training_data import TrainingData
from v2abench.progress import Progress, silent

RECIPE = Recipe(steps=400, batch=40, learning_rate=2e-3)
CANDIDATES = 16
HOLLOW = 4
"""Sounds without any event in a batch, which are near no picture."""


def train_embedding(
    train: TrainingData,
    test: TrainingData,
    folder: Path,
    recipe: Recipe = RECIPE,
    progress: Progress = silent,
) -> dict[str, Any]:
    """Train on `train`, measure on `test`, write beside `folder`; return the card."""
    torch.manual_seed(recipe.seed)
    network, world = EmbeddingNet(), World(train)

    def loss(rng: Generator) -> Tensor:
        indices = world.draw(rng, recipe.batch)
        mels = torch.cat([world.mels(indices), hollow(rng, HOLLOW)])
        targets = world.materials(indices), world.events(indices)
        return _loss(network, worn(rng, world.frames(indices)), mels, *targets)

    trained = fit(network, loss, recipe, folder, progress)
    facts = {
        "task": "a video and its own sound near each other, by contrast with the batch (InfoNCE) "
        "and with silence and noise",
        "data": f"{train.count} clips of {train.split}",
    }
    return finish(network, recipe, trained, folder, facts=facts, judge=lambda: held_out(network, World(test)))


def _loss(network: EmbeddingNet, frames: Tensor, mels: Tensor, materials: Tensor, events: Tensor) -> Tensor:
    """Contrast both ways; to help the encoders, also tell the material and find the events.

    The sounds are those of the frames, in order, then hollow ones.
    """
    seen, heard = network.picture.instants(frames), network.sound.instants(mels)
    picture, sound = network.picture.head(seen), network.sound.head(heard)
    cosines = network.logit_scale.exp().clamp(max=50.0) * picture @ sound.T
    count = len(picture)
    own = torch.arange(count)
    loss = functional.cross_entropy(cosines, own) + functional.cross_entropy(cosines[:, :count].T, own)
    loss = loss / 2
    for head, instants in ((network.picture.head, seen), (network.sound.head, heard[:count])):
        loss = loss + 0.3 * functional.cross_entropy(head.materials(pooled(instants)), materials)
        found = head.events(instants).squeeze(-1)
        loss = loss + functional.binary_cross_entropy_with_logits(found, events[:, ::STEP])
    return loss


@torch.inference_mode()
def held_out(network: EmbeddingNet, world: World) -> dict[str, Any]:
    """Return how often a video's own sound is the nearest of 16, and of 16 of its own material."""
    parts = np.array_split(np.arange(world.data.count), max(1, world.data.count // 16))
    pictures = torch.cat([network.picture(world.frames(part)) for part in parts])
    sounds = torch.cat([network.sound(world.mels(part)) for part in parts])
    cosines, materials = (pictures @ sounds.T).numpy(), world.data.materials
    any_clip = np.ones((world.data.count, world.data.count), dtype=bool)
    return {
        "split": world.data.split,
        "clips": world.data.count,
        "candidates": CANDIDATES,
        "own_sound_first": _own_first(cosines, any_clip),
        "own_sound_first_of_same_material": _own_first(cosines, materials[:, None] == materials),
    }


def _own_first(cosines: np.ndarray, allowed: np.ndarray) -> float | None:
    """Return the probability that the own sound is nearer than 15 others drawn from the allowed ones.

    Exact, over all draws: with n others of which k are nearer, it is C(n − k, 15) / C(n, 15). Clips
    with fewer than 15 others do not count; None where that is all of them.
    """
    nearer = ((cosines > np.diag(cosines)[:, None]) & allowed).sum(axis=1)
    others = allowed.sum(axis=1) - 1
    enough = others >= CANDIDATES - 1
    if not enough.any():
        return None
    place, others, nearer = np.arange(CANDIDATES - 1), others[enough, None], nearer[enough, None]
    shares = np.clip(others - nearer - place, 0, None) / (others - place)
    return round(float(shares.prod(axis=1).mean()), 4)
