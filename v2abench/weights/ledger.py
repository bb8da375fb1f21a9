"""What the files in the cache were when they were last checked: `weights/ledger.json`.

It serves two ends. A checkpoint for which no SHA-256 is registered is bound to the one
that it had when it first came. And a file whose size and modification time are still
those of its last check is not hashed again: gigabytes take longer to hash than to load.
"""

import os
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from v2abench.errors import V2ABenchError
from v2abench.files import write_text
from v2abench.weights.locking import exclusive

_unwritten: dict[Path, "Entry"] = {}
"""Of files in a cache that this process cannot write, so that it hashes them once only."""


class Entry(BaseModel):
    """One checked file: its SHA-256, and its size and modification time when it was checked."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    sha256: str
    size: int
    mtime_ns: int

    @classmethod
    def of(cls, path: Path, sha256: str) -> "Entry":
        """Return the entry of the file at `path` as it is now."""
        found = path.stat()
        return cls(sha256=sha256, size=found.st_size, mtime_ns=found.st_mtime_ns)

    def fits(self, path: Path) -> bool:
        """Say whether the file at `path` still has the size and modification time of its last check."""
        return self == Entry.of(path, self.sha256)


class _Ledger(BaseModel):
    model_config = ConfigDict(extra="forbid")
    version: Literal[1] = 1
    files: dict[str, Entry] = {}


def beside(path: Path) -> Path:
    """Return the ledger that speaks of the file at `path`."""
    return path.with_name("ledger.json")


def find(path: Path) -> Entry | None:
    """Return what is recorded of the file at `path`, whether or not it is still there."""
    return _unwritten.get(path) or _read(beside(path)).files.get(path.name)


def record(path: Path, sha256: str) -> None:
    """Write down that the file at `path` was checked and has this SHA-256."""
    entry = Entry.of(path, sha256)
    if not os.access(path.parent, os.W_OK):
        _unwritten[path] = entry
        return
    with exclusive(beside(path)):
        ledger = _read(beside(path))
        ledger.files[path.name] = entry
        write_text(beside(path), ledger.model_dump_json(indent=2) + "\n")


def _read(path: Path) -> _Ledger:
    try:
        return _Ledger.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return _Ledger()
    except (OSError, ValidationError) as error:
        raise V2ABenchError(
            f"{path} cannot be read ({str(error).splitlines()[0]}); delete it, and the hashes of the "
            "files in the cache are recorded anew"
        ) from error
