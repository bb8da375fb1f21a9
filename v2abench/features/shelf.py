"""Arrays that outgrow memory: the first of them stay there, the rest lie in files that are mapped.

The features of thousands of clips are needed together only by metrics that read them
in blocks. What lies on disk takes memory only while it is looked at, and the system
takes it back when it needs it.
"""

from __future__ import annotations

import mmap
import os
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np

from v2abench.contracts import Array
from v2abench.files import write_error

MEMORY = 64 << 20
"""Bytes that stay in memory, and that go to a file at once."""

_ALIGNMENT = 64


def shelved(arrays: Iterable[Array], folder: Path) -> Iterator[Array]:
    """Yield `arrays` in their order, read-only, `MEMORY` bytes of them in memory and the rest on disk.

    The files are in `folder` (in the place for temporary files where that cannot be
    written), have no names, and are gone with the last array, or with the process.
    Raises `V2ABenchError` where the disk is full.
    """
    batch: list[Array] = []
    size, first = 0, True
    for array in arrays:
        batch.append(array)
        size += array.nbytes
        if size >= MEMORY:
            yield from batch if first else _mapped(batch, folder)
            batch, size, first = [], 0, False
    yield from batch if first else _mapped(batch, folder)


def _mapped(arrays: Sequence[Array], folder: Path) -> Iterator[Array]:
    if not any(array.nbytes for array in arrays):
        yield from arrays
        return
    place = folder if os.access(folder, os.W_OK) else Path(tempfile.gettempdir())
    starts = []
    try:
        with tempfile.TemporaryFile(dir=place) as file:
            for array in arrays:
                file.seek(-file.tell() % _ALIGNMENT, os.SEEK_CUR)
                starts.append(file.tell())
                file.write(array.tobytes())
            file.flush()
            memory = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except OSError as error:
        raise write_error(place, error) from error
    for array, start in zip(arrays, starts, strict=True):
        yield (
            np.frombuffer(memory, array.dtype, array.size, start).reshape(array.shape)
            if array.size
            else array
        )
