"""What an engine is, and the one that does everything in this process.

Work is described once (`Work`), and an engine decides where it runs. Whoever has a result
writes it, to the feature store or to a folder of sounds, both atomically, so that engines
carry items there and short answers back, and never a sound or a feature.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import torch

from v2abench.errors import V2ABenchError
from v2abench.home import home
from v2abench.weights.deterministic import Mode, current_mode, weights_mode

if TYPE_CHECKING:
    from v2abench.features.extraction import Extractor, Job

ItemT = TypeVar("ItemT")
ResultT = TypeVar("ResultT")
ItemT_contra = TypeVar("ItemT_contra", contravariant=True)
ResultT_co = TypeVar("ResultT_co", covariant=True)


class Work(Protocol[ItemT_contra, ResultT_co]):
    """What is to be done with items, as it travels to another process."""

    def start(self, device: str) -> Callable[[Sequence[ItemT_contra]], Iterator[ResultT_co]]:
        """Load what is needed, once a process, and return what takes items."""
        ...


class Engine(Protocol):
    """Where work is done."""

    @property
    def devices(self) -> tuple[str, ...]:
        """The devices of this machine; the first is this process's own."""
        ...

    @property
    def elsewhere(self) -> bool:
        """Whether work is done in other processes."""
        ...

    def map(self, work: Work[ItemT, ResultT], items: Sequence[ItemT]) -> Iterator[ResultT]:
        """Yield the results of `items` as they come, in any order."""
        ...

    def extract(self, extractor: Extractor, jobs: Sequence[Job]) -> Iterator[int]:
        """Open each file once, and store what its networks say; yield how many files are done."""
        ...


@dataclass(frozen=True)
class InProcess:
    """The engine of one device: decoding may have worker processes, all else is here."""

    devices: tuple[str, ...] = ("cpu",)
    elsewhere: bool = False

    def map(self, work: Work[ItemT, ResultT], items: Sequence[ItemT]) -> Iterator[ResultT]:
        """See `Engine`."""
        yield from work.start(self.devices[0])(items)

    def extract(self, extractor: Extractor, jobs: Sequence[Job]) -> Iterator[int]:
        """See `Engine`."""
        return extractor.work_off(jobs)


@dataclass(frozen=True)
class ReadOnly:
    """The engine of `--merge`: what is not stored is refused, by name."""

    devices: tuple[str, ...] = ("cpu",)
    elsewhere: bool = False

    def map(self, work: Work[Any, ResultT], items: Sequence[Any]) -> Iterator[ResultT]:
        """Nothing is made while runs are merged."""
        raise AssertionError(f"{work} was to be done with {len(items)} items while merging")

    def extract(self, extractor: Extractor, jobs: Sequence[Job]) -> Iterator[int]:  # noqa: ARG002
        """Raise `V2ABenchError` with the files that are not in the store."""
        names = ", ".join(job.content.text or str(job.content.path) for job in jobs[:3])
        more = f" and {len(jobs) - 3} more" if jobs[3:] else ""
        networks = ", ".join(sorted({network.name for job in jobs for network in job.networks}))
        raise V2ABenchError(
            f"--merge: the store lacks {networks} of {names}{more}; run their shard again, or leave --merge "
            "out to compute it here"
        )


@dataclass(frozen=True)
class Surroundings:
    """What another process must take over from this one, so that it does the same with the same results.

    The folders and settings in `V2ABENCH_*`, where weights come from, and the number of torch's threads.
    """

    environment: Mapping[str, str] = field(
        default_factory=lambda: {
            **{name: value for name, value in os.environ.items() if name.startswith("V2ABENCH_")},
            "V2ABENCH_HOME": str(home()),
        }
    )
    weights: Mode = field(default_factory=current_mode)
    threads: int = field(default_factory=torch.get_num_threads)

    @contextmanager
    def taken_over(self) -> Iterator[None]:
        """Set them; the environment and the threads stay for the rest of the process."""
        os.environ.update(self.environment)
        torch.set_num_threads(self.threads)
        with weights_mode(self.weights):
            yield
