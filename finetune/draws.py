"""Every random draw of a training, from a generator that is named after what it is for.

A draw depends on the seed and its name only: never on the process, the micro-batch or what was
drawn before. So a batch of 8, four of 2, two processes of 4 and a resumed run see the same numbers.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Generator, Tensor

from v2abench.models import clip_seed

TimeSampling = Literal["uniform", "stratified_uniform", "logit_normal"]


def generator(seed: int, name: str) -> Generator:
    """Return the CPU generator that belongs to a seed and a name."""
    return torch.Generator().manual_seed(clip_seed(seed, name))


def times(
    sampling: TimeSampling, count: int, drawn: Generator, *, mean: float = 0.0, spread: float = 1.0
) -> Tensor:
    """Return `count` times in (0, 1), 0 being the noise.

    `stratified_uniform` draws one from each of `count` equal parts, in random order. For
    `logit_normal` the noise level 1 - t is sigmoid(mean + spread · normal).
    """
    if sampling == "logit_normal":
        return 1 - torch.sigmoid(mean + spread * torch.randn(count, generator=drawn))
    uniform = torch.rand(count, generator=drawn)
    if sampling == "stratified_uniform":
        return (torch.randperm(count, generator=drawn) + uniform) / count
    return uniform


def noises(seed: int, names: Sequence[str], shape: Sequence[int]) -> Tensor:
    """Return one standard normal (len(names), *shape) draw a name."""
    return torch.stack([torch.randn(tuple(shape), generator=generator(seed, name)) for name in names])
