"""The rows of a metric: which clips enter it, and their features as one matrix.

Goal
----
Every metric starts from `features[stream][name][clip id]` and needs a matrix.
This module selects the clips and stacks their arrays, in one way for all.

Conventions
-----------
- Clips are sorted by id, so that no value depends on the order in which
  features arrive.
- Everything is float64 from here on, whatever the network's dtype.
- A set feature is one vector a clip, (d,), or several examples a clip,
  (examples, d), as VGGish gives; every example is then one sample.
- More rows than one block (`BLOCK_ROWS`) are not stacked at once: they stay in the
  arrays they came in, which the feature store maps from disk, and are read and summed
  block by block. The blocks are those of the sorted clips, so that the order of every
  sum is fixed, however the features were computed and stored.
- Features are finite: the boundaries that read media and run networks have
  excluded the rest. A non-finite value here is a bug and raises `ValueError`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import overload

import numpy as np
from numpy.typing import NDArray

from v2abench.contracts import Array, Features, Stream

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

BLOCK_ROWS = 4096
"""Rows that are float64 in memory at once: 64 MiB in 2048 dimensions."""


@dataclass(frozen=True)
class StackedRows:
    """The rows of many arrays (rows, d) of any float dtype, as float64 where they are asked for.

    `starts` (arrays + 1,) is the number of the first row of each array, and of all rows;
    `offset` (d,) is taken from every row.
    """

    arrays: tuple[Array, ...]
    starts: Integers
    offset: Floats

    @classmethod
    def of(cls, arrays: Collection[Array]) -> StackedRows:
        """From at least one array; all are of the same width."""
        first = next(iter(arrays))
        starts = np.concatenate([[0], np.cumsum([len(array) for array in arrays])]).astype(np.int64)
        return cls(tuple(arrays), starts, np.zeros(first.shape[1]))

    @property
    def shape(self) -> tuple[int, int]:
        """(rows, d)."""
        return int(self.starts[-1]), len(self.offset)

    def __len__(self) -> int:
        return int(self.starts[-1])

    def __getitem__(self, index: slice | Integers) -> Floats:
        numbers = np.arange(len(self))[index]
        owners = np.searchsorted(self.starts, numbers, side="right") - 1
        out = np.empty((len(numbers), len(self.offset)))
        for row, (owner, number) in enumerate(zip(owners, numbers - self.starts[owners], strict=True)):
            out[row] = self.arrays[owner][number]
        out -= self.offset
        return out

    def __sub__(self, vector: Floats) -> StackedRows:
        return replace(self, offset=self.offset + vector)


Matrix = Floats | StackedRows
"""Rows (n, d): in memory, or read where they are asked for."""


@dataclass(frozen=True)
class Samples:
    """The samples of a set of clips.

    `rows` is (samples, d), float64 where it is read; `owner` (samples,) is the index into `clips`
    of the clip that a row belongs to.
    """

    clips: tuple[str, ...]
    rows: Matrix
    owner: Integers

    @property
    def one_a_clip(self) -> bool:
        """Whether every clip has exactly one sample."""
        return np.array_equal(self.owner, np.arange(len(self.clips)))

    def row_weights(self, clip_weights: Floats) -> Floats:
        """Spread weights (..., clips) over the rows: (..., samples)."""
        return clip_weights if self.one_a_clip else clip_weights[..., self.owner]


def by_clip(features: Features, stream: Stream, name: str) -> Mapping[str, Array]:
    """One feature of one stream by clip id; empty where nobody computed it."""
    return features.get(stream, {}).get(name, {})


def paired_clips(features: Features, *needed: tuple[Stream, str]) -> tuple[str, ...]:
    """The sorted ids of the clips that have every one of the `needed` features."""
    ids = [by_clip(features, stream, name).keys() for stream, name in needed]
    return tuple(sorted(set(ids[0]).intersection(*ids[1:])))


def finite(values: Array, stream: Stream, name: str, clip: str) -> Floats:
    """`values` in float64; raises `ValueError` where one is NaN or infinite."""
    out = np.asarray(values, dtype=np.float64)
    if not np.isfinite(out).all():
        raise ValueError(f"{stream} feature {name!r} of clip {clip!r} is not finite")
    return out


def gather(features: Features, stream: Stream, name: str, clips: Collection[str] | None = None) -> Samples:
    """Stack a set feature, (d,) or (examples, d) a clip, of all clips or of `clips`.

    Raises `ValueError` for a non-finite value or an array of another rank.
    """
    arrays = by_clip(features, stream, name)
    chosen = tuple(sorted(arrays if clips is None else clips))
    if not chosen:
        return Samples((), np.empty((0, 0)), np.empty(0, dtype=np.int64))
    parts = [_matrix(arrays[clip], stream, name, clip) for clip in chosen]
    owner = np.repeat(np.arange(len(chosen)), [len(part) for part in parts])
    few = len(owner) <= BLOCK_ROWS
    return Samples(chosen, np.concatenate(parts, dtype=np.float64) if few else StackedRows.of(parts), owner)


def _matrix(values: Array, stream: Stream, name: str, clip: str) -> Array:
    finite(values, stream, name, clip)
    matrix = np.atleast_2d(values)
    if matrix.ndim != 2:
        raise ValueError(f"{stream} feature {name!r} of clip {clip!r} has {matrix.ndim} axes, not 1 or 2")
    return matrix


def gather_vectors(
    features: Features, stream: Stream, name: str, clips: Collection[str] | None = None
) -> Samples:
    """`gather` for features that must be one vector a clip, such as logits."""
    samples = gather(features, stream, name, clips)
    if not samples.one_a_clip:
        raise ValueError(f"{stream} feature {name!r} must be one vector a clip")
    return samples


def gather_scalars(features: Features, stream: Stream, name: str, clips: Collection[str]) -> Floats:
    """A scalar feature, () or (1,) a clip, of `clips` in their order: (clips,)."""
    arrays = by_clip(features, stream, name)
    return np.array(
        [finite(arrays[clip], stream, name, clip).reshape(()) for clip in clips], dtype=np.float64
    )


def blocks(rows: Matrix) -> Iterator[tuple[slice, Floats]]:
    """The rows in their fixed blocks: where each lies, and what it holds, in float64."""
    for start in range(0, len(rows), BLOCK_ROWS):
        where = slice(start, min(start + BLOCK_ROWS, len(rows)))
        yield where, np.asarray(rows[where], dtype=np.float64)


def row_mean(rows: Matrix) -> Floats:
    """The mean of at least one row: (d,)."""
    total = sum(block.sum(axis=0) for _, block in blocks(rows))
    return np.asarray(total / len(rows), dtype=np.float64)


@overload
def row_wise(function: Callable[[Floats], Array], first: Matrix, /) -> Array: ...
@overload
def row_wise(function: Callable[[Floats, Floats], Array], first: Matrix, second: Matrix, /) -> Array: ...
def row_wise(function: Callable[..., Array], first: Matrix, *more: Matrix) -> Array:
    """`function` of equally many rows of each matrix, one value a row, block by block: (n,)."""
    found = [
        function(block, *(np.asarray(other[where], dtype=np.float64) for other in more))
        for where, block in blocks(first)
    ]
    return np.concatenate(found) if found else np.empty(0)


def cosines(first: Matrix, second: Matrix) -> Floats:
    """The cosine of each row of (n, d) with that of the other (n, d): (n,)."""
    return np.asarray(row_wise(_cosines, first, second), dtype=np.float64)


def _cosines(first: Floats, second: Floats) -> Floats:
    products = (first * second).sum(axis=1)
    lengths = (first**2).sum(axis=1) * (second**2).sum(axis=1)
    return np.asarray(products / np.sqrt(lengths), dtype=np.float64)


def gather_sets(features: Features, name: str, *, paired: bool) -> tuple[Samples, Samples]:
    """The generated and the reference samples of a set metric.

    All clips of either side enter, or with `paired` those that both sides have.
    """
    clips = paired_clips(features, ("generated", name), ("reference", name)) if paired else None
    return gather(features, "generated", name, clips), gather(features, "reference", name, clips)


def too_few(generated: Samples, reference: Samples, name: str, least: int = 2) -> str | None:
    """Why a set metric over feature `name` is undefined, or None where it is defined."""
    short = [
        f"{len(samples.rows)} {side}"
        for side, samples in (("generated", generated), ("reference", reference))
        if len(samples.rows) < least
    ]
    return (
        f"needs at least {least} samples of {name} on each side, has {' and '.join(short)}" if short else None
    )


def one_sided(generated: Samples, reference: Samples) -> tuple[str, ...]:
    """A warning where the two sides of a set metric do not stand on the same clips.

    Not where they share none: then another reference set was meant.
    """
    first, second = set(generated.clips), set(reference.clips)
    if first == second or not first & second:
        return ()
    return (
        f"{len(first)} generated clips against {len(second)} references, "
        f"{len(first ^ second)} on one side only",
    )
