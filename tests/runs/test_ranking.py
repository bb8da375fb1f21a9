"""A table that cannot rank the controls properly is broken: general networks on rendered clips."""

import shutil
from pathlib import Path

import pytest
from scipy.stats import ttest_rel

from v2abench.api import Options, evaluate_models
from v2abench.datasets.opening import DatasetOptions, open_dataset
from v2abench.protocols.schema import parse_protocol
from v2abench.runs.evaluation import Run
from v2abench.runs.report import Report, ScoreRecord

PROTOCOL = """
name: general
version: 1
summary: The metrics of `light` without PESQ, at the size of the clips of impacts.
window: {seconds: 4.0, minimum: 0.5, tolerance: 0.1}
networks:
  motion: {short_side: 96}
metrics:
  - {metric: frechet_distance, name: FD_aiSFX, options: {embedding: aisfx.embedding}}
  - {metric: kl, name: KL_aiSFX, options: {logits: aisfx.logits}}
  - {metric: inception_score, name: IS_aiSFX, options: {logits: aisfx.logits, splits: 10}}
  - {metric: kad, name: KAD_aiSFX, options: {embedding: aisfx.embedding}}
  - {metric: av_align, name: AV-Align}
  - {metric: av_align_excess, name: AV-Align-excess}
  - {metric: level_difference, name: Level-Diff}
  - {metric: loudness, name: Loudness}
  - {metric: silence_share, name: Silence}
"""
CONTROLS = ["ground-truth", "shifted:0.4", "shuffled", "noise", "silence"]


@pytest.fixture(scope="module")
def runs(aisfx_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Run]:
    """The run of every control on 64 clips of the test split."""
    home = tmp_path_factory.mktemp("home")
    (home / "weights").mkdir()
    shutil.copy(aisfx_checkpoint, home / "weights")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("V2ABENCH_HOME", str(home))
        dataset = open_dataset("impacts", DatasetOptions(limit=64))
        found = evaluate_models(
            CONTROLS, dataset, parse_protocol(PROTOCOL, "general.yaml"), Options(output=home / "runs")
        )
    return {run.report.model.name: run for run in found}


@pytest.fixture(scope="module")
def board(runs: dict[str, Run]) -> dict[str, Report]:
    return {name: run.report for name, run in runs.items()}


def scores(board: dict[str, Report], metric: str) -> dict[str, float]:
    return {name: report.score(metric).value for name, report in board.items()}


def apart(first: ScoreRecord, second: ScoreRecord) -> bool:
    """Say whether the interval of `first` lies below that of `second`."""
    return first.interval.high < second.interval.low


@pytest.mark.parametrize("metric", ["FD_aiSFX", "KAD_aiSFX"])
def test_distances_rank_truth_then_time_shift_then_noise_then_silence(
    board: dict[str, Report], metric: str
) -> None:
    for better, worse in (
        ("ground-truth", "noise"),
        ("shifted:0.4", "noise"),
        ("shuffled", "noise"),
        ("noise", "silence"),
    ):
        assert apart(board[better].score(metric), board[worse].score(metric)), (better, worse)


def test_fd_of_the_truth_is_nil_and_of_other_sounds_of_the_world_is_not(board: dict[str, Report]) -> None:
    values = scores(board, "FD_aiSFX")
    assert values["ground-truth"] == pytest.approx(0, abs=1e-6)
    assert 0 < values["shifted:0.4"] < values["shuffled"] < values["noise"] / 5


def test_kl_sees_which_clip_a_sound_belongs_to(board: dict[str, Report]) -> None:
    values = scores(board, "KL_aiSFX")
    assert values["ground-truth"] == pytest.approx(0, abs=1e-9)
    assert apart(board["shifted:0.4"].score("KL_aiSFX"), board["shuffled"].score("KL_aiSFX"))
    assert values["shifted:0.4"] < min(values["shuffled"], values["noise"], values["silence"])


@pytest.mark.parametrize(("other", "least"), [("shifted:0.4", 1), ("shuffled", 2), ("noise", 2)])
def test_av_align_above_chance_puts_the_truth_first(runs: dict[str, Run], other: str, least: float) -> None:
    """In this world 64 clips do not make it sure of a shift; DeSync is for that."""
    truth, rival = (runs[name].per_clip["AV-Align-excess"] for name in ("ground-truth", other))
    result = ttest_rel([truth[clip] for clip in truth], [rival[clip] for clip in truth])
    assert result.statistic > least, result


def test_plain_av_align_prefers_noise_to_the_truth_which_is_why_there_is_the_other(
    board: dict[str, Report],
) -> None:
    values = scores(board, "AV-Align")
    assert values["ground-truth"] > max(values["shifted:0.4"], values["shuffled"], values["silence"])
    assert values["noise"] > values["ground-truth"]


def test_levels_tell_silence_and_the_level_of_noise(board: dict[str, Report]) -> None:
    assert scores(board, "Silence")["silence"] == 1
    assert scores(board, "Loudness")["silence"] == -70
    values = scores(board, "Level-Diff")
    assert values["ground-truth"] == 0
    assert values["shifted:0.4"] < values["shuffled"] < values["silence"]


def test_inception_score_is_least_for_sounds_all_alike(board: dict[str, Report]) -> None:
    values = scores(board, "IS_aiSFX")
    assert values["silence"] == pytest.approx(1, abs=1e-6)
    assert values["noise"] < values["ground-truth"]


def test_all_rows_are_comparable_and_whole(board: dict[str, Report]) -> None:
    assert len({report.signature for report in board.values()}) == 1
    for name, report in board.items():
        assert report.coverage.failed == 0, name
        assert report.coverage.degraded == (64 if name == "silence" else 0), name
