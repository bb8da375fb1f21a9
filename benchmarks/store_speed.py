"""How fast features go to the store and come back, and what they take on the disk."""

import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from tables import Row, Table
from timing import seconds_of

from v2abench.features.store import Record, Store

WIDTH = 2048
PART = 16
"""Clips in a part, as an extraction writes them by default."""


def store_speed(counts: Sequence[int]) -> list[Table]:
    """Return processor milliseconds a clip for writing, finding what is missing, and reading."""
    rows = [_row(count) for count in counts]
    note = (
        f"Features of {WIDTH} float32 of noise a clip, {PART} clips a part. Processor milliseconds a clip. "
        "`missing` asks for the first time, which opens every part; a process remembers the answer."
    )
    return [Table("store", "Feature store", rows, note)]


def _row(count: int) -> Row:
    values = np.random.default_rng(0).standard_normal((count, WIDTH), dtype=np.float32)
    records = [Record(f"{index:064x}:8.0", {"embedding": row}) for index, row in enumerate(values)]
    keys = [record.key for record in records]
    with tempfile.TemporaryDirectory() as folder:
        store = Store(Path(folder), ("embedding",))
        written = seconds_of(lambda: _write(store, records), rounds=1)
        asked = seconds_of(lambda: store.missing(keys), rounds=1)
        read = seconds_of(lambda: store.read(keys), rounds=1)
        size = sum(part.stat().st_size for part in store.parts())
    return {
        "clips": count,
        "write ms": 1e3 * written / count,
        "missing ms": 1e3 * asked / count,
        "read ms": 1e3 * read / count,
        "kB on disk": size / 1e3 / count,
        "kB of values": WIDTH * 4 / 1e3,
    }


def _write(store: Store, records: Sequence[Record]) -> None:
    for start in range(0, len(records), PART):
        store.write(records[start : start + PART], {})
