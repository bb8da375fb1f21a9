"""The world as a dataset: clips in index order, rendered when they are first asked for."""

from pathlib import Path

from v2abench.clips import Dataset
from v2abench.errors import V2ABenchError
from v2abench.impacts.rendering import Progress, render
from v2abench.impacts.scenes import VERSION, split_size


def is_of_impacts(path: Path) -> bool:
    """Say whether a file lies where `impacts_dataset` renders: `impacts/<version>/<split>/`, in any cache."""
    return path.resolve().parts[-4:-2] == ("impacts", VERSION)


def impacts_dataset(
    split: str = "test",
    limit: int | None = None,
    *,
    cache: Path,
    distractors: bool = False,
    workers: int | None = None,
    progress: Progress | None = None,
) -> Dataset:
    """Return the first `limit` clips of `split` (all where None), from `<cache>/impacts/<version>/<split>/`.

    Clips that the folder lacks are rendered. With `distractors`, as many clips
    again as are evaluated come from the end of the split, fewer where it has no
    more; where the whole split is evaluated, from `val` (`test` for `val`). Raises
    `V2ABenchError` for an unknown split, a limit below 1 and a folder that cannot be
    written.
    """
    size = split_size(split)
    if limit is not None and limit < 1:
        raise V2ABenchError(
            f"limit is {limit}: an impacts dataset needs at least one clip; raise it or leave it out"
        )
    count = size if limit is None else min(limit, size)
    further = min(count, size - count) if distractors else 0
    indices = [*range(count), *range(size - further, size)]
    folder = cache / "impacts" / VERSION
    clips = render(split, indices, folder / split, workers, progress)
    others = clips[count:]
    if distractors and not further:
        other = "test" if split == "val" else "val"
        others = render(other, range(min(count, split_size(other))), folder / other, workers)
    return Dataset(
        name="impacts",
        spec=f"impacts/{split}" if count == size else f"impacts/{split}[:{count}]",
        clips=clips[:count],
        distractors=others,
        notes=(f"impacts version {VERSION}",),
    )
