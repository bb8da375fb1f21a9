"""Damaged parts of the feature store are found, dropped with a word, and made anew."""

import logging
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from v2abench.api import Options, evaluate
from v2abench.features.store import DamagedPartError, Record, Store, _keys, damaged_parts
from v2abench.protocols.schema import Protocol

Damage = Callable[[bytes], bytes]


DAMAGES: dict[str, Damage] = {
    "empty": lambda _data: b"",
    "truncated": lambda data: data[: len(data) // 2],
    "of another kind": lambda _data: b"PAR1 but nothing else",
    "without its middle": lambda data: data[:4] + bytes(len(data) - 12) + data[-8:],
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_run_over_a_damaged_part_is_the_same(
    damage: str,
    videos: Path,
    protocol: Protocol,
    tmp_path: Path,
    cache: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    options = Options(output=tmp_path, bootstrap=10)
    first = evaluate("ground-truth", f"folder:{videos}", protocol, options).report
    part = next(cache.rglob("levels-*/part-*.parquet"))
    part.write_bytes(DAMAGES[damage](part.read_bytes()))
    _keys.cache_clear()
    with caplog.at_level(logging.WARNING):
        assert evaluate("ground-truth", f"folder:{videos}", protocol, options).report == first
    assert f"{part} is damaged" in caplog.text
    rest = [path for path in cache.rglob("part-*.parquet") if path != part]
    assert damaged_parts(cache) in ([], [part])
    assert len(rest) > 3


@pytest.mark.parametrize("at", [0.2, 0.4, 0.6, 0.8])
def test_a_changed_byte_is_never_taken_for_data(at: float, tmp_path: Path) -> None:
    """Pages carry checksums: whatever byte changed, either the data are right or the part goes."""
    store = Store(tmp_path, ("e",))
    rows = np.random.default_rng(0).standard_normal((8, 64))
    store.write([Record(str(n), {"e": row}) for n, row in enumerate(rows)], {})
    (part,) = store.parts()
    data = bytearray(part.read_bytes())
    end = len(data) - int.from_bytes(data[-8:-4], "little") - 8
    data[int(at * end)] ^= 0x10
    part.write_bytes(data)
    _keys.cache_clear()
    try:
        found = store.read([str(n) for n in range(8)])
    except DamagedPartError:
        assert store.parts() == []
        return
    for key, record in found.items():
        np.testing.assert_array_equal(record.features["e"], rows[int(key)])


def test_parts_without_checksums_are_still_read(tmp_path: Path) -> None:
    """They were written by earlier versions."""
    store = Store(tmp_path, ("e",))
    store.write([Record("a", {"e": np.arange(3.0)})], {})
    (part,) = store.parts()
    pq.write_table(pq.read_table(part), part, write_page_checksum=False)
    np.testing.assert_array_equal(store.read(["a"])["a"].features["e"], np.arange(3.0))


def test_a_part_that_vanishes_is_no_damage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`cache gc` of another process: what cannot be read for such a reason is not removed."""
    store = Store(tmp_path, ("e",))
    for key in "ab":
        store.write([Record(key, {"e": np.arange(3.0)})], {})
    gone, kept = store.parts()
    assert store.missing(["a", "b"]) == []
    gone.unlink()
    monkeypatch.setattr(Store, "parts", lambda _self: [gone, kept])
    with pytest.raises(Exception, match=r"cannot read the cache .* run this again"):
        store.read(["a", "b"])
    assert kept.exists()
