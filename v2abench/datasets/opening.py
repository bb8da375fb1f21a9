"""From what a user wrote after `--dataset` to a `Dataset`."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from v2abench import registry
from v2abench.clips import Clip, Dataset
from v2abench.errors import V2ABenchError
from v2abench.progress import Progress, silent

MANIFEST_SUFFIXES = (".tsv", ".csv", ".jsonl")


@dataclass(frozen=True)
class DatasetOptions:
    """What further options say of a dataset: where its files lie, how many clips are wanted.

    `workers` processes render, where clips must be rendered (1: this one).
    """

    data_root: Path | None = None
    reference: Path | None = None
    limit: int | None = None
    workers: int = 1
    progress: Progress = silent


DatasetOpener = Callable[[str, DatasetOptions], Dataset]
"""A registered dataset: the part of the spec behind the colon, and the options."""


def open_dataset(spec: str, options: DatasetOptions | None = None) -> Dataset:
    """Return the dataset that `spec` names: `folder:DIR`, a manifest file, or a registered name.

    Raises `V2ABenchError` for unknown names, unreadable manifests, and ids that
    are double or cannot be file names.
    """
    options = options or DatasetOptions()
    if options.limit is not None and options.limit < 1:
        raise V2ABenchError(f"--limit {options.limit}: give at least 1 clip")
    name, _, argument = spec.partition(":")
    if spec.lower().endswith(MANIFEST_SUFFIXES) and name not in registry.names("datasets"):
        name, argument = "manifest", spec
    opener: DatasetOpener = registry.load("datasets", name)
    dataset = opener(argument, options)
    if not dataset.clips:
        raise V2ABenchError(f"--dataset {spec} has no clips")
    check_ids(dataset.clips, spec)
    return replace(dataset, spec=spec, clips=dataset.clips[: options.limit])


def refuse_options(spec: str, options: DatasetOptions, *names: str) -> None:
    """Raise `V2ABenchError` where an option is given that means nothing for this dataset."""
    for name in names:
        if getattr(options, name) is not None:
            option = "--" + name.replace("_", "-")
            raise V2ABenchError(f"{option} means nothing for --dataset {spec}; leave it out")


def check_ids(clips: tuple[Clip, ...], source: str) -> None:
    """Raise `V2ABenchError`, listing the ids, where one is double, empty or not a file name."""
    twice = [name for name, count in Counter(clip.id for clip in clips).items() if count > 1]
    if twice:
        raise V2ABenchError(
            f"{source}: ids must be unique, but {_some(twice)} stand more than once; "
            "rename or remove the doubles"
        )
    wrong = [repr(clip.id) for clip in clips if not _is_file_name(clip.id)]
    if wrong:
        raise V2ABenchError(
            f"{source}: ids become file names, but {_some(wrong)} cannot; "
            "remove slashes and what is not Unicode, and give every clip an id"
        )


def _is_file_name(text: str) -> bool:
    odd = any(c in "/\\" or c < " " or "\ud800" <= c <= "\udfff" for c in text)
    return bool(text.strip(". ")) and not odd


def _some(names: list[str], most: int = 10) -> str:
    rest = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + rest
