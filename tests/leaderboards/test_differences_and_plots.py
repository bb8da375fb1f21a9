from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from made_reports import make_report, make_score
from made_runs import LOST, Made

from v2abench.errors import UnknownNameError, V2ABenchError
from v2abench.leaderboards import plots
from v2abench.leaderboards.board import build_board
from v2abench.leaderboards.differences import clip_metrics, difference_of, histogram
from v2abench.runs.report import Report
from v2abench.runs.tables import read_clips


def test_a_gain_is_positive_where_the_second_is_better(made: Made) -> None:
    good, quiet = made.runs[1], made.runs[2]
    found = difference_of(quiet, good, "Level-Diff")
    values = [read_clips(run.folder)["Level-Diff"] for run in (quiet, good)]
    assert {item.clip: item.gain for item in found.clips} == pytest.approx(
        {clip: values[0][clip] - values[1][clip] for clip in values[0]}
    )
    assert list(found.gains) == sorted(found.gains, reverse=True)
    assert found.left_out == (LOST,)
    assert found.counts() == (5, 0, 0)
    wins, losses = found.extremes(2)
    assert [item.gain for item in wins] == list(found.gains[:2])
    assert not losses
    back = difference_of(good, quiet, "Level-Diff")
    assert list(back.gains) == pytest.approx(list(-found.gains[::-1]))
    assert back.p == pytest.approx(found.p) == 2 / 2**5


def test_only_directed_metrics_with_values_a_clip_are_compared(made: Made) -> None:
    assert [score.name for score in clip_metrics(made.runs[1])] == ["Level-Diff"]
    with pytest.raises(UnknownNameError, match="'Loudness'"):
        difference_of(made.runs[0], made.runs[1], "Loudness")
    other = replace(made.runs[0], report=made.runs[0].report.model_copy(update={"signature": "other"}))
    with pytest.raises(V2ABenchError, match="their signatures differ"):
        difference_of(other, made.runs[1], "Level-Diff")
    assert difference_of(other, made.runs[1], "Level-Diff", force=True).clips


def test_a_histogram_counts_everything_and_parts_wins_from_losses() -> None:
    rng = np.random.default_rng(0)
    for gains in (rng.normal(size=200), rng.exponential(size=7), -rng.exponential(size=50), np.zeros(4)):
        counts, edges = histogram(gains)
        assert counts.sum() == len(gains)
        assert len(counts) <= 24
        if gains.any():
            assert np.isclose(edges, 0, atol=1e-12).any()


def figures(reports: list[Report], made: Made) -> dict[str, object]:
    board = build_board(reports)
    names = ("FD", "IS", "Level")
    models = [
        make_report(m, *(make_score(n, float(v + i)) for i, n in enumerate(names)))
        for v, m in enumerate("abc")
    ]
    return {
        "bars": plots.bars(board),
        "radar": plots.radar(build_board(models)),
        "scatter": plots.scatter(board, "FD", "IS"),
        "distribution": plots.distribution({"a<b>$": [1.0, 2.0, 4.0], "b": [0.0, 0.0]}, "AudioScore"),
        "gains": plots.gains(difference_of(made.runs[2], made.runs[1], "Level-Diff")),
    }


def test_every_plot_has_the_same_bytes_each_time(reports: list[Report], made: Made, tmp_path: Path) -> None:
    for turn in ("a", "b"):
        for name, figure in figures(reports, made).items():
            plots.save(figure, tmp_path / turn / name, ["png", "svg"])
    files = sorted(file.name for file in (tmp_path / "a").iterdir())
    assert len(files) == 10
    for name in files:
        data = (tmp_path / "a" / name).read_bytes()
        assert data == (tmp_path / "b" / name).read_bytes()
        assert len(data) > 3000


def test_a_single_model_is_drawn_beside_controls() -> None:
    reports = [
        make_report(m, *(make_score(n, float(v + i)) for i, n in enumerate(("FD", "IS", "Level"))), control=c)
        for v, (m, c) in enumerate((("mine", False), ("noise", True)))
    ]
    (legend,) = plots.radar(build_board(reports)).legends
    assert [text.get_text() for text in legend.get_texts()] == ["mine", "noise"]


def test_what_cannot_be_drawn_is_told(reports: list[Report], tmp_path: Path) -> None:
    board = build_board(reports)
    with pytest.raises(V2ABenchError, match="three metrics or more in which the models differ"):
        plots.radar(board)
    with pytest.raises(UnknownNameError, match="unknown metric 'XX'"):
        plots.scatter(board, "FD", "XX")
    with pytest.raises(V2ABenchError, match="a has 1 values of AudioScore"):
        plots.distribution({"a": [1.0]}, "AudioScore")
    with pytest.raises(UnknownNameError, match="did you mean 'png'"):
        plots.save(plots.bars(board), tmp_path / "x", ["pngg"])
    assert not list(tmp_path.iterdir())
