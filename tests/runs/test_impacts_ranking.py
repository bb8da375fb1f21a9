"""The `impacts` protocol ranks what is known to be better above what is known to be worse, beyond doubt."""

from itertools import pairwise

import pytest

from v2abench.api import Options, evaluate_models
from v2abench.datasets.opening import DatasetOptions, open_dataset
from v2abench.runs.report import Report, ScoreRecord

CLIPS = 64
MODELS = ["ground-truth", "reconstruction", "tiny-flow", "shifted:0.4", "shuffled", "noise", "silence"]
EMPTY = ("noise", "silence")
pytestmark = pytest.mark.timeout(1800)  # about 90 s of work, which a busy machine may draw out


@pytest.fixture(scope="module")
def board(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Report]:
    """The report of every model on the first clips of the test split."""
    home = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("V2ABENCH_HOME", str(home))
        dataset = open_dataset("impacts", DatasetOptions(limit=CLIPS))
        found = evaluate_models(MODELS, dataset, "impacts", Options(output=home / "runs"))
    return {run.report.model.name: run.report for run in found}


def score(board: dict[str, Report], model: str, metric: str) -> ScoreRecord:
    return board[model].score(metric)


def falls(board: dict[str, Report], metric: str, *models: str) -> None:
    """Assert that each model is better than the next, with intervals that do not overlap."""
    for better, worse in pairwise(models):
        first, second = score(board, better, metric), score(board, worse, metric)
        if first.direction == "lower":
            first, second = second, first
        assert first.interval.low > second.interval.high, (metric, better, worse, first, second)


@pytest.mark.parametrize("empty", EMPTY)
@pytest.mark.parametrize("metric", ["Onset-F1", "Material", "KL_impacts"])
def test_truth_beats_tiny_flow_beats_other_clips_sounds_beat_nothing(board, metric, empty) -> None:
    falls(board, metric, "ground-truth", "tiny-flow", "shuffled", empty)


@pytest.mark.parametrize("empty", EMPTY)
def test_the_offset_grows_from_truth_and_tiny_flow_over_other_clips_sounds_to_nothing(board, empty) -> None:
    for right in ("ground-truth", "tiny-flow"):
        falls(board, "DeSync_impacts", right, "shuffled", empty)
    truth, flow = (score(board, name, "DeSync_impacts").value for name in ("ground-truth", "tiny-flow"))
    assert truth < flow


@pytest.mark.parametrize("empty", EMPTY)
def test_fd_grows_from_truth_over_reconstruction_and_tiny_flow_to_nothing(board, empty) -> None:
    falls(board, "FD_impacts", "ground-truth", "reconstruction", "tiny-flow", empty)


def test_a_time_shift_is_punished_by_the_offset_and_hardly_by_fd(board) -> None:
    assert score(board, "shifted:0.4", "DeSync_impacts").value == pytest.approx(0.4, abs=0.05)
    falls(board, "Onset-F1", "tiny-flow", "shifted:0.4")
    shifted, flow = (score(board, name, "FD_impacts").value for name in ("shifted:0.4", "tiny-flow"))
    assert shifted < flow / 10


def test_what_belongs_to_the_picture_is_told_from_what_does_not(board) -> None:
    for wrong in ("shifted:0.4", "shuffled", *EMPTY):
        for right in ("ground-truth", "tiny-flow"):
            falls(board, "IB_impacts", right, wrong)


def test_inception_score_is_least_for_sounds_all_alike(board) -> None:
    for empty in EMPTY:
        falls(board, "IS_impacts", "tiny-flow", empty)
        assert score(board, empty, "IS_impacts").value == pytest.approx(1, abs=0.05)


def test_other_clips_sounds_come_from_outside_and_their_fd_is_not_nil(board) -> None:
    assert score(board, "shuffled", "FD_impacts").value > 0.01


def test_tiny_flow_is_as_good_as_promised_and_leaves_headroom(board) -> None:
    onsets, material = (score(board, "tiny-flow", name).value for name in ("Onset-F1", "Material"))
    assert 0.75 <= onsets < 0.95
    assert 0.6 <= material < 0.95


def test_all_rows_are_comparable_whole_and_explained(board) -> None:
    assert len({report.signature for report in board.values()}) == 1
    for name, report in board.items():
        assert report.coverage.failed == 0, name
        assert report.coverage.degraded == (CLIPS if name == "silence" else 0), name
        assert all(one.about for one in report.scores)
        assert all(one.used == CLIPS for one in report.scores)
