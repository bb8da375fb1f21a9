"""In which order pairs are trained: clear ones first, hard ones later.

V2A-DPO (arXiv 2603.11089) trains pairs whose complexity score exceeds 0.7 first, then the others.
Its thresholds, their number and the shares of steps are choices here: none is plain training in one
stage, two make three stages, and `cumulative` keeps the pairs of earlier stages, as Curriculum-DPO
does (arXiv 2405.13637).

The order is a pure function of seed, stage and step, so that there is no state to resume.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate
from typing import Literal

import torch

from v2abench.errors import V2ABenchError
from v2abench.finetune.draws import generator

LEAST_SHARE = 0.2
"""Of the steps, for a stage with pairs, where steps are shared in proportion."""


@dataclass(frozen=True)
class Curriculum:
    """Stages of pairs by their score.

    `thresholds` fall; a score above the first belongs to stage 1, one above the second to stage
    2, and so on. `stage_steps`: `proportional` to the pairs of each stage, or the steps of each.
    `replay` is the share of each batch of a later stage that is drawn from earlier ones.
    """

    thresholds: tuple[float, ...] = (0.7,)
    mode: Literal["replace", "cumulative"] = "replace"
    stage_steps: Literal["proportional"] | tuple[int, ...] = "proportional"
    replay: float = 0.0

    def __post_init__(self) -> None:
        if list(self.thresholds) != sorted(set(self.thresholds), reverse=True):
            raise V2ABenchError(
                f"curriculum thresholds {self.thresholds} must fall: the clearest pairs come first"
            )
        if not 0 <= self.replay < 1:
            raise V2ABenchError(f"curriculum replay {self.replay} is a share of the batch: give 0 to below 1")


def stage_of(score: float, thresholds: Sequence[float]) -> int:
    """Return the stage, from 0, of a pair with this score; a score at a threshold is below it."""
    return sum(score <= threshold for threshold in thresholds)


def shared_steps(counts: Sequence[int], total: int) -> tuple[int, ...]:
    """Share `total` steps in proportion to `counts`, each stage with pairs at least a fifth of them.

    Where there are more stages than that leaves room for, the least is an equal share.
    """
    filled = sum(count > 0 for count in counts)
    least = min(LEAST_SHARE, 1 / filled) if filled else 0.0
    fixed = {i for i, count in enumerate(counts) if 0 < count < least * sum(counts)}
    free = sum(count for i, count in enumerate(counts) if i not in fixed)
    shares = [
        least if i in fixed else (1 - least * len(fixed)) * count / free for i, count in enumerate(counts)
    ]
    ends = [round(total * end) for end in accumulate(shares)]
    return tuple(end - start for start, end in zip([0, *ends], ends, strict=False))


@dataclass(frozen=True)
class Schedule:
    """Which pairs each step trains. `stages` are indices of pairs, `ends` the first step after each stage."""

    stages: tuple[tuple[int, ...], ...]
    ends: tuple[int, ...]
    batch_size: int
    replay: float
    seed: int

    @property
    def total(self) -> int:
        """The number of steps."""
        return self.ends[-1]

    def stage(self, step: int) -> int:
        """Return the stage, from 0, of a step, from 0."""
        return sum(step >= end for end in self.ends[:-1])

    def batch(self, step: int) -> list[int]:
        """Return the pairs of a step. Inside a stage every pair comes once before any comes again."""
        stage = self.stage(step)
        start = self.ends[stage - 1] if stage else 0
        first = (step - start) * self.batch_size
        chosen = [self._pair(stage, place) for place in range(first, first + self.batch_size)]
        earlier = [pair for pairs in self.stages[:stage] for pair in pairs]
        if self.replay and earlier:
            chosen = self._with_replay(chosen, earlier, step)
        return chosen

    def _pair(self, stage: int, place: int) -> int:
        pairs = self.stages[stage]
        round_, position = divmod(place, len(pairs))
        return pairs[_order(self.seed, stage, round_, len(pairs))[position]]

    def _with_replay(self, chosen: list[int], earlier: list[int], step: int) -> list[int]:
        drawn = generator(self.seed, f"replay {step}")
        swaps = torch.rand(len(chosen), generator=drawn) < self.replay
        others = torch.randint(len(earlier), (len(chosen),), generator=drawn)
        return [
            earlier[int(other)] if swap else pair
            for pair, swap, other in zip(chosen, swaps, others, strict=True)
        ]


@lru_cache(maxsize=4)
def _order(seed: int, stage: int, round_: int, count: int) -> tuple[int, ...]:
    order = torch.randperm(count, generator=generator(seed, f"order {stage} {round_}"))
    return tuple(order.tolist())


def make_schedule(
    scores: Sequence[float], curriculum: Curriculum, steps: int, batch_size: int, seed: int
) -> Schedule:
    """Sort pairs by their scores into stages and share the steps among those that have pairs.

    Raises `V2ABenchError` where there are no pairs, or steps that do not fit the stages.
    """
    if not scores:
        raise V2ABenchError("there are no pairs to train on; loosen the pair rule, or sample more videos")
    stages: list[list[int]] = [[] for _ in range(len(curriculum.thresholds) + 1)]
    for index, score in enumerate(scores):
        stages[stage_of(score, curriculum.thresholds)].append(index)
    per_stage = _steps([len(stage) for stage in stages], curriculum, steps)
    if curriculum.mode == "cumulative":
        stages = list(accumulate(stages, lambda before, new: [*before, *new]))
    kept = [(tuple(stage), count) for stage, count in zip(stages, per_stage, strict=True) if count]
    ends = tuple(accumulate(count for _, count in kept))
    return Schedule(tuple(stage for stage, _ in kept), ends, batch_size, curriculum.replay, seed)


def _steps(counts: Sequence[int], curriculum: Curriculum, total: int) -> tuple[int, ...]:
    given = curriculum.stage_steps
    if given == "proportional":
        return shared_steps(counts, total)
    if len(given) != len(counts) or sum(given) != total:
        raise V2ABenchError(
            f"stage_steps {given} must be {len(counts)} numbers, one a stage, that "
            f"add up to max_steps, {total}"
        )
    if empty := [i + 1 for i, (n, steps) in enumerate(zip(counts, given, strict=True)) if steps and not n]:
        raise V2ABenchError(f"stage_steps gives steps to stage {empty[0]}, which has no pairs")
    return given
