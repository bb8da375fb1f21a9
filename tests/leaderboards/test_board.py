import pytest
from made_reports import SIGNATURE, make_report, make_score

from v2abench.errors import UnknownNameError, V2ABenchError
from v2abench.leaderboards.board import Board, build_board
from v2abench.runs.report import Report, ScoreRecord

OTHER = SIGNATURE.replace("0-8s", "0-4s")


def ranks(board: Board, column: int = 0) -> list[int | None]:
    return [row.cells[column].rank for row in board.rows]


def models(board: Board) -> list[str]:
    return [row.model for row in board.rows]


def test_a_board_holds_what_the_reports_say(reports: list[Report]) -> None:
    board = build_board(reports)
    assert board.title == "mini (8 clips), protocol light version 1"
    assert [(c.name, c.unit, c.arrow) for c in board.columns] == [
        ("FD", "", "↓"),
        ("IS", "", "↑"),
        ("Loudness", "LUFS", ""),
    ]
    assert models(board) == ["ground truth", "tiny_flow", "a|b"]
    assert [row.control for row in board.rows] == [True, False, False]
    cell = board.rows[2].cells[0]
    assert (cell.value, cell.low, cell.high, cell.used, cell.expected) == (219.01, 200.0, 240.0, 7, 8)
    assert board.rows[2].coverage == reports[2].coverage
    assert board.rows[2].signature == SIGNATURE


def test_controls_and_neutral_metrics_are_not_ranked(reports: list[Report]) -> None:
    board = build_board(reports)
    assert ranks(board, 0) == [None, 1, 2]
    assert ranks(board, 2) == [None, None, None]


def test_controls_compete_where_there_is_nothing_else() -> None:
    controls = [make_report(f"c{i}", make_score("FD", i), control=True) for i in (3, 1, 2)]
    board = build_board(controls)
    assert ranks(board) == [None, 1, 2]
    assert not any("Controls" in note.text for note in board.footnotes)


def test_values_that_read_the_same_share_a_rank() -> None:
    values = [2.261, 2.259, 2.264, 2.3, 2.4]
    board = build_board([make_report(str(v), make_score("FD", v)) for v in values])
    assert [board.columns[0].show(row.cells[0].value) for row in board.rows][:3] == ["2.26"] * 3
    assert ranks(board) == [1, 1, 1, 2, None]


@pytest.mark.parametrize("values", [[1.0], [1.0, 1.001], [1.0, None]])
def test_nothing_is_ranked_where_nothing_differs(values: list[float | None]) -> None:
    board = build_board([make_report(f"m{i}", make_score("FD", value)) for i, value in enumerate(values)])
    assert not any(ranks(board))


def test_an_outlying_control_does_not_coarsen_the_column() -> None:
    models = [make_report(str(v), make_score("FD", v)) for v in (84.571, 84.583)]
    alone = build_board(models)
    board = build_board([*models, make_report("noise", make_score("FD", 123456.0), control=True)])
    assert board.columns == alone.columns
    assert [board.columns[0].show(row.cells[0].value) for row in board.rows] == [
        "84.57",
        "84.58",
        "123456.00",
    ]


def test_metrics_select_and_order_the_columns(reports: list[Report]) -> None:
    board = build_board(reports, metrics=["IS", "FD", "IS"])
    assert [column.name for column in board.columns] == ["IS", "FD"]
    assert [cell.value for cell in board.rows[1].cells] == [8.5, 84.567]


def test_an_unknown_metric_is_told_with_the_near_name(reports: list[Report]) -> None:
    message = r"unknown metric 'FD_x': did you mean 'FD'\? known are FD, IS, Loudness"
    with pytest.raises(UnknownNameError, match=message):
        build_board(reports, metrics=["IS", "FD_x"])
    with pytest.raises(UnknownNameError, match=message):
        build_board(reports, sort_by="FD_x")


def test_rows_sort_best_first_and_undefined_last() -> None:
    rows = {"a": (2.0, 2.0), "b": (None, None), "c": (1.0, 1.0), "d": (3.0, 3.0), "e": (2.0, 2.0)}
    runs = [
        make_report(name, make_score("FD", low), make_score("IS", high), make_score("Loudness", high))
        for name, (low, high) in rows.items()
    ]
    assert models(build_board(runs, sort_by="FD")) == ["c", "a", "e", "d", "b"]
    assert models(build_board(runs, sort_by="IS")) == ["d", "a", "e", "c", "b"]
    assert models(build_board(runs, sort_by="Loudness", metrics=["FD"])) == ["d", "a", "e", "c", "b"]


def test_signatures_do_not_mix() -> None:
    runs = [
        make_report("a", make_score("FD", 1.0), signature=OTHER),
        make_report("b", make_score("FD", 2.0)),
        make_report("c", make_score("FD", 3.0)),
    ]
    with pytest.raises(V2ABenchError) as caught:
        build_board(runs)
    assert str(caught.value) == (
        "run 'b' (folder:b) and run 'a' (folder:a) are not comparable: their signatures differ in "
        "'win:0-8s' against 'win:0-4s'; evaluate one of them again under the same protocol, or mix them, "
        "marked, with --force"
    )


def test_forced_rows_of_another_signature_are_marked_and_not_ranked() -> None:
    runs = [
        make_report("best", make_score("FD", 1.0), signature=OTHER),
        make_report("b", make_score("FD", 2.0)),
        make_report("c", make_score("FD", 3.0)),
        make_report("third", make_score("FD", 0.5), signature=OTHER + "|x"),
    ]
    board = build_board(runs, force=True)
    assert ranks(board) == [None, 1, 2, None]
    assert [row.marks for row in board.rows] == [("†",), (), (), ("‡",)]
    assert not any("Controls" in note.text for note in board.footnotes)
    told = {note.mark: note.verbatim for note in board.footnotes if note.verbatim}
    assert told == {"†": OTHER, "‡": OTHER + "|x", "": SIGNATURE}


def test_the_first_signature_is_the_standard_on_a_tie() -> None:
    runs = [make_report("a", make_score("FD", 1.0), signature=OTHER), make_report("b", make_score("FD", 2.0))]
    assert [row.marks for row in build_board(runs, force=True).rows] == [(), ("†",)]
    assert [row.marks for row in build_board(runs[::-1], force=True).rows] == [(), ("†",)]
    sorted_by_fd = build_board(runs[::-1], force=True, sort_by="FD")
    assert [(row.model, row.marks) for row in sorted_by_fd.rows] == [("a", ("†",)), ("b", ())]


def test_a_name_may_come_twice_only_under_two_signatures() -> None:
    first = make_report("a", make_score("FD", 1.0), spec="folder:x")
    twin = make_report("a", make_score("FD", 2.0), spec="folder:y")
    with pytest.raises(V2ABenchError, match=r"named 'a', of folder:x and of folder:y; .* NAME=SPEC"):
        build_board([first, twin])
    other = make_report("a", make_score("FD", 2.0), signature=OTHER)
    assert models(build_board([first, other], force=True)) == ["a", "a"]


def test_a_metric_that_a_run_lacks_is_undefined_there() -> None:
    runs = [
        make_report("a", make_score("FD", 1.0)),
        make_report("b", make_score("FD", 2.0), make_score("IS", 3.0), signature=OTHER),
    ]
    board = build_board(runs, force=True)
    cell = board.rows[0].cells[1]
    assert (cell.value, cell.expected, cell.marks) == (None, None, ("a",))
    assert board.footnotes[0].text == "Not measured in this run."


@pytest.mark.parametrize("odd", [make_score("FD", 2.0, unit="%"), make_score("FD", 2.0, direction="higher")])
def test_a_column_has_one_unit_and_direction(odd: ScoreRecord) -> None:
    runs = [make_report("a", make_score("FD", 1.0)), make_report("b", odd, signature=OTHER)]
    with pytest.raises(
        V2ABenchError, match=r"metric 'FD' has more than one (unit|direction) .* leave it out"
    ):
        build_board(runs, force=True)


def test_a_board_of_nothing_is_an_error(reports: list[Report]) -> None:
    with pytest.raises(V2ABenchError, match="at least one run"):
        build_board([])
    with pytest.raises(V2ABenchError, match="at least one metric"):
        build_board(reports, metrics=[])
    with pytest.raises(V2ABenchError, match="at least one metric"):
        build_board([make_report("a")])
