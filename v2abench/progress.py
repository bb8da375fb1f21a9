"""How long work tells that it goes on: a stage with a name, a total, and steps."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

Advance = Callable[[int], None]
Progress = Callable[[str, int], AbstractContextManager[Advance]]
"""`with progress("decode", 64) as advance: ...; advance(1)`."""


@contextmanager
def silent(_stage: str, _total: int) -> Iterator[Advance]:
    """The progress that shows nothing: the default of the Python API."""
    yield lambda _steps: None
