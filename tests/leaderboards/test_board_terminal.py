import io
import re

import pytest
from made_reports import make_report, make_score
from rich.cells import cell_len
from rich.console import Console

from v2abench.leaderboards.board import Intervals, build_board
from v2abench.leaderboards.terminal import render_terminal
from v2abench.runs.report import Report


def printed(board_runs: list[Report], width: int, intervals: Intervals = "none", colour: bool = False) -> str:
    console = Console(
        file=io.StringIO(),
        width=width,
        force_terminal=colour,
        color_system="standard" if colour else None,
        legacy_windows=False,
    )
    console.print(render_terminal(build_board(board_runs), intervals))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


@pytest.fixture
def wide() -> list[Report]:
    """Twelve metrics, and a name longer than the column of names."""
    names = [f"metric_{i:02d}" for i in range(12)]
    return [
        make_report(
            model, *(make_score(n, v, unit="", direction="lower", bounds=(v - 1, v + 1)) for n in names)
        )
        for model, v in {"short": 2.0, "[red]a name of " + "very " * 12 + "many words[/red]": 3.0}.items()
    ]


def test_a_narrow_board_is_one_table(reports: list[Report]) -> None:
    lines = [line.rstrip() for line in printed(reports, 80).splitlines()]
    assert lines[:9] == [
        "mini (8 clips), protocol light version 1",
        "",
        "                  FD     IS   Loudness",
        "Model              ↓      ↑       LUFS",
        "───────────────────────────────────────",
        "ground truth    0.00  15.50     -20.00",
        "tiny_flow      84.57   8.50     -23.50",
        "a|bᵃ          219.01      –ᵇ    -25.00",
        "",
    ]
    assert lines[9] == "ᵃ Coverage: 8 clips, 7 ok, 0 degraded, 1 failed; clips used 7/8."


def test_parameters_and_licence_stand_in_the_first_table_only(wide: list[Report]) -> None:
    model = wide[0].model.model_copy(update={"parameters": 157_000_000, "license": "CC0"})
    lines = printed([wide[0].model_copy(update={"model": model}), wide[1]], 80).splitlines()
    rows = [line.split() for line in lines if line.startswith("short")]
    assert len(rows) > 1
    assert rows[0][:3] == ["short", "157M", "CC0"]
    assert all("157M" not in row and "CC0" not in row for row in rows[1:])
    assert sum(len(row) - 1 for row in rows) == 2 + 12


def test_intervals_stand_below_the_values(reports: list[Report]) -> None:
    lines = [line.split() for line in printed(reports, 80, "brackets").splitlines()]
    row = next(i for i, line in enumerate(lines) if line[:1] == ["tiny_flow"])
    assert lines[row] == ["tiny_flow", "84.57", "8.50", "-23.50"]
    assert lines[row + 1] == ["[80.00,", "90.25]", "[8.00,", "9.00]"]
    assert lines[-1][0] == "Intervals:"


def test_styles_tell_best_second_and_control(reports: list[Report]) -> None:
    text = printed(reports, 80, colour=True)
    assert re.search(r"\x1b\[1m84\.57\x1b", text)
    assert re.search(r"\x1b\[4m219\.01\x1b", text)
    assert re.search(r"\x1b\[2mground truth", text)


@pytest.mark.parametrize(("width", "tables"), [(60, 4), (80, 3), (100, 2), (170, 1)])
def test_a_wide_board_splits_and_stays_within_the_width(wide: list[Report], width: int, tables: int) -> None:
    lines = printed(wide, width).splitlines()
    assert max(map(cell_len, lines)) <= width
    heads = [line for line in lines if "metric_" in line]
    assert len(heads) == tables
    counts = [head.count("metric_") for head in heads]
    assert sum(counts) == 12
    assert max(counts) - min(counts) <= 1
    assert sum(line.startswith("short ") for line in lines) == tables


def test_a_long_name_is_folded_and_never_read_as_markup(wide: list[Report]) -> None:
    words = " ".join(printed(wide, 60).split())
    assert words.count("[red]a name of") == words.count("words[/red]") == 4


def test_too_narrow_a_terminal_still_shows_every_metric(wide: list[Report]) -> None:
    text = printed(wide, 20)
    assert [f"metric_{i:02d}" in text for i in range(12)] == [True] * 12


def test_control_characters_never_reach_the_terminal() -> None:
    report = make_report("a\x1b[2Jb", make_score("FD", None, unit="d\x07B", warnings=("x\x1b]0;y",), used=0))
    assert "\x1b" not in printed([report], 80)
