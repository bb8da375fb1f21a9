"""The selftest measures what it says, and notices a deviation."""

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from v2abench.errors import V2ABenchError
from v2abench.selftest import upstream
from v2abench.selftest.checks import CHECKS, by_name, run_checks

QUICK = ("resampling", "metrics", "cnn14", "vggish")


def test_every_network_of_the_papers_protocol_is_checked() -> None:
    named = by_name(CHECKS)
    assert len(named) == len(CHECKS)
    assert {"passt", "cnn14", "vggish", "clap_audio", "synchformer"} <= named.keys()
    assert {"imagebind_audio", "imagebind_video", "synchformer_audio", "synchformer_video"} <= named.keys()


def test_quick_checks_pass_here() -> None:
    outcomes = list(run_checks([by_name(CHECKS)[name] for name in QUICK], "cpu"))
    assert [outcome.check.name for outcome in outcomes] == list(QUICK)
    assert all(outcome.passed and outcome.skipped is None for outcome in outcomes)
    assert all(0 <= outcome.deviation < 1e-4 for outcome in outcomes)


def test_a_deviation_is_noticed() -> None:
    check = by_name(CHECKS)["resampling"]
    wrong = replace(check, measure=lambda device: check.measure(device) + np.float32(1e-4))
    (outcome,) = run_checks([wrong], "cpu")
    assert not outcome.passed
    assert outcome.deviation == pytest.approx(1e-4, rel=0.05)


def test_a_check_without_its_package_is_skipped_and_says_so() -> None:
    (outcome,) = run_checks([replace(CHECKS[0], package="no_such_package")], "cpu")
    assert outcome.skipped == "needs `pip install no_such_package`"


def test_upstream_answers_are_compared_and_problems_are_told(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """With a stand-in for the environment: the first package answers, the second cannot be installed."""
    first, second = upstream.ORACLES[1], upstream.ORACLES[0]
    ours = {"embedding": np.ones(3, np.float32)}
    monkeypatch.setattr(upstream, "ORACLES", (replace(first, ours=lambda _: ours), second))
    monkeypatch.setattr(upstream, "prepare_environment", lambda folder, say: tmp_path / "python")
    problems = {first.package: None, second.package: "pip could not install it"}
    monkeypatch.setattr(upstream, "install", lambda python, package, folder, say: problems[package])
    answer = {"embedding": np.full(3, 1 + 1e-5, np.float32)}
    monkeypatch.setattr(upstream, "ask", lambda *arguments: (answer, None))
    said: list[str] = []
    good, bad = upstream.compare_with_upstream(said.append, tmp_path)
    assert good.passed
    assert good.deviation == pytest.approx(1e-5, rel=0.1)
    assert (bad.passed, bad.deviation, bad.problem) == (False, None, "pip could not install it")
    assert said == [f"{first.network}: asking {first.package}, deterministic weights"]


def test_the_oracle_tells_why_it_cannot_answer(tmp_path: Path) -> None:
    """In this environment there is no hear21passt: the last line of its error is the problem."""
    arrays, problem = upstream.ask(Path(sys.executable), "passt", tmp_path, None)
    assert arrays == {}
    assert problem == "ModuleNotFoundError: No module named 'hear21passt'"


def test_a_python_without_numpy_1_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(upstream, "NEWEST", (3, 0))
    with pytest.raises(V2ABenchError, match=r"3\.11 or 3\.12"):
        upstream.prepare_environment(tmp_path, lambda line: None)
    assert not (tmp_path / "bin").exists()
