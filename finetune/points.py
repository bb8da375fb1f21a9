"""At which times and noises pairs are looked at, and what stands there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from v2abench.finetune.draws import generator, noises, times
from v2abench.finetune.guard import interpolate
from v2abench.finetune.pair_data import PairData
from v2abench.finetune.preferences.pairs import Pair
from v2abench.finetune.recipe import DPORecipe
from v2abench.flow import Conditions
from v2abench.sampling import noise_for


@dataclass(frozen=True)
class Points:
    """(B,) times, and (2B, ...) noises, the winners' first; with cached errors, (B,) numbers of draws."""

    t: Tensor
    noise: Tensor
    draws: tuple[int, ...] = ()


@dataclass(frozen=True)
class PairBatch:
    """B pairs at their points: (2B, ...) x_t and target velocities, (2B,) times, conditions of B clips."""

    x_t: Tensor
    t: Tensor
    target: Tensor
    conditions: Conditions


def step_points(
    recipe: DPORecipe, data: PairData, indices: Sequence[int], *, positions: range, step: int, batch_size: int
) -> Points:
    """Return the points of the pairs that stand at `positions` in the batch of `step`."""
    if recipe.precompute_ref:
        drawn = torch.randint(
            recipe.precompute_ref, (batch_size,), generator=generator(recipe.seed, f"draw {step}")
        )
        return cached_points(recipe, data, indices, [int(drawn[place]) for place in positions])
    t = _times(recipe, batch_size, f"times {step}")[list(positions)]
    return Points(t, _noise(recipe, data, indices, [f"{step} {place}" for place in positions]))


def cached_points(recipe: DPORecipe, data: PairData, indices: Sequence[int], draws: Sequence[int]) -> Points:
    """Return the points of a pair's `draws`-th look, of which there are finitely many."""
    pairs = [data.pairs[index] for index in indices]
    names = [f"{_name(pair)} {draw}" for pair, draw in zip(pairs, draws, strict=True)]
    t = torch.cat([_times(recipe, 1, f"time {name}") for name in names])
    return Points(t, _noise(recipe, data, indices, names), tuple(draws))


def held_out_points(recipe: DPORecipe, data: PairData, indices: Sequence[int], draw: int, of: int) -> Points:
    """Return the points at which held-out pairs are judged: always the same, spread over all times."""
    names = [f"held out {_name(data.pairs[index])} {draw}" for index in indices]
    spread = torch.cat([torch.rand(1, generator=generator(recipe.seed, name)) for name in names])
    return Points((draw + spread) / of, _noise(recipe, data, indices, names))


def batch_at(data: PairData, indices: Sequence[int], points: Points, device: torch.device) -> PairBatch:
    """Return what stands at the points."""
    latents, noise = data.latents(indices).to(device), points.noise.to(device)
    t = torch.cat([points.t, points.t]).to(device)
    return PairBatch(interpolate(noise, latents, t), t, latents - noise, data.conditions_of(indices, device))


def _times(recipe: DPORecipe, count: int, name: str) -> Tensor:
    drawn = generator(recipe.seed, name)
    return times(recipe.t_sampling, count, drawn, mean=recipe.t_mean, spread=recipe.t_spread)


def _noise(recipe: DPORecipe, data: PairData, indices: Sequence[int], names: Sequence[str]) -> Tensor:
    shape = data.latents(indices[:1]).shape[1:]
    pairs = [data.pairs[index] for index in indices]
    match recipe.noise:
        case "tracked":
            seeds = [*(pair.winner_seed for pair in pairs), *(pair.loser_seed for pair in pairs)]
            return torch.stack([noise_for(seed, tuple(shape)) for seed in seeds])
        case "independent":
            both = [*(f"noise {name}" for name in names), *(f"loser noise {name}" for name in names)]
            return noises(recipe.seed, both, shape)
        case "shared":
            shared = noises(recipe.seed, [f"noise {name}" for name in names], shape)
            return torch.cat([shared, shared])


def _name(pair: Pair) -> str:
    return f"{pair.winner} {pair.loser}"
