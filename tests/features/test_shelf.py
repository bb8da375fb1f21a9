"""Arrays beyond a little memory lie on disk, nameless, and read the same."""

import errno
import mmap
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from v2abench.errors import V2ABenchError
from v2abench.features import shelf
from v2abench.features.shelf import shelved
from v2abench.features.store import Record, Store


def arrays(count: int) -> list[np.ndarray]:
    rng = np.random.default_rng(1)
    kinds = (np.float32, np.float64, np.int16)
    return [(100 * rng.standard_normal((i % 3, 50))).astype(kinds[i % 3]) for i in range(count)]


def on_disk(array: Any) -> bool:
    while isinstance(array, np.ndarray):
        array = array.base
    return isinstance(array.obj if isinstance(array, memoryview) else array, mmap.mmap)


def test_order_values_and_types_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shelf, "MEMORY", 2000)
    given = arrays(40)
    kept = list(shelved(given, tmp_path))
    for before, after in zip(given, kept, strict=True):
        assert after.dtype == before.dtype
        np.testing.assert_array_equal(after, before)
    places = [on_disk(array) for array in kept]
    assert not places[0]
    assert places[38]  # the last but one; the last has no elements
    assert 3 < places.index(True) < 20
    assert not any(array.flags.writeable for array in kept if on_disk(array))


def test_nothing_is_left_in_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shelf, "MEMORY", 1)
    kept = list(shelved(arrays(9), tmp_path))
    assert list(tmp_path.iterdir()) == []
    assert len(kept) == 9


def test_no_arrays_and_empty_ones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shelf, "MEMORY", 1)
    assert list(shelved([], tmp_path)) == []
    kept = list(shelved([np.ones(3), np.empty((0, 4)), np.empty(0)], tmp_path))
    assert [array.shape for array in kept] == [(3,), (0, 4), (0,)]


def test_a_full_disk_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_args: object, **_kwargs: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(shelf, "MEMORY", 1)
    monkeypatch.setattr(shelf.tempfile, "TemporaryFile", full)
    with pytest.raises(V2ABenchError, match=r"cannot write .*No space left.*free some space"):
        list(shelved(arrays(9), tmp_path))


def test_a_store_reads_more_than_fits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store(tmp_path / "net", ("embedding",))
    rows = np.random.default_rng(2).standard_normal((60, 32)).astype(np.float32)
    for start in range(0, 60, 8):
        block = rows[start : start + 8]
        store.write([Record(f"{start + i}", {"embedding": row}) for i, row in enumerate(block)], {})
    monkeypatch.setattr(shelf, "MEMORY", 1024)
    found = store.read([str(i) for i in range(60)])
    np.testing.assert_array_equal([found[str(i)].features["embedding"] for i in range(60)], rows)
    assert sum(on_disk(record.features["embedding"]) for record in found.values()) >= 40
