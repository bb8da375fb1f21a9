"""Two machines write one store at once: no lock is needed, and nothing is lost or half there."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from v2abench.api import Options, evaluate
from v2abench.features.store import Store, damaged_parts
from v2abench.protocols.schema import Protocol

WRITER = """
import fcntl, sys
from pathlib import Path
import numpy as np
fcntl.flock = None  # no locks here
from v2abench.features.store import Record, Store
store = Store(Path(sys.argv[1]), ("e",))
print("ready", flush=True)
sys.stdin.readline()
for start in range(int(sys.argv[2]), int(sys.argv[2]) + 60, 3):
    records = [Record(str(n), {"e": np.full(50, n, np.float32)}) for n in range(start, start + 3)]
    store.write(records, {"network": "net"})
    store.missing([str(n) for n in range(90)])
"""


def test_two_processes_on_one_store(tmp_path: Path) -> None:
    """The first writes 0 to 59, the second 30 to 89."""
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", WRITER, str(tmp_path), str(first)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for first in (0, 30)
    ]
    for writer in writers:
        assert writer.stdout is not None
        assert writer.stdout.readline() == "ready\n"
    for writer in writers:
        writer.communicate("go\n", timeout=120)
        assert writer.returncode == 0
    store = Store(tmp_path, ("e",))
    assert len(store.parts()) == 40
    assert damaged_parts(tmp_path) == []
    assert store.missing([str(n) for n in range(91)]) == ["90"]
    for key, record in store.read([str(n) for n in range(90)]).items():
        np.testing.assert_array_equal(record.features["e"], np.full(50, int(key)))
    assert not list(tmp_path.glob(".partial*"))


def test_what_another_machine_stored_meanwhile_changes_nothing(
    videos: Path, protocol: Protocol, tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every part is there twice, as when two machines began with the same clips."""
    options = Options(output=tmp_path, bootstrap=10)
    first = evaluate("ground-truth", f"folder:{videos}", protocol, options).report
    for part in list(cache.rglob("part-*.parquet")):
        part.with_name("part-0" + part.name[6:]).write_bytes(part.read_bytes())
    assert evaluate("ground-truth", f"folder:{videos}", protocol, options).report == first
