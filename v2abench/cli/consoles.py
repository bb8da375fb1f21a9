"""Results go to stdout, messages and progress to stderr."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.progress import Progress as RichProgress

from v2abench.progress import Advance

MANY = 1_000_000
"""From so many steps on, a stage counts bytes."""

results = Console()
messages = Console(stderr=True)


@contextmanager
def show_progress(stage: str, total: int) -> Iterator[Advance]:
    """A bar with the time that remains on a terminal, plain lines for what takes over a second elsewhere."""
    if total == 0:
        yield lambda _steps: None
    elif sys.stderr.isatty():
        columns = (
            TextColumn("{task.description:<28}"),
            BarColumn(),
            DownloadColumn() if total >= MANY else MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
        )
        with RichProgress(*columns, console=messages) as bar:
            task = bar.add_task(stage, total=total)
            yield lambda steps: bar.advance(task, steps)
    else:
        with _plain_lines(stage, total) as advance:
            yield advance


@contextmanager
def _plain_lines(stage: str, total: int, every: float = 10.0) -> Iterator[Advance]:
    start = last = time.monotonic()
    done = 0
    unit, scale = (" MB", 1e6) if total >= MANY else ("", 1)

    def count() -> str:
        return f"{done / scale:.0f}/{total / scale:.0f}{unit}"

    def advance(steps: int) -> None:
        nonlocal done, last
        done += steps
        if time.monotonic() - last > every and 0 < done < total:
            last = time.monotonic()
            left = (last - start) / done * (total - done)
            print(f"{stage}: {count()}, about {left:.0f} s left", file=sys.stderr, flush=True)

    yield advance
    if time.monotonic() - start > 1:
        print(f"{stage}: {count()} in {time.monotonic() - start:.1f} s", file=sys.stderr, flush=True)
