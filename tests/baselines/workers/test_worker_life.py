"""The life of a worker: asked, misbehaving, dying, restarted, given up, and never left behind."""

import json
import logging
import os
import signal
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from worker_processes import Ask, is_running, wait_for

from v2abench.baselines.workers.cards import Card
from v2abench.baselines.workers.opening import open_card
from v2abench.clips import Clip, Dataset
from v2abench.contracts import Request
from v2abench.errors import V2ABenchError
from v2abench.models import ModelContext

StandIn = Callable[..., Card]
Starts = Callable[[], list[int]]


def logs(cache: Path) -> str:
    return "".join(path.read_text() for path in sorted((cache / "models/stand-in/logs").glob("*.log")))


def test_the_sound_is_cut_to_what_was_asked_and_depends_on_the_clips_seed_alone(
    ask: Ask, stand_in: StandIn, starts: Starts
) -> None:
    first = ask(stand_in(), "ok", "ok", "ok")
    again = ask(stand_in(), "ok", "warn", "ok")
    other = ask(stand_in(), "ok", seed=1)
    for clip, answer in first.items():
        assert answer.audio.samples.shape == (1, 16000)
        assert answer.notes == ()
        np.testing.assert_array_equal(answer.audio.samples, again[clip].audio.samples)
    assert again["1"].notes == ("the video was odd",)
    assert (first["0"].audio.samples != other["0"].audio.samples).any()
    assert len(starts()) == 3


def test_requests_carry_what_the_worker_can_honour_and_nothing_else(
    stand_in: StandIn, context: ModelContext, dataset: Dataset, marks: Path
) -> None:
    model = open_card(stand_in(), "steps=7", context)
    clip = Clip("x", dataset.clips[0].video, prompt="ok")
    list(model.generate([Request(clip, 1.0, 12345678901234567)]))
    heard = [json.loads(line) for line in (marks / "heard").read_text().splitlines()]
    assert [message["type"] for message in heard] == ["load", "generate", "shutdown"]
    assert heard[0]["device"] == "cpu"
    request = heard[1]
    assert (request["seed"], request["seconds"], request["options"]) == (12345678901234567, 1.0, {"steps": 7})
    assert Path(request["video"]) == clip.video.absolute()
    assert "cot" not in request
    assert model.recipe["steps"] == 7


def test_no_request_starts_no_process(ask: Ask, stand_in: StandIn, starts: Starts) -> None:
    assert ask(stand_in()) == {}
    assert starts() == []


def test_a_worker_that_dies_is_restarted_and_asked_for_the_same_clip(
    ask: Ask, stand_in: StandIn, starts: Starts, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        found = ask(stand_in(), "ok", "crash-once", "ok")
    assert all(answer.audio is not None for answer in found.values())
    assert len(starts()) == 2
    assert "ended with exit code 3; last in its log: something went wrong inside" in caplog.text


def test_a_clip_that_kills_its_worker_twice_fails_alone(
    ask: Ask, stand_in: StandIn, starts: Starts, cache: Path
) -> None:
    found = ask(stand_in(), "ok", "crash", "ok", "crash", "ok")
    assert [answer.fault.code if answer.fault else "ok" for answer in found.values()] == [
        "ok", "crashed", "ok", "crashed", "ok"
    ]  # fmt: skip
    assert str(cache / "models/stand-in/logs") in found["1"].fault.detail
    assert "something went wrong inside" in found["1"].fault.detail
    assert len(starts()) == 5


def test_a_worker_that_keeps_dying_is_given_up(ask: Ask, stand_in: StandIn, starts: Starts) -> None:
    found = ask(stand_in(), "crash", "crash", "ok", "ok")
    assert {answer.fault.code for answer in found.values()} == {"crashed"}
    assert "not asked: the worker failed 3 times in a row" in found["3"].fault.detail
    assert len(starts()) == 3


def test_an_orderly_end_between_answers_is_a_death_too(ask: Ask, stand_in: StandIn) -> None:
    found = ask(stand_in(), "stop", "ok")
    assert "ended with exit code 0" in found["0"].fault.detail
    assert found["1"].audio is not None


def test_a_worker_that_hangs_is_killed_in_time_and_the_next_clip_goes_on(
    ask: Ask, stand_in: StandIn, starts: Starts
) -> None:
    found = ask(stand_in(clip=3.0), "hang", "ok")
    assert found["0"].fault.code == "timeout"
    assert "last progress: step 3 of 30" in found["0"].fault.detail
    assert found["1"].audio is not None
    assert not is_running(starts()[0])


def test_the_users_timeout_counts(ask: Ask, stand_in: StandIn) -> None:
    found = ask(stand_in(), "hang", argument="timeout=0.5")
    assert "no sound within 0.5 s" in found["0"].fault.detail


def test_a_worker_that_talks_without_end_runs_out_of_time(ask: Ask, stand_in: StandIn) -> None:
    found = ask(stand_in(clip=1.0), "talk")
    assert found["0"].fault.code == "timeout"
    assert "last progress: step; " in found["0"].fault.detail


def test_a_worker_that_reads_nothing_blocks_nobody(
    stand_in: StandIn, context: ModelContext, dataset: Dataset
) -> None:
    """The request is larger than a pipe holds."""
    model = open_card(stand_in("deaf", clip=1.0), "", context)
    clip = Clip("x", dataset.clips[0].video, prompt="ok" * 200_000)
    (answer,) = model.generate([Request(clip, 1.0, 0)])
    assert answer.fault is not None
    assert answer.fault.code == "timeout"


def test_a_child_that_left_the_group_with_the_pipes_is_not_waited_for(
    ask: Ask, stand_in: StandIn, marks: Path
) -> None:
    found = ask(stand_in(), "escape", "ok")
    child = int((marks / "child").read_text())
    assert is_running(child)
    os.kill(child, signal.SIGKILL)
    assert found["0"].fault.code == "crashed"
    assert found["1"].audio is not None


def test_garbage_on_stdout_and_answers_to_others_are_passed_over(
    ask: Ask, stand_in: StandIn, cache: Path
) -> None:
    assert ask(stand_in(), "garbage")["0"].audio is not None
    assert "[not a message on stdout] {not json}" in logs(cache)


@pytest.mark.parametrize(
    ("prompt", "code", "words"),
    [
        ("partial", "truncated", "the file"),
        ("rate", "mismatch", "sample rate 8000, but the model announced 16000"),
        ("said-rate", "mismatch", "announced was 16000"),
        ("short", "too-short", "0.500 s of sound where 1.000 s were asked for"),
        ("nothing", "missing", "wrote no file"),
        ("error:out_of_memory", "out-of-memory", "as told"),
        ("error:video_unreadable", "unreadable", "as told"),
        ("error:bad_request", "bad-request", "as told"),
        ("error:whatever", "failed", "whatever: as told"),
    ],
)
def test_bad_files_and_typed_errors_are_faults_of_the_clip(
    ask: Ask, stand_in: StandIn, starts: Starts, prompt: str, code: str, words: str
) -> None:
    found = ask(stand_in(), prompt, "ok")
    assert found["0"].fault.code == code
    assert words in found["0"].fault.detail
    assert "/tmp" not in found["0"].fault.detail
    assert found["1"].audio is not None
    assert len(starts()) == 1


def test_a_few_milliseconds_that_lack_are_filled_and_noted(ask: Ask, stand_in: StandIn) -> None:
    answer = ask(stand_in(), "tail")["0"]
    assert answer.audio.samples.shape == (1, 16000)
    assert answer.notes == ("20.0 ms of silence added at the end",)
    assert answer.audio.samples[0, :15680].any()
    assert not answer.audio.samples[0, 15680:].any()


def test_an_error_that_asks_for_it_is_tried_again(ask: Ask, stand_in: StandIn, starts: Starts) -> None:
    assert ask(stand_in(), "retry")["0"].audio is not None
    assert len(starts()) == 1


@pytest.mark.parametrize(
    ("mode", "words"),
    [
        ("silent", "did not start within"),
        ("exit-0", "ended with exit code 0"),
        ("future", "not 1"),
        ("no-weights", "missing_checkpoint: ckpts/model.pt is missing"),
        ("slow-load", "did not load its models within"),
    ],
)
def test_a_worker_that_does_not_start_is_an_error_with_log_and_remedy(
    ask: Ask, stand_in: StandIn, starts: Starts, mode: str, words: str
) -> None:
    card = stand_in(
        mode, start=1.0 if mode == "silent" else 200.0, load=1.0 if mode == "slow-load" else 200.0
    )
    with pytest.raises(V2ABenchError, match=r"--model stand-in: .*v2abench models doctor stand-in") as caught:
        ask(card, "ok")
    assert words in str(caught.value)
    assert "/models/stand-in/logs" in str(caught.value)
    assert wait_for(lambda: not any(map(is_running, starts())))


def test_a_program_that_is_not_there_is_named(ask: Ask, stand_in: StandIn) -> None:
    card = stand_in().model_copy(update={"command": ("/nowhere/python",)})
    with pytest.raises(V2ABenchError, match="/nowhere/python cannot be started: No such file"):
        ask(card, "ok")


def test_worker_and_its_children_end_with_the_iterator(
    stand_in: StandIn, context: ModelContext, dataset: Dataset, starts: Starts, marks: Path
) -> None:
    clips = [Clip(str(n), dataset.clips[n].video, prompt="ok") for n in range(3)]
    answers = open_card(stand_in(), "", context).generate([Request(clip, 1.0, 0) for clip in clips])
    next(answers)
    assert is_running(starts()[0])
    answers.close()
    assert not is_running(starts()[0])


def test_children_of_a_worker_that_runs_out_of_time_are_killed(
    ask: Ask, stand_in: StandIn, marks: Path
) -> None:
    assert ask(stand_in(clip=4.0), "child")["0"].fault.code == "timeout"
    child = int((marks / "child").read_text())
    assert wait_for(lambda: not is_running(child))


def test_only_the_newest_logs_are_kept(ask: Ask, stand_in: StandIn, cache: Path) -> None:
    for _ in range(7):
        ask(stand_in(), "ok")
    assert len(list((cache / "models/stand-in/logs").glob("*.log"))) == 5


def test_check_starts_no_model(stand_in: StandIn, dataset: Dataset, starts: Starts) -> None:
    model = open_card(stand_in(), "", ModelContext(dataset))
    with pytest.raises(V2ABenchError, match="check looks at files"):
        list(model.generate([Request(dataset.clips[0], 1.0, 0)]))
    assert starts() == []
