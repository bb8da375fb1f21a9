"""Looking after the cache: what is in it, what is damaged, what can go."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from v2abench.errors import V2ABenchError
from v2abench.features.store import damaged_parts

PARTIAL_SECONDS = 3600
"""A temporary file that nobody has touched for this long belongs to a process that died."""


@dataclass(frozen=True)
class Usage:
    """One folder of the cache: files and bytes."""

    name: str
    files: int
    bytes: int


def usage(cache: Path) -> list[Usage]:
    """Return what weights, rendered clips and each network's features take."""
    folders = [cache / "weights", cache / "impacts", *sorted((cache / "features").glob("*"))]
    found = []
    for folder in folders:
        sizes = [path.stat().st_size for path in folder.rglob("*") if path.is_file()]
        if sizes:
            found.append(Usage(str(folder.relative_to(cache)), len(sizes), sum(sizes)))
    return found


def removable(cache: Path, older_than_days: float | None) -> Iterator[tuple[Path, str]]:
    """Yield the files that may go, with the reason: damaged parts, leftovers, and old features if asked."""
    now = time.time()
    damaged = set(damaged_parts(cache / "features")) if (cache / "features").is_dir() else set()
    for path in sorted(cache.rglob("*")):
        if not path.is_file():
            continue
        age = now - path.stat().st_mtime
        if path in damaged:
            yield path, "damaged"
        elif path.name.startswith(".partial-") and age > PARTIAL_SECONDS:
            yield path, "left over"
        elif older_than_days is not None and path.name.startswith("part-") and age > older_than_days * 86400:
            yield path, f"older than {older_than_days:g} days"


def collect(cache: Path, older_than_days: float | None) -> tuple[int, int]:
    """Remove what may go; return the number of files and of bytes."""
    count = size = 0
    for path, _ in list(removable(cache, older_than_days)):
        size += path.stat().st_size
        count += 1
        try:
            path.unlink()
        except OSError as error:
            raise V2ABenchError(
                f"cannot remove {path}: {error.strerror}; check who owns the cache"
            ) from error
    return count, size
