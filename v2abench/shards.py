"""A shard: which part of a dataset's clips one of several stateless processes does.

`2/3` is the second of three, counted from 1 as test runners and job arrays do. Shards know
nothing of each other: clip k of the dataset belongs to shard k mod n, and what they make
meets in the feature store and in the folders of sounds.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from v2abench.errors import V2ABenchError

Item = TypeVar("Item")

AUTO = "auto"


@dataclass(frozen=True)
class Shard:
    """Shard `index` of `count`, from 1."""

    index: int
    count: int

    def __str__(self) -> str:
        return f"{self.index}/{self.count}"

    def part(self, items: Sequence[Item]) -> tuple[Item, ...]:
        """Return every `count`-th item from the `index`-th on."""
        return tuple(items[self.index - 1 :: self.count])


def parse_shard(text: str | None, environment: Mapping[str, str] = os.environ) -> Shard | None:
    """Return the shard that `--shard` names; None for None.

    `auto` reads what Slurm and torchrun set: the place in a job array, and within it the
    process (`RANK` of `WORLD_SIZE`, else `SLURM_PROCID` of `SLURM_NTASKS`). Raises
    `V2ABenchError` for what is no shard, and for `auto` where neither set anything.
    """
    if text is None:
        return None
    if text.strip() == AUTO:
        return _of_environment(environment)
    match = re.fullmatch(r"\s*(\d+)/(\d+)\s*", text)
    if not match:
        raise V2ABenchError(f"--shard {text}: give i/n, such as 2/3 for the second of three, or auto")
    shard = Shard(int(match[1]), int(match[2]))
    if not 1 <= shard.index <= shard.count:
        raise V2ABenchError(f"--shard {text}: of {shard.count} shards give one from 1 to {shard.count}")
    return shard


def _of_environment(environment: Mapping[str, str]) -> Shard:
    array, process = _array(environment), _process(environment)
    if array is None and process is None:
        raise V2ABenchError(
            "--shard auto: neither Slurm (SLURM_ARRAY_TASK_ID, SLURM_PROCID) nor torchrun (RANK) set a place "
            "here; write --shard i/n"
        )
    place, places = array or (0, 1)
    rank, ranks = process or (0, 1)
    return Shard(place * ranks + rank + 1, places * ranks)


def _array(environment: Mapping[str, str]) -> tuple[int, int] | None:
    """The place in a job array, from 0, and how many places it has."""
    if "SLURM_ARRAY_TASK_ID" not in environment:
        return None
    task, first, count, step = (
        _number({"SLURM_ARRAY_TASK_STEP": "1", **environment}, f"SLURM_ARRAY_TASK_{name}")
        for name in ("ID", "MIN", "COUNT", "STEP")
    )
    place, rest = divmod(task - first, step)
    if rest or not 0 <= place < count:
        raise V2ABenchError(
            f"--shard auto: task {task} is none of {count} tasks from {first} in steps of {step}: the array "
            "is not an even range; write --shard i/n"
        )
    return place, count


def _process(environment: Mapping[str, str]) -> tuple[int, int] | None:
    for rank, size in (("RANK", "WORLD_SIZE"), ("SLURM_PROCID", "SLURM_NTASKS")):
        if rank in environment and size in environment:
            return _number(environment, rank), _number(environment, size)
    return None


def _number(environment: Mapping[str, str], name: str) -> int:
    value = environment.get(name, "")
    if not value.isdecimal():
        raise V2ABenchError(f"--shard auto: {name} is {value!r}, not a number; write --shard i/n")
    return int(value)
