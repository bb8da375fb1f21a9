"""The example of docs/workers.md, as it stands there, from `models add` to a report."""

import json
import re
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from worker_processes import is_running, wait_for

from v2abench.api import Options, evaluate
from v2abench.baselines.workers.adding import add_model
from v2abench.baselines.workers.cards import added_card
from v2abench.baselines.workers.connection import Connection
from v2abench.baselines.workers.examining import examine
from v2abench.baselines.workers.places import launch_of
from v2abench.baselines.workers.protocol import parse
from v2abench.datasets.opening import DatasetOptions, open_dataset
from v2abench.protocols.schema import Protocol

DOCS = Path(__file__).parents[3] / "docs"


@pytest.fixture
def example(tmp_path: Path) -> Callable[[], None]:
    (code,) = re.findall(r"```python\n(.*?)```", (DOCS / "workers.md").read_text(encoding="utf-8"), re.DOTALL)
    path = tmp_path / "worker.py"
    path.write_text(code, encoding="utf-8")
    return lambda: add_model("example", worker=(sys.executable, str(path)))


def test_the_example_works(
    example: Callable[[], None], videos: Path, protocol: Protocol, tmp_path: Path, cache: Path
) -> None:
    example()
    assert [check.remedy for check in examine(added_card("example"))] == ["", ""]
    rows = [f"{path.stem}\t{path}\t{'loud' if path.stem == 'c' else ''}" for path in sorted(videos.iterdir())]
    data = tmp_path / "clips.tsv"
    data.write_text("\n".join(["id\tvideo\tprompt", *rows]), encoding="utf-8")
    run = evaluate(
        "example",
        open_dataset(str(data), DatasetOptions(data_root=Path("/"))),
        protocol,
        Options(output=tmp_path / "runs"),
    )
    assert run.report.coverage.ok == 6, run.report.ledger
    loudness = run.per_clip["Loudness"]
    assert max(loudness, key=lambda clip: loudness[clip]) == "c"
    logs = "".join(path.read_text() for path in (cache / "models/example/logs").glob("*.log"))
    assert "loading for cpu" in logs


def test_the_example_ends_when_its_host_does(example: Callable[[], None]) -> None:
    example()
    card = added_card("example")
    connection = Connection(launch_of(card), "cpu", offline=True, timeouts=card.timeouts)
    with connection:
        worker = connection._process
        assert is_running(worker._process.pid)
        worker._outbox.put(None)
        assert wait_for(lambda: not is_running(worker._process.pid))


def test_the_conversation_in_the_docs_is_made_of_messages() -> None:
    """What the worker says there is what the host understands."""
    text = (DOCS / "workers.md").read_text(encoding="utf-8")
    said = re.findall(r"^worker → (\{.*\})$", text, re.MULTILINE)
    assert [json.loads(line)["type"] for line in said] == ["hello", "progress", "ready", "progress", "result"]
    assert all(parse(line.encode()) is not None for line in said)
