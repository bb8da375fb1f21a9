"""A full disk: the error names the place and the remedy, nothing is damaged, the next run is whole."""

import errno
import os
import resource
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from v2abench.api import Options, evaluate
from v2abench.errors import V2ABenchError
from v2abench.features.store import Record, Store, damaged_parts
from v2abench.protocols.schema import Protocol


@contextmanager
def no_file_beyond(size: int) -> Iterator[None]:
    """Have the kernel refuse what would make a file larger than `size` bytes, in the middle of a write."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


def test_a_part_that_ends_in_the_middle_never_gets_its_name(tmp_path: Path) -> None:
    store = Store(tmp_path / "net", ("e",))
    rows = np.random.default_rng(0).standard_normal((40, 256)).astype(np.float32)
    records = [Record(str(number), {"e": row}) for number, row in enumerate(rows)]
    store.write(records[:2], {})
    with no_file_beyond(8192), pytest.raises(V2ABenchError, match=r"cannot write .*net.part-\w+\.parquet: "):
        store.write(records, {})
    assert damaged_parts(tmp_path) == []
    assert sorted(path.name[:5] for path in store.path.iterdir()) == ["netwo", "part-"]
    store.write(records[2:], {})
    found = store.read([record.key for record in records])
    np.testing.assert_array_equal([found[record.key].features["e"] for record in records], rows)


@pytest.mark.parametrize("number", [0, 3, 9, 14, -1])
def test_the_next_run_is_the_one_that_would_have_been(
    number: int,
    videos: Path,
    protocol: Protocol,
    tmp_path: Path,
    cache: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """One of the files that a run writes finds no room: cards, parts, sounds, and last the report (-1)."""
    original, written = Path.replace, list[str]()

    def replace(self: Path, target: Path) -> Path:
        if len(written) == number or (number < 0 and target.name == "report.json"):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        written.append(target.name)
        return original(self, target)

    def run(folder: str) -> bytes:
        options = Options(output=tmp_path / folder, batch_size=2)
        return (evaluate("noise", f"folder:{videos}", protocol, options).folder / "report.json").read_bytes()

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", replace)
        with pytest.raises(
            V2ABenchError, match=r"cannot write /.*No space left on .*; free some space there"
        ):
            run("broken")
    assert damaged_parts(cache) == []
    left = [path.name for place in (cache, tmp_path) for path in place.rglob(".partial*")]
    assert left == []
    again = run("broken")
    monkeypatch.setenv("V2ABENCH_HOME", str(tmp_path / "other"))
    assert again == run("unbroken")
