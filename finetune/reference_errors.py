"""Errors of the reference at finitely many points of every pair, computed before training.

They replace the reference's forward pass, and its weights, in full fine-tuning: the loss needs no more
of the reference than two numbers a pair and point.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from v2abench.finetune.losses import error
from v2abench.finetune.pair_data import PairData
from v2abench.finetune.points import batch_at, cached_points
from v2abench.finetune.policy import Reference
from v2abench.finetune.preferences.pairs import Pair
from v2abench.finetune.recipe import DPORecipe
from v2abench.finetune.tensors import TensorStore
from v2abench.progress import Progress, silent


def store_reference_errors(
    reference: Reference,
    data: PairData,
    recipe: DPORecipe,
    folder: Path,
    *,
    fingerprint: str,
    device: torch.device,
    progress: Progress = silent,
) -> TensorStore:
    """Compute what is not stored yet; a pair's entry has `winner` and `loser`, (draws,) float32."""
    store = TensorStore(folder, fingerprint, torch.float32)
    by_key = {key_of(pair): index for index, pair in enumerate(data.pairs)}
    missing = store.missing(by_key)
    size = recipe.per_device_train_batch_size
    with progress("reference errors", len(missing)) as advance:
        for start in range(0, len(missing), size):
            keys = missing[start : start + size]
            indices = [by_key[key] for key in keys]
            table = _errors(reference, data, recipe, indices, device).permute(1, 2, 0).float().cpu()
            store.add(
                {key: {"winner": row[0], "loser": row[1]} for key, row in zip(keys, table, strict=True)}
            )
            advance(len(keys))
    return store


def read_reference_errors(
    store: TensorStore, data: PairData, indices: Sequence[int], draws: Sequence[int]
) -> tuple[Tensor, Tensor]:
    """Return the (B,) errors of winners and losers at the pairs' draws."""
    rows = [store.read(key_of(data.pairs[index])) for index in indices]
    winner = torch.stack([row["winner"][draw] for row, draw in zip(rows, draws, strict=True)])
    loser = torch.stack([row["loser"][draw] for row, draw in zip(rows, draws, strict=True)])
    return winner, loser


def key_of(pair: Pair) -> str:
    """Return the key of a pair's errors."""
    return f"{pair.winner_hash} {pair.loser_hash} {pair.winner} {pair.loser}"


@torch.no_grad()
def _errors(
    reference: Reference, data: PairData, recipe: DPORecipe, indices: Sequence[int], device: torch.device
) -> Tensor:
    """Return the (draws, B, 2) errors of winners and losers."""
    looks = []
    for draw in range(recipe.precompute_ref):
        batch = batch_at(data, indices, cached_points(recipe, data, indices, [draw] * len(indices)), device)
        velocity = reference(batch.x_t, batch.t, batch.conditions, recipe.training_guidance_scale)
        looks.append(torch.stack(error(velocity, batch.target, recipe.reduction).chunk(2), dim=1))
    return torch.stack(looks)
