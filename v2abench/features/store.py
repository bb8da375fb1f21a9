"""The feature store: a Parquet dataset per network fingerprint, keyed by content.

A worker writes a batch as one part, to a temporary name, then renames it: no
locks, safe on network file systems, at most one batch lost in a crash. A
record that could not be made is stored too, with its fault, so that a second
run need not open the file again.

Pages carry checksums. A part whose keys cannot be read counts as not there; one
that turns out damaged later is removed, and either way what it held is computed
anew. Reading goes part by part: what does not fit into memory is mapped from disk
(see `shelf`).

Columns: `key` (content hash, and the protocol's window), `fault` (`code: detail`
or null), `notes`, and for each feature `<name>` its flattened values and
`<name>.shape`.
"""

import json
import logging
import uuid
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.dataset
import pyarrow.parquet as pq

from v2abench.contracts import Array
from v2abench.errors import ClipFault, V2ABenchError
from v2abench.features.shelf import shelved
from v2abench.files import atomic

_log = logging.getLogger(__name__)

_READ_AHEAD = 4
"""Parts that are read before they are wanted."""

_NOTHING = np.empty(0)


class DamagedPartError(V2ABenchError):
    """Part files were damaged, and have been removed: what they held can be computed anew."""


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

        Raises `DamagedPartError` where a part that holds one of them was damaged, and is
        removed; `V2ABenchError` where one cannot be read for another reason.
        """
        wanted = set(keys)
        parts = [part for part in self.parts() if not wanted.isdisjoint(_keys(part))] if wanted else []
        if not parts:
            return {}
        chosen = self.features if features is None else features
        try:
            return _on_shelf(_stored(parts, wanted, chosen), self.path)
        except (pa.ArrowException, OSError) as error:
            self._drop_damaged(parts)
            cause = str(error).splitlines()[0]
            raise V2ABenchError(f"cannot read the cache in {self.path}: {cause}; run this again") from error

    def _drop_damaged(self, parts: Sequence[Path]) -> None:
        """Remove those of `parts` that are damaged, with a word; raise where there are any."""
        damaged = [part for part in parts if part.exists() and not _readable(part)]
        for part in damaged:
            _log.warning("%s is damaged and was removed; what it held is computed anew", part)
            part.unlink(missing_ok=True)
        if damaged:
            raise DamagedPartError(
                f"{damaged[0]} was damaged and has been removed; run this again to compute anew what it held"
            )

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
            # Values hardly recur: a dictionary of them costs bytes, and time both ways.
            pq.write_table(
                pa.table(columns),
                temporary,
                compression="zstd",
                use_dictionary=False,
                write_page_checksum=True,
            )


def _stored(parts: Sequence[Path], wanted: Collection[str], features: Sequence[str]) -> Iterator[Record]:
    """The records of `wanted` in `parts`, one part after the other."""
    columns = ["key", "fault", "notes", *(c for name in features for c in (name, f"{name}.shape"))]
    checked = pa.dataset.ParquetFragmentScanOptions(page_checksum_verification=True)
    stored = pa.dataset.dataset(
        [str(part) for part in parts],
        format=pa.dataset.ParquetFileFormat(default_fragment_scan_options=checked),
    )
    batches = stored.to_batches(
        columns=columns,
        filter=pa.dataset.field("key").isin(sorted(wanted)),
        batch_readahead=_READ_AHEAD,
        fragment_readahead=_READ_AHEAD,
    )
    for batch in batches:
        yield from _records(batch, features)


def _on_shelf(records: Iterable[Record], folder: Path) -> dict[str, Record]:
    """The first record of each key, the arrays in memory or mapped from disk."""
    found: dict[str, Record] = {}

    def arrays() -> Iterator[Array]:
        for record in records:
            if record.key not in found:
                found[record.key] = replace(record, features=dict.fromkeys(record.features, _NOTHING))
                yield from record.features.values()

    kept = iter(list(shelved(arrays(), folder)))
    return {
        key: replace(record, features={name: next(kept) for name in record.features})
        for key, record in found.items()
    }


def _records(table: pa.RecordBatch, names: Sequence[str]) -> Iterator[Record]:
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
        pq.read_table(part, page_checksum_verification=True)
    except pa.ArrowException:
        return False
    except OSError as error:
        # Arrow reports bad pages so, without a number; with one it is the file system's word.
        return error.errno is not None
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
