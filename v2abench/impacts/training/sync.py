"""Training of the synchronisation network.

A segment of 3 s is cut out of the picture, and one of 3 s out of the sound that begins
earlier or later by the offset; nothing is padded or rolled, so nothing but picture and
sound gives the answer away. Every clip has an event between 1 and 3 s, which lies in
both segments whatever the offset.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.random import Generator
from torch import Tensor
from torch.nn import functional

from v2abench.impacts.encoders import MEL_FRAMES, MELS_PER_FRAME, moving
from v2abench.impacts.scenes import FRAME_RATE, FRAMES
from v2abench.impacts.synchronisation import OFFSETS, SEGMENT, SyncNet
from v2abench.impacts.training.batches import Indices, World, worn
from v2abench.impacts.training.loop import Recipe, finish, fit
from v2abench.impacts.training_data import TrainingData
from v2abench.progress import Progress, silent

RECIPE = Recipe(steps=420, batch=24, learning_rate=2e-3)
_MELS_PER_S = MELS_PER_FRAME * FRAME_RATE
_SEGMENT_MELS = SEGMENT * MELS_PER_FRAME
_SLACK = MEL_FRAMES - _SEGMENT_MELS


def train_sync(
    train: TrainingData,
    test: TrainingData,
    folder: Path,
    recipe: Recipe = RECIPE,
    progress: Progress = silent,
) -> dict[str, Any]:
    """Train on `train`, measure on `test`, write beside `folder`; return the card."""
    torch.manual_seed(recipe.seed)
    network, world = SyncNet(), World(train)

    def loss(rng: Generator) -> Tensor:
        indices = world.draw(rng, recipe.batch)
        classes = rng.integers(0, len(OFFSETS), size=recipe.batch)
        exact = OFFSETS[classes] + rng.uniform(-0.03, 0.03, size=recipe.batch)
        starts = draw_starts(rng, exact)
        pictures, sounds = cut(world, indices, starts)
        return _loss(
            network, worn(rng, pictures), sounds, torch.from_numpy(classes), _events(world, indices, starts)
        )

    trained = fit(network, loss, recipe, folder, progress)
    facts = {
        "task": "offset between picture and sound, 21 classes of -1 to 1 s, over segments of 3 s",
        "data": f"{train.count} clips of {train.split}",
    }
    return finish(network, recipe, trained, folder, facts=facts, judge=lambda: held_out(network, World(test)))


def draw_starts(rng: Generator, offsets: np.ndarray) -> np.ndarray:
    """Draw where the segments begin, (n, 2): of the picture in frames, of the sound in log-mel frames.

    Sound that begins `offset` seconds before the picture shows its events as much later.
    """
    late = np.clip(np.rint(offsets * _MELS_PER_S), -_SLACK, _SLACK).astype(np.int64)
    lowest = -(-np.maximum(late, 0) // MELS_PER_FRAME)
    highest = np.minimum(_SLACK + late, _SLACK) // MELS_PER_FRAME
    picture = rng.integers(lowest, highest, endpoint=True)
    return np.stack([picture, MELS_PER_FRAME * picture - late], axis=1)


def cut(world: World, indices: Indices, starts: np.ndarray) -> tuple[Tensor, Tensor]:
    """Return the (n, 75, 48, 48, 3) picture and (n, 300, 64) sound segments of some scenes."""
    frames, mels = world.frames(indices), world.mels(indices)
    pictures = [frame[start : start + SEGMENT] for frame, (start, _) in zip(frames, starts, strict=True)]
    sounds = [mel[start : start + _SEGMENT_MELS] for mel, (_, start) in zip(mels, starts, strict=True)]
    return torch.stack(pictures), torch.stack(sounds)


def _events(world: World, indices: Indices, starts: np.ndarray) -> tuple[Tensor, Tensor]:
    """Return where the events are in both segments, (n, 75) each."""
    curves = world.events(indices).numpy()
    at = np.arange(SEGMENT)
    times = starts / (1, MELS_PER_FRAME)
    found = [
        np.stack(
            [
                np.interp(start + at, np.arange(FRAMES), curve)
                for curve, start in zip(curves, side, strict=True)
            ]
        )
        for side in times.T
    ]
    return torch.from_numpy(found[0]).float(), torch.from_numpy(found[1]).float()


def _loss(
    network: SyncNet, pictures: Tensor, sounds: Tensor, classes: Tensor, events: tuple[Tensor, Tensor]
) -> Tensor:
    """Cross-entropy of the offset, and, to help the encoders, of where the events are."""
    seen, heard = network.picture(moving(pictures)), network.sound(sounds)
    loss = functional.cross_entropy(network.comparison(seen, heard), classes)
    finders = ((network.picture_events, seen), (network.sound_events, heard))
    for (head, features), target in zip(finders, events, strict=True):
        loss = loss + functional.binary_cross_entropy_with_logits(head(features).squeeze(-1), target)
    return loss


@torch.inference_mode()
def held_out(network: SyncNet, world: World, rounds: int = 2) -> dict[str, Any]:
    """Return how often the offset is right, and right within one class, over all offsets.

    Also of clips with a single impact, and, as a check that nothing leaks, of sounds that
    belong to another clip: there the offset cannot be known.
    """
    rng = np.random.default_rng([1, world.data.count])
    right: list[tuple[float, float, float]] = []
    single = np.isnan(world.data.events[:, 1])
    owners: list[int] = []
    for _ in range(rounds):
        for indices in np.array_split(rng.permutation(world.data.count), max(1, world.data.count // 16)):
            classes = rng.integers(0, len(OFFSETS), size=len(indices))
            pictures, sounds = cut(world, indices, draw_starts(rng, OFFSETS[classes].astype(np.float64)))
            seen, heard = network.picture(moving(pictures)), network.sound(sounds)
            own, other = (network.comparison(seen, h).argmax(1).numpy() for h in (heard, heard.roll(1, 0)))
            errors = np.abs(own - classes)
            leaked = np.abs(other - classes) <= 1
            right += list(zip(errors == 0, errors <= 1, leaked, strict=True))
            owners += indices.tolist()
    table, alone = np.array(right, dtype=float), single[owners]
    return {
        "split": world.data.split,
        "clips": world.data.count,
        "pairs": len(table),
        "exact": round(float(table[:, 0].mean()), 4),
        "within_one_class": round(float(table[:, 1].mean()), 4),
        "single_impact_clips": int(single.sum()),
        "single_impact_within_one_class": round(float(table[alone, 1].mean()), 4),
        "several_impacts_within_one_class": round(float(table[~alone, 1].mean()), 4),
        "other_clips_sound_within_one_class": round(float(table[:, 2].mean()), 4),
    }
