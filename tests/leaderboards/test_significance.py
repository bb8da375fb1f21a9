import itertools
from pathlib import Path

import numpy as np
import pytest
import scipy.stats
from made_runs import Made

from v2abench.errors import UnknownNameError
from v2abench.leaderboards.board import build_board
from v2abench.leaderboards.rows import mark_significance
from v2abench.leaderboards.significance import (
    Effort,
    WrittenRun,
    compare_runs,
    holm,
    recentred_p,
    sign_flip_p,
)

EFFORT = Effort(resamples=200)


def test_few_clips_are_tested_exactly() -> None:
    differences = np.array([0.3, -0.1, 0.4, 0.2, 0.05])
    sums = [abs(np.dot(signs, differences)) for signs in itertools.product((1, -1), repeat=5)]
    expected = np.mean([value >= abs(differences.sum()) - 1e-12 for value in sums])
    assert sign_flip_p(differences, 10_000, 0) == pytest.approx(expected)


def test_many_clips_are_tested_at_random_and_agree_with_the_t_test() -> None:
    differences = np.random.default_rng(1).normal(0.15, 1.0, 300)
    p = sign_flip_p(differences, 10_000, 0)
    assert p == pytest.approx(scipy.stats.ttest_1samp(differences, 0).pvalue, abs=0.01)
    assert p == sign_flip_p(differences, 10_000, 0)
    assert sign_flip_p(-differences, 10_000, 0) == pytest.approx(p, abs=0.01)


def test_under_the_null_p_values_are_uniform() -> None:
    rng = np.random.default_rng(2)
    p = [sign_flip_p(rng.normal(size=30), 499, seed) for seed in range(300)]
    assert scipy.stats.kstest(p, "uniform").pvalue > 0.01
    means = [
        recentred_p(float(x.mean()), rng.choice(x, (400, 40)).mean(axis=1))
        for x in rng.normal(size=(300, 40))
    ]
    assert 0.02 < np.mean(np.array(means) < 0.05) < 0.09


def test_no_difference_is_never_significant() -> None:
    assert sign_flip_p(np.zeros(20), 100, 0) == 1.0
    assert recentred_p(0.0, np.zeros(100)) == 1.0
    assert recentred_p(5.0, np.random.default_rng(0).normal(3.0, 1.0, 999)) == pytest.approx(1 / 1000)


def test_holm_is_that_of_the_paper() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.5, 0.9]) == pytest.approx([1.0, 1.0])
    assert holm([]) == []


def test_clip_and_set_metrics_are_held_against_the_base(made: Made) -> None:
    names = ["FD_levels", "Level-Diff", "Loudness"]
    found = compare_runs(made.runs, "good", names, EFFORT)
    assert not found.untested
    by_cell = {(item.model, item.metric): item for item in found.found}
    assert by_cell.keys() == {(m, n) for m in ("ground-truth", "quiet") for n in ("FD_levels", "Level-Diff")}
    quiet = by_cell["quiet", "FD_levels"]
    assert "paired bootstrap" in quiet.method
    assert (quiet.clips, by_cell["ground-truth", "FD_levels"].clips) == (5, 6)
    assert quiet.difference > 0
    reports = {run.report.model.name: run.report for run in made.runs}
    values = [reports[name].score("FD_levels").value for name in ("ground-truth", "good")]
    assert by_cell["ground-truth", "FD_levels"].difference == pytest.approx(values[0] - values[1])
    assert all(item.p <= item.p_corrected <= 1 for item in found.found)
    assert found == compare_runs(made.runs, "good", names, EFFORT)


def test_a_model_against_itself_never_differs(made: Made) -> None:
    twin = WrittenRun(
        made.runs[1].folder,
        made.runs[1].report.model_copy(
            update={"model": made.runs[1].report.model.model_copy(update={"name": "twin"})}
        ),
    )
    found = compare_runs([made.runs[1], twin], made.runs[1].report.model.name, ["FD_levels"], EFFORT)
    assert [item.p for item in found.found] == [1.0]


def test_marks_and_footnotes_tell_what_was_tested(made: Made) -> None:
    board = build_board([run.report for run in made.runs])
    names = [column.name for column in board.columns]
    board = mark_significance(board, compare_runs(made.runs, "good", names, EFFORT))
    quiet = next(row for row in board.rows if row.model == "quiet")
    difference = dict(zip(names, quiet.cells, strict=True))["Level-Diff"]
    assert difference.p is not None
    assert ("−" in difference.marks) == (difference.p < 0.05)
    texts = [note.text for note in board.footnotes]
    assert any(text.startswith("Tested against good: two-sided, paired by clip") for text in texts)


def test_gone_features_and_missing_inputs_are_told_not_guessed(
    made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("V2ABENCH_HOME", str(tmp_path / "empty"))
    found = compare_runs(made.runs, "good", ["FD_levels", "Level-Diff"], EFFORT)
    assert {item.metric for item in found.found} == {"Level-Diff"}
    assert {item.reason for item in found.untested} == {
        "the features of levels are no longer in the store; evaluate again"
    }


def test_an_unknown_base_is_told(made: Made) -> None:
    with pytest.raises(UnknownNameError, match="unknown base 'goood': did you mean 'good'"):
        compare_runs(made.runs, "goood", ["FD_levels"], EFFORT)
