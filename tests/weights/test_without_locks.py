"""A network file system whose locks keep nobody out: every process still gets the whole checkpoint."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from serving import Site

from v2abench.weights import locking
from v2abench.weights.locking import exclusive
from v2abench.weights.registry import Weights

CODE = """
import fcntl, json, sys
fcntl.flock = lambda *_: None
from v2abench.weights import fetching, registry
entry = registry.Weights(**json.loads(sys.argv[1]))
registry.registry = lambda: {"net": entry}
fetching.fetch("net", notify=lambda message: print(message, flush=True))
print(registry.state("net"))
"""

pytest.importorskip("fcntl")


def test_a_lock_that_keeps_nobody_out_is_recognised(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with exclusive(tmp_path / "net") as alone:
        assert alone
    import fcntl  # noqa: PLC0415 (not on Windows)

    monkeypatch.setattr(fcntl, "flock", lambda *_: None)
    with exclusive(tmp_path / "net") as alone:
        assert not alone
    assert locking.FileLock is not None


@pytest.mark.parametrize("begun", [False, True])
def test_two_processes_fetch_at_once(
    begun: bool, site: Site, register: Callable[..., Weights], cache: Path
) -> None:
    """Both in the middle of the file at the same time; an earlier run may have left a part of it."""
    entry = json.dumps(register().model_dump(mode="json"))
    if begun:
        (cache / "weights").mkdir()
        (cache / "weights/net.pth.partial").write_bytes(b"what another process writes to just now")
    environment = os.environ | {"V2ABENCH_HOME": str(cache), "no_proxy": "*"}
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", CODE, entry],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for _ in range(2)
    ]
    for process in processes:
        said, _ = process.communicate(timeout=120)
        assert process.returncode == 0, said
        assert said.splitlines()[-1] == "ok"
    assert (cache / "weights/net.pth").read_bytes() == site.files["net.pth"].data
    left = {path.name for path in (cache / "weights").iterdir() if not path.name.startswith(".net")}
    assert left <= {"net.pth", "net.pth.partial", "ledger.json", ".ledger.json.lock"}
