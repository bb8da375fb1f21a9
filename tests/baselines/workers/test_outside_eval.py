"""From `models add` to a report: what a person types, and what the ledger says afterwards."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from worker_processes import is_running, wait_for

from v2abench.api import Options, evaluate
from v2abench.baselines.workers.adding import add_model
from v2abench.clips import Dataset
from v2abench.datasets.opening import DatasetOptions, open_dataset
from v2abench.errors import V2ABenchError
from v2abench.models import GenerationOptions
from v2abench.protocols.schema import Protocol
from v2abench.runs.report import Report
from v2abench.synthesis import SynthesisOptions, synthesise

HEARING = (
    "import signal; signal.signal(signal.SIGINT, signal.default_int_handler);"
    "from v2abench.cli import main; main()"
)
"""The command line, hearing SIGINT even where the tests were started without it."""

STAND_IN = Path(__file__).with_name("stand_in.py")


def manifest(folder: Path, videos: Path, prompts: Sequence[str]) -> Dataset:
    """A dataset of the first videos, each with a prompt."""
    rows = [f"{path.stem}\t{path}\t{p}" for path, p in zip(sorted(videos.iterdir()), prompts, strict=False)]
    path = folder / "clips.tsv"
    path.write_text("\n".join(["id\tvideo\tprompt", *rows]) + "\n", encoding="utf-8")
    return open_dataset(str(path), DatasetOptions(data_root=Path("/")))


def by_status(report: Report) -> dict[str, tuple[str, str]]:
    return {e.id: (e.status, e.reasons[0].code if e.reasons else "") for e in report.ledger}


@pytest.fixture
def added(marks: Path) -> Callable[..., None]:
    """Add the stand-in as a model of the user's."""

    def add(timeout: float = 200.0) -> None:
        words = (sys.executable, str(STAND_IN), "well", str(marks))
        add_model("mine", worker=words, licence="CC0", timeout=timeout)

    return add


def test_an_added_worker_is_evaluated_and_its_failures_are_in_the_ledger(
    added: Callable[..., None], videos: Path, protocol: Protocol, tmp_path: Path
) -> None:
    added()
    data = manifest(tmp_path, videos, ["ok", "crash", "tail", "error:no_audio"])
    report = evaluate("Mine=mine:timeout=100", data, protocol, Options(output=tmp_path / "runs")).report
    assert report.model.name == "Mine"
    assert (report.model.license, report.model.text_conditioned) == ("CC0", True)
    assert list(by_status(report).values()) == [
        ("ok", ""), ("failed", "crashed"), ("degraded", "adjusted"), ("failed", "no-audio")
    ]  # fmt: skip
    assert report.score("Loudness").used == 2


def test_a_run_that_goes_on_asks_only_for_what_lacks_and_keeps_the_notes(
    added: Callable[..., None], videos: Path, protocol: Protocol, tmp_path: Path, marks: Path
) -> None:
    added()
    data = manifest(tmp_path, videos, ["tail", "error:busy", "warn"])
    first = evaluate("mine", data, protocol, Options(output=tmp_path / "runs"))
    asked = (marks / "heard").read_text().count('"generate"')
    with (first.folder / "audio/notes.jsonl").open("a") as notes:
        notes.write('["-dash", ["cut')
    second = evaluate("mine", data, protocol, Options(output=tmp_path / "runs"))
    assert second.report == first.report
    assert [r.detail for e in second.report.ledger for r in e.reasons] == [
        "20.0 ms of silence added at the end", "busy: as told", "the video was odd"
    ]  # fmt: skip
    assert (asked, (marks / "heard").read_text().count('"generate"')) == (3, 4)


def test_generate_writes_the_same_to_its_own_ledger_and_goes_on(
    added: Callable[..., None], videos: Path, tmp_path: Path, marks: Path
) -> None:
    added()
    data, out = manifest(tmp_path, videos, ["ok", "crash", "tail", "error:busy"]), tmp_path / "sounds"
    made = synthesise("mine", data, out, SynthesisOptions(generation=GenerationOptions(negative_prompt="x")))
    assert [(entry.status, entry.code) for entry in made] == [
        ("ok", None), ("failed", "crashed"), ("degraded", "adjusted"), ("failed", "failed")
    ]  # fmt: skip
    assert made[2].detail == "20.0 ms of silence added at the end"
    assert sorted(path.name for path in out.glob("*.flac")) == [made[0].file, made[2].file]
    heard = [json.loads(line) for line in (marks / "heard").read_text().splitlines()]
    asked = [message for message in heard if message["type"] == "generate"]
    assert {message["negative_prompt"] for message in asked} == {"x"}
    ledger = (out / "generation.json").read_bytes()
    options = SynthesisOptions(generation=GenerationOptions(negative_prompt="x"))
    assert synthesise("mine", data, out, options) == made
    assert (out / "generation.json").read_bytes() == ledger
    again = (marks / "heard").read_text().count('"generate"') - len(asked)
    assert (len(asked), again) == (5, 3)


def test_a_command_template_runs_once_a_clip_without_a_shell(
    videos: Path, generated: Path, protocol: Protocol, tmp_path: Path
) -> None:
    """The prompt holds what a shell would act on; the words arrive as they are."""
    spy = tmp_path / "spy.py"
    spy.write_text(
        "import json, pathlib, shutil, sys\n"
        "source, video, prompt, seed, output = sys.argv[1:]\n"
        "with pathlib.Path(source, 'said.jsonl').open('a') as said:\n"
        "    said.write(json.dumps([video, prompt, seed]) + '\\n')\n"
        "shutil.copy(next(pathlib.Path(source).glob(pathlib.Path(video).stem + '.*')), output)\n"
        "sys.exit(7 if prompt == 'fail' else 0)\n"
    )
    source = tmp_path / "source"
    source.mkdir()
    for path in generated.iterdir():
        (source / path.name).write_bytes(path.read_bytes())
    words = (sys.executable, str(spy), str(source), "{video}", "{prompt}", "{seed}", "{output}")
    add_model("shelless", command=words)
    data = manifest(tmp_path, videos, ["$(touch pwned) ; {seed}", "fail", "plain"])
    report = evaluate("shelless", data, protocol, Options(output=tmp_path / "runs")).report
    said = [json.loads(line) for line in (source / "said.jsonl").read_text().splitlines()]
    assert [prompt for _, prompt, _ in said] == ["$(touch pwned) ; {seed}", "fail", "plain"]
    assert all(seed.isdigit() for _, _, seed in said)
    assert [status for status, _ in by_status(report).values()] == ["ok", "failed", "ok"]
    assert "ended with exit code 7" in report.ledger[1].reasons[0].detail


def test_a_command_that_hangs_is_killed_with_its_children(
    videos: Path, protocol: Protocol, tmp_path: Path, marks: Path
) -> None:
    code = (
        "import pathlib, subprocess, sys, time;"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(300)']);"
        "pathlib.Path(sys.argv[1], 'child').write_text(str(child.pid)); time.sleep(300)"
    )
    add_model("slow", command=(sys.executable, "-c", code, str(marks), "{video}{output}"), timeout=5.0)
    data = manifest(tmp_path, videos, ["x"])
    report = evaluate("slow", data, protocol, Options(output=tmp_path / "runs")).report
    assert list(by_status(report).values()) == [("failed", "timeout")]
    assert wait_for(lambda: not is_running(int((marks / "child").read_text())))


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({}, "either --worker or --command"),
        ({"worker": ("a",), "command": ("b",)}, "either --worker or --command"),
        ({"command": ("run", "{video}")}, r"must name \{output\}"),
        ({"worker": ("a",), "text": "maybe"}, "text: Input should be"),
    ],
)
def test_what_cannot_be_added_is_told(fields: dict[str, object], words: str) -> None:
    with pytest.raises(V2ABenchError, match=words):
        add_model("mine", **fields)


def test_names_that_are_taken_are_refused() -> None:
    with pytest.raises(V2ABenchError, match="is a model of v2abench"):
        add_model("noise", worker=("python",))
    add_model("mine", worker=("python",))
    with pytest.raises(V2ABenchError, match="--force"):
        add_model("mine", worker=("python",))
    add_model("mine", worker=("python3",), replace=True)
    with pytest.raises(V2ABenchError, match="name: String should match"):
        add_model("../mine", worker=("python",))


def _host(videos: Path, tmp_path: Path, cache: Path) -> subprocess.Popen[str]:
    """An evaluation in a process of its own, whose worker hangs with a child."""
    data = manifest(tmp_path, videos, ["child"])
    line = [
        sys.executable, "-c", HEARING, "eval", "--model", "mine", "--dataset", data.spec, "--data-root", "/",
        "--protocol", str(tmp_path / "tiny.yaml"), "--output", str(tmp_path / "runs"), "--workers", "0",
    ]  # fmt: skip
    return subprocess.Popen(
        line,
        text=True,
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        env={**os.environ, "V2ABENCH_HOME": str(cache)},
    )


def test_ctrl_c_ends_the_worker_and_its_children(
    added: Callable[..., None], videos: Path, protocol_file: Path, tmp_path: Path, cache: Path, marks: Path
) -> None:
    added(timeout=280.0)
    host = _host(videos, tmp_path, cache)
    assert wait_for((marks / "hanging").exists, 250), host.communicate(timeout=5)
    worker, child = (int((marks / name).read_text()) for name in ("hanging", "child"))
    host.send_signal(signal.SIGINT)
    message = host.communicate(timeout=100)[1]
    assert host.returncode == 130, message
    assert "goes on where this one stopped" in message
    assert not is_running(worker)
    assert wait_for(lambda: not is_running(child))


def test_options_are_checked_before_anything_starts(
    added: Callable[..., None], videos: Path, protocol: Protocol, tmp_path: Path, marks: Path
) -> None:
    added()
    for argument, words in [
        ("step=3", "did you mean 'timeout'|unknown option of mine 'step'"),
        ("timeout", "is not KEY=VALUE"),
        ("timeout=soon", "must be a number"),
        ("cot=none", "must be `caption`"),
        ("captions=nowhere.csv", "there is no file"),
    ]:
        with pytest.raises(V2ABenchError, match=words):
            evaluate(f"mine:{argument}", f"folder:{videos}", protocol, Options(output=tmp_path))
    assert not (marks / "starts").exists()
