"""The feature store: what goes in comes out, and damage is never taken for data."""

import logging
from pathlib import Path

import numpy as np
import pytest

from v2abench.errors import ClipFault
from v2abench.features.store import Record, Store, damaged_parts
from v2abench.features.upkeep import collect, removable, usage


def record(key: str, value: float = 1.0) -> Record:
    features = {
        "embedding": np.full(3, value, np.float32),
        "frames": np.arange(6, dtype=np.float64).reshape(2, 3) * value,
        "scalar": np.array(value),
    }
    return Record(key, features, notes=("padded",))


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "features/net-1", ("embedding", "frames", "scalar"))


def test_arrays_come_back_with_shape_and_dtype(store: Store) -> None:
    store.write([record("a"), record("b", 0.1)], {})
    found = store.read(["b"])
    assert found.keys() == {"b"}
    for name, array in record("b", 0.1).features.items():
        assert found["b"].features[name].dtype == array.dtype
        assert found["b"].features[name].shape == array.shape
        np.testing.assert_array_equal(found["b"].features[name], array)
    assert found["b"].notes == ("padded",)


def test_faults_are_stored_too(store: Store) -> None:
    store.write([record("a"), Record("bad", fault=ClipFault("too-short", "1: sample"))], {})
    found = store.read(["a", "bad"])["bad"]
    assert (found.fault.code, found.fault.detail, dict(found.features)) == ("too-short", "1: sample", {})
    assert store.missing(["bad", "c", "a", "c"]) == ["c"]


def test_arrays_of_unequal_length_and_empty_ones_share_a_part(store: Store) -> None:
    arrays = [np.arange(n, dtype=np.float64) for n in (0, 1, 5)]
    store.write([Record(str(len(a)), {"embedding": a, "frames": a, "scalar": a}) for a in arrays], {})
    found = store.read(["0", "1", "5"])
    assert [len(found[k].features["embedding"]) for k in ("0", "1", "5")] == [0, 1, 5]


def test_parts_of_two_writers_add_up(store: Store) -> None:
    store.write([record("a")], {"weights": "x"})
    Store(store.path, store.features).write([record("b"), record("a", 2.0)], {"weights": "x"})
    assert store.read(["a", "b"]).keys() == {"a", "b"}
    assert (store.path / "network.json").is_file()


def test_a_damaged_part_is_left_aside_with_a_warning_and_can_be_collected(
    store: Store, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    store.write([record("a")], {})
    store.write([record("b")], {})
    broken = store.parts()[0]
    broken.write_bytes(broken.read_bytes()[:50])
    with caplog.at_level(logging.WARNING):
        kept = store.read(["a", "b"])
    assert len(kept) == 1
    assert "damaged" in caplog.text
    assert damaged_parts(tmp_path) == [broken]
    assert [(path, why) for path, why in removable(tmp_path, None)] == [(broken, "damaged")]
    assert collect(tmp_path, None)[0] == 1
    assert len(store.parts()) == 1


def test_usage_counts_the_store(store: Store, tmp_path: Path) -> None:
    store.write([record("a")], {})
    (found,) = usage(tmp_path)
    assert (found.name, found.files) == ("features/net-1", 2)
    assert found.bytes == sum(path.stat().st_size for path in store.path.iterdir())


def test_old_parts_go_only_when_asked(store: Store, tmp_path: Path) -> None:
    store.write([record("a")], {})
    assert list(removable(tmp_path, None)) == []
    assert [why for _, why in removable(tmp_path, 0)] == ["older than 0 days"]
