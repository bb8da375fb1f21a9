"""Two processes want the same checkpoint at once: one fetches, the other waits, or goes on in its place."""

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from serving import Site

from v2abench.weights.registry import Weights

CODE = """
import json, sys
from v2abench.weights import fetching, registry
entry = registry.Weights(**json.loads(sys.argv[1]))
registry.registry = lambda: {"net": entry}
print(fetching.fetch("net", notify=lambda message: print(message, flush=True)))
"""

Start = Callable[[], subprocess.Popen[str]]


@pytest.fixture
def start(register: Callable[..., Weights], cache: Path) -> Iterator[Start]:
    """Start a process that fetches `net`; what is still running at the end is killed."""
    entry = json.dumps(register().model_dump(mode="json"))
    started = []

    def fetch() -> subprocess.Popen[str]:
        command = [sys.executable, "-c", CODE, entry]
        environment = os.environ | {"V2ABENCH_HOME": str(cache)}
        process = subprocess.Popen(
            command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        started.append(process)
        return process

    yield fetch
    for process in started:
        process.kill()
        process.communicate()


def line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline()


def wait_for(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


@pytest.fixture
def gate(site: Site) -> Iterator[threading.Event]:
    """While it is closed, the server sends the first half of a body only."""
    site.files["net.pth"].gate = gate = threading.Event()
    yield gate
    gate.set()


def test_one_fetches_and_the_other_waits(
    start: Start, site: Site, gate: threading.Event, cache: Path
) -> None:
    first = start()
    assert "fetching net" in line(first)
    second = start()
    assert "waiting for another process" in line(second)
    gate.set()
    for process in (first, second):
        assert line(process).strip() == str(cache / "weights/net.pth")
        assert process.wait(20) == 0
    assert (cache / "weights/net.pth").read_bytes() == site.files["net.pth"].data
    assert len(site.requests) == 1


def test_the_other_goes_on_where_a_killed_one_ended(
    start: Start, site: Site, gate: threading.Event, cache: Path
) -> None:
    first = start()
    assert "fetching net" in line(first)
    partial = cache / "weights/net.pth.partial"
    wait_for(lambda: partial.is_file() and partial.stat().st_size > 0)
    second = start()
    assert "waiting for another process" in line(second)
    first.kill()
    assert "fetching net" in line(second)
    wait_for(lambda: len(site.requests) == 2)
    gate.set()
    assert line(second).strip() == str(cache / "weights/net.pth")
    assert (cache / "weights/net.pth").read_bytes() == site.files["net.pth"].data
    assert site.ranges[0] is None
    assert (site.ranges[1] or "").startswith("bytes=")
