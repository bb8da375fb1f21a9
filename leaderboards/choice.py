"""Which clips a page shows: by a rule that can be told, so that nobody picks by taste."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from v2abench.contracts import Direction
from v2abench.errors import UnknownNameError, V2ABenchError

Rule = Literal["all", "random", "best", "worst", "changed"]

Values = Mapping[str, Mapping[str, float]]
"""Model -> clip id -> value."""


@dataclass(frozen=True)
class Choice:
    """A rule and what it needs.

    `random` draws `number` clips by `seed`; `best` and `worst` take those on which the
    first of `models` scores so by `metric`; `changed` those on which its first two differ
    most. `clips`, a list of ids, stands in place of a rule.
    """

    rule: Rule = "random"
    number: int = 12
    seed: int = 0
    metric: str | None = None
    models: tuple[str, ...] = ()
    clips: tuple[str, ...] = ()


@dataclass(frozen=True)
class Chosen:
    """The ids to show, and the rule in words."""

    clips: tuple[str, ...]
    rule: str


def choose(choice: Choice, ids: Sequence[str], values: Values, direction: Direction) -> Chosen:
    """Return the clips among `ids` (in the dataset's order) that `choice` asks for.

    `values` are those of `choice.metric`, with its `direction`. Raises `UnknownNameError`
    for an id or a model that is not there, `V2ABenchError` for a rule that lacks what it needs.
    """
    if choice.clips:
        for name in choice.clips:
            if name not in ids:
                raise UnknownNameError("clip", name, ids)
        return Chosen(tuple(dict.fromkeys(choice.clips)), "clips as listed")
    if choice.rule == "all":
        return Chosen(tuple(ids), "all clips")
    number = min(choice.number, len(ids))
    if choice.rule == "random":
        drawn = set(sorted(ids, key=lambda name: _rank(choice.seed, name))[:number])
        told = f"{number} of {len(ids)} clips, drawn at random with seed {choice.seed}"
        return Chosen(tuple(name for name in ids if name in drawn), told)
    return _by_value(choice, ids, values, direction)


def _by_value(choice: Choice, ids: Sequence[str], values: Values, direction: Direction) -> Chosen:
    wanted = 2 if choice.rule == "changed" else 1
    option = "--between A,B" if wanted == 2 else "--of MODEL"
    if choice.metric is None or len(choice.models) != wanted:
        raise V2ABenchError(f"--choose {choice.rule} needs --by METRIC and {option}")
    if direction == Direction.NEUTRAL:
        raise V2ABenchError(
            f"--by {choice.metric}: it has no better or worse; name a metric with a direction"
        )
    for model in choice.models:
        if model not in values:
            raise UnknownNameError(f"model with values a clip of {choice.metric}", model, values)
    sign = -1 if direction == Direction.LOWER else 1
    first = values[choice.models[0]]
    key: Callable[[str], float]
    if choice.rule == "changed":
        second = values[choice.models[1]]
        scored = [name for name in ids if name in first and name in second]
        key = lambda name: -abs(second[name] - first[name])  # noqa: E731
        told = f"most changed from {choice.models[0]} to {choice.models[1]} by {choice.metric}"
    else:
        scored = [name for name in ids if name in first]
        turn = -sign if choice.rule == "best" else sign
        key = lambda name: turn * first[name]  # noqa: E731
        told = f"{choice.rule} of {choice.models[0]} by {choice.metric}"
    if not scored:
        raise V2ABenchError(
            f"--choose {choice.rule}: no clip has the values of {choice.metric} that it needs"
        )
    found = tuple(sorted(scored, key=key)[: choice.number])
    return Chosen(found, f"{len(found)} of {len(ids)} clips, {told}, in that order")


def _rank(seed: int, name: str) -> str:
    return hashlib.sha256(f"gallery {seed} {name}".encode()).hexdigest()
