"""What `selftest` says of official checkpoints in the cache: here aiSFX, the one that a package index has."""

from pathlib import Path

import pytest

from v2abench.errors import ClipFault
from v2abench.selftest import checkpoints
from v2abench.selftest.checkpoints import answers, checkpoints_here
from v2abench.weights.fetching import install
from v2abench.weights.registry import lookup


def test_an_empty_cache_has_nothing_to_say() -> None:
    assert list(checkpoints_here()) == []
    assert list(answers("cpu")) == []


def test_a_checkpoint_has_a_hash_and_an_answer_that_a_pinned_value_can_contradict(
    aisfx_checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install("aisfx", aisfx_checkpoint)
    sha256 = lookup("aisfx").sha256
    assert sha256 is not None
    assert list(checkpoints_here()) == [("aisfx", sha256)]
    (answer,) = answers("cpu")
    assert (answer.network, answer.pinned, answer.passed) == ("aisfx", None, True)
    assert answer.value > 0
    for factor, passed in ((1.0, True), (1.01, False)):
        monkeypatch.setitem(checkpoints.PINNED, ("aisfx", sha256), factor * answer.value)
        (pinned,) = answers("cpu")
        assert pinned.passed is passed


def test_a_network_that_can_say_nothing_of_the_clip_is_not_passed_over(
    aisfx_checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install("aisfx", aisfx_checkpoint)

    def refuse(*_arguments: object) -> float:
        raise ClipFault("too-short", "the clip is too short")

    monkeypatch.setattr(checkpoints, "_value", refuse)
    (answer,) = answers("cpu")
    assert (answer.value, answer.problem, answer.passed) == (None, "too-short: the clip is too short", False)
