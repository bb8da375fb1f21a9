"""The feature store: a Parquet dataset per network fingerprint, keyed by content.

A worker writes a batch as one part, to a temporary name, then renames it: no
locks, safe on network file systems, at most one batch lost in a crash. A
record that could not be made is stored too, with its fault, so that a second
run need not open the file again.

Columns: `key` (content hash, and the protocol's window), `fault` (`code: detail`
or null), `notes`, and for each feature `<name>` its flattened values and
`<name>.shape`.
"""

import json
import logging
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.dataset
import pyarrow.parquet as pq

from v2abench.contracts import Array
from v2abench.errors import ClipFault, V2ABenchError
from v2abench.files import atomic

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Record:
    """What one network said of one content: features, or a fault, and notes."""

    key: str
    features: Mapping[str, Array] = field(default_factory=dict)
    fault: ClipFault | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Store:
    """The records of one network fingerprint, in the folder `path`."""

    path: Path
    features: tuple[str, ...]

    def parts(self) -> list[Path]:
        """Return the part files, sorted; none where nothing was stored yet."""
        return sorted(self.path.glob("part-*.parquet"))

    def read(self, keys: Iterable[str], features: tuple[str, ...] | None = None) -> dict[str, Record]:
        """Return the stored records among `keys`, with all or only some of their features.

        Raises `V2ABenchError` where a part that holds one of them is damaged.
        """
        wanted = set(keys)
        parts = [part for part in self.parts() if not wanted.isdisjoint(_keys(part))] if wanted else []
        if not parts:
            return {}
        chosen = self.features if features is None else features
        columns = ["key", "fault", "notes", *(c for name in chosen for c in (name, f"{name}.shape"))]
        try:
            stored = pa.dataset.dataset([str(part) for part in parts], format="parquet")
            table = stored.to_table(columns, filter=pa.dataset.field("key").isin(sorted(wanted)))
        except (pa.ArrowException, OSError) as error:
            cause = str(error).splitlines()[0]
            raise V2ABenchError(
                f"the cache is damaged in {self.path}: {cause}; run `v2abench cache gc`, then this again"
            ) from error
        found: dict[str, Record] = {}
        for record in _records(table.combine_chunks(), chosen):
            found.setdefault(record.key, record)
        return found

    def missing(self, keys: Sequence[str]) -> list[str]:
        """Return those of `keys` that are not stored, in their order, each once."""
        stored = {key for part in self.parts() for key in _keys(part)} if keys else set()
        return [key for key in dict.fromkeys(keys) if key not in stored]

    def write(self, records: Sequence[Record], description: Mapping[str, object]) -> None:
        """Store `records` as one part, atomically; `description` goes beside the parts once."""
        card = self.path / "network.json"
        if not card.exists():
            with atomic(card) as temporary:
                temporary.write_text(json.dumps(description, indent=2, sort_keys=True) + "\n")
        columns: dict[str, pa.Array] = {
            "key": pa.array([r.key for r in records], pa.string()),
            "fault": pa.array([str(r.fault) if r.fault else None for r in records], pa.string()),
            "notes": pa.array([list(r.notes) for r in records], pa.list_(pa.string())),
        }
        for name in self.features:
            arrays = [r.features.get(name) for r in records]
            columns[name] = _values(arrays)
            shapes = [None if a is None else list(a.shape) for a in arrays]
            columns[f"{name}.shape"] = pa.array(shapes, pa.list_(pa.int32()))
        with atomic(self.path / f"part-{uuid.uuid4().hex}.parquet") as temporary:
            pq.write_table(pa.table(columns), temporary, compression="zstd")


def _records(table: pa.Table, names: Sequence[str]) -> Iterator[Record]:
    for row in range(table.num_rows):
        features = {
            name: values.to_numpy(zero_copy_only=False).reshape(table[f"{name}.shape"][row].as_py())
            for name in names
            if (values := table[name][row].values) is not None
        }
        fault = None
        if text := table["fault"][row].as_py():
            code, _, detail = text.partition(": ")
            fault = ClipFault(code, detail)
        yield Record(table["key"][row].as_py(), features, fault, tuple(table["notes"][row].as_py()))


def damaged_parts(folder: Path) -> list[Path]:
    """Return the part files below `folder` that cannot be read as Parquet."""
    return [part for part in sorted(folder.rglob("part-*.parquet")) if not _readable(part)]


def _readable(part: Path) -> bool:
    try:
        pq.read_table(part)
    except (pa.ArrowException, OSError):
        return False
    return True


@cache
def _keys(part: Path) -> frozenset[str]:
    """The keys in a part; parts never change once they bear their name."""
    try:
        return frozenset(pq.read_table(part, columns=["key"])["key"].to_pylist())
    except (pa.ArrowException, OSError) as error:
        _log.warning("%s is damaged and left aside (%s); `v2abench cache gc` removes it", part, error)
        return frozenset()


def _values(arrays: Sequence[Array | None]) -> pa.Array:
    dtypes = {a.dtype for a in arrays if a is not None} or {np.dtype(np.float32)}
    kind = pa.list_(pa.from_numpy_dtype(np.result_type(*dtypes)))
    return pa.array([None if a is None else a.ravel() for a in arrays], kind)
