"""From class probabilities of a clip's samples to pairs: the rules, the filters, the complexity score.

Goal
----
Of N samples of one clip with probabilities (Good, Medium, Bad), choose who won over whom:
- `extremes`: the highest P(Good) against the highest P(Bad), the V2A-DPO paper's rule;
- `margin`: every ordered pair whose complexity score exceeds a margin;
- `best_worst`: the highest against the lowest of one scalar, as TangoFlux and Flow-GRPO do;
- `random`: two samples at random, the one with the higher P(Good) - P(Bad) wins: a control.

The complexity score of winner w over loser l is
c = ½[(P_w(Good) − P_l(Good)) + (P_l(Bad) − P_w(Bad))]; it is high for easy pairs.

Conventions
-----------
- `probabilities` is (samples, 3), Good, Medium, Bad; everything is float64, so that a pair's
  stage never depends on the device.
- Ties go to the lowest index.

References
----------
V2A-DPO, arXiv:2603.11089. Which pairs are dropped is not in the paper: see `fault_of`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import permutations
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Rule = Literal["extremes", "margin", "best_worst", "random"]
RULES: tuple[Rule, ...] = ("extremes", "margin", "best_worst", "random")
Indices = tuple[int, int]
"""Winner and loser as rows."""

STAGE_THRESHOLD = 0.7
"""Pairs with a higher complexity score train in the first stage."""


@dataclass(frozen=True)
class RuleOptions:
    """`margin` for the rule of that name, `seed` for `random`."""

    margin: float = 0.1
    seed: int = 0


def complexity(winner: Floats, loser: Floats) -> float:
    """Return the complexity score of two (3,) probabilities, in [-1, 1]."""
    won, lost = np.asarray(winner, np.float64), np.asarray(loser, np.float64)
    return float(0.5 * ((won[0] - lost[0]) + (lost[2] - won[2])))


def choose(rule: Rule, probabilities: Floats, clip: str, options: RuleOptions) -> list[Indices]:
    """Return the (winner, loser) rows that `rule` takes of one clip's samples, before any filter."""
    if len(probabilities) == 0:
        return []
    chosen: Callable[[Floats, str, RuleOptions], list[Indices]] = _CHOOSERS[rule]
    return chosen(np.asarray(probabilities, np.float64), clip, options)


def best_and_worst(values: Floats) -> Indices:
    """Return the rows of the highest and of the lowest of (samples,) values."""
    return int(np.argmax(values)), int(np.argmin(values))


def fault_of(pair: Indices, good: Floats, unusable: Sequence[str | None]) -> str | None:
    """Return why a pair is dropped, or None where it stands.

    `good` (samples,) is what the winner must have more of (P(Good)); `unusable` says of each
    sample why it cannot be heard, such as `silent`.
    """
    winner, loser = pair
    if winner == loser:
        return "winner and loser are one sample"
    for side in pair:
        if unusable[side] is not None:
            return f"a sample is {unusable[side]}"
    if not good[winner] > good[loser]:
        return "the winner is not better"
    return None


def _extremes(probabilities: Floats, _clip: str, _options: RuleOptions) -> list[Indices]:
    return [(int(np.argmax(probabilities[:, 0])), int(np.argmax(probabilities[:, 2])))]


def _margin(probabilities: Floats, _clip: str, options: RuleOptions) -> list[Indices]:
    return [
        (winner, loser)
        for winner, loser in permutations(range(len(probabilities)), 2)
        if complexity(probabilities[winner], probabilities[loser]) > options.margin
    ]


def _best_worst(probabilities: Floats, _clip: str, _options: RuleOptions) -> list[Indices]:
    return [best_and_worst(probabilities[:, 0] - probabilities[:, 2])]


def _random(probabilities: Floats, clip: str, options: RuleOptions) -> list[Indices]:
    if len(probabilities) < 2:
        return []
    digest = hashlib.sha256(f"{options.seed} {clip}".encode()).digest()
    drawn = np.random.default_rng(list(digest)).choice(len(probabilities), 2, replace=False)
    first, second = sorted(int(row) for row in drawn)
    ahead = complexity(probabilities[first], probabilities[second]) >= 0
    return [(first, second) if ahead else (second, first)]


_CHOOSERS: dict[Rule, Callable[[Floats, str, RuleOptions], list[Indices]]] = {
    "extremes": _extremes,
    "margin": _margin,
    "best_worst": _best_worst,
    "random": _random,
}
