import pytest
from made_reports import SIGNATURE, make_report, make_score

from v2abench.leaderboards.board import build_board
from v2abench.leaderboards.footnotes import Footnote
from v2abench.runs.report import Reason, Report


def test_footnotes_in_reading_order(reports: list[Report]) -> None:
    board = build_board(reports)
    assert board.footnotes == (
        Footnote("Coverage: 8 clips, 7 ok, 0 degraded, 1 failed; clips used 7/8.", "a"),
        Footnote("Undefined: 7 clips are too few for 10 splits.", "b"),
        Footnote("Coverage, unless marked: 8 clips, all ok."),
        Footnote("Controls, not ranked: ground truth."),
        Footnote("Signature", verbatim=SIGNATURE),
    )
    assert [row.marks for row in board.rows] == [(), (), ("a",)]
    assert [cell.marks for cell in board.rows[2].cells] == [(), ("b",), ()]


@pytest.mark.parametrize(
    ("used", "told"),
    [
        ((8, 8, 8), ""),
        ((7, 7, 7), "; clips used 7/8"),
        ((7, 7, 8), "; clips used 7/8 (8/8 by PESQ)"),
        ((8, 6, 8), "; clips used 8/8 (6/8 by IS)"),
        ((8, 7), "; clips used 8/8 by FD; 7/8 by IS"),
        ((8, 7, 6), "; clips used 8/8 by FD; 7/8 by IS; 6/8 by PESQ"),
    ],
)
def test_coverage_names_the_metrics_that_stand_on_fewer_clips(used: tuple[int, ...], told: str) -> None:
    scores = [make_score(name, 1.0, used=n) for name, n in zip(("FD", "IS", "PESQ"), used, strict=False)]
    board = build_board([make_report("a", *scores, degraded=2)])
    assert board.footnotes[0].text == f"Coverage: 8 clips, 6 ok, 2 degraded, 0 failed{told}."


def test_a_metric_for_some_clips_is_no_lost_coverage() -> None:
    board = build_board(
        [make_report("a", make_score("FD", 1.0), make_score("PESQ", 2.0, used=3, expected=3))]
    )
    assert [note.text for note in board.footnotes[:2]] == [
        "Coverage: 8 clips, all ok.",
        "Meant for 3 of 8 clips only: PESQ.",
    ]


def test_a_metric_for_no_clip_is_left_out_and_told_unless_it_is_asked_for() -> None:
    none = make_score("PESQ", None, warnings=("no clip is marked as speech",), used=0, expected=0)
    reports = [make_report("a", make_score("FD", 1.0), none)]
    board = build_board(reports)
    assert [column.name for column in board.columns] == ["FD"]
    assert board.footnotes[-1].text == "Left out, since no clip is of the kind they are for: PESQ."
    board = build_board(reports, metrics=["FD", "PESQ"])
    assert [column.name for column in board.columns] == ["FD", "PESQ"]
    assert [note.text for note in board.footnotes[:2]] == [
        "Undefined: no clip is marked as speech.",
        "Coverage: 8 clips, all ok.",
    ]
    assert not any("Meant" in note.text for note in board.footnotes)


def test_the_coverage_of_most_rows_is_unmarked() -> None:
    failed = [0, 1, 1]
    runs = [make_report(str(i), make_score("FD", i, used=8 - n), failed=n) for i, n in enumerate(failed)]
    board = build_board(runs)
    assert [row.marks for row in board.rows] == [("a",), (), ()]
    assert board.footnotes[0] == Footnote("Coverage: 8 clips, all ok.", "a")


def test_a_warning_of_every_row_is_told_once() -> None:
    scores = [make_score(name, 1.0, warnings=("few clips", "few clips")) for name in ("FD", "IS")]
    board = build_board([make_report(name, *scores) for name in "ab"])
    assert [note.text for note in board.footnotes if "few" in note.text] == ["FD, IS: few clips."]
    assert not any(cell.marks for row in board.rows for cell in row.cells)


def test_another_warning_than_most_rows_have_is_marked() -> None:
    warned = [("7 clips",), ("8 clips",), ("8 clips",), ("8 clips", "one is short")]
    board = build_board([make_report(str(i), make_score("FD", i, warnings=w)) for i, w in enumerate(warned)])
    assert [row.cells[0].marks for row in board.rows] == [("a",), (), (), ("b", "c")]
    assert [(note.mark, note.text) for note in board.footnotes[:4]] == [
        ("a", "7 clips."),
        ("b", "8 clips."),
        ("c", "one is short."),
        ("", "FD, unless marked: 8 clips."),
    ]


def test_a_warning_that_a_row_lacks_is_marked_where_it_holds() -> None:
    runs = [
        make_report(str(i), make_score("FD", i, warnings=w)) for i, w in enumerate([("thin",), ("thin",), ()])
    ]
    board = build_board(runs)
    assert [row.cells[0].marks for row in board.rows] == [("a",), ("a",), ()]


def test_an_undefined_value_without_a_warning_tells_the_clips() -> None:
    reasons = tuple(
        Reason(about=str(i), code=code, detail="") for i, code in enumerate(["missing", "no-audio"] * 2)
    )
    bare = make_score("FD", None, used=0)
    board = build_board(
        [
            make_report("a", bare),
            make_report("b", bare.model_copy(update={"missing": reasons}), make_score("IS", 1.0)),
        ]
    )
    assert [note.text for note in board.footnotes if note.mark] == [
        "Undefined: 0 of 8 clips could be used.",
        "Not measured in this run.",
        "Undefined: 0 of 8 clips could be used (2 missing, 2 no-audio).",
    ]


def test_letters_go_on_after_z_without_q() -> None:
    runs = [make_report(str(i), make_score("FD", None, warnings=(f"w{i}",))) for i in range(27)]
    marks = [row.cells[0].marks[0] for row in build_board(runs).rows]
    assert "".join(marks) == "abcdefghijklmnoprstuvwxyz" + "aa" + "ab"


def test_intervals_tell_level_and_method(reports: list[Report]) -> None:
    assert build_board([make_report("a", make_score("FD", 1.0))]).interval_note == ""
    one = make_report("a", make_score("FD", 1.0, bounds=(0.5, 1.5)))
    assert build_board([one]).interval_note == "Intervals: 95 %, student-t."
    assert (
        build_board(reports).interval_note
        == "Intervals: 95 %, student-t (FD); 95 %, recentred-bootstrap (IS)."
    )


def test_signatures_beyond_the_fifth_double_their_dagger() -> None:
    runs = [make_report("a", make_score("FD", i), signature=f"s{i}") for i in range(6)]
    assert [row.marks for row in build_board(runs, force=True).rows] == [
        (),
        ("†",),
        ("‡",),
        ("§",),
        ("¶",),
        ("††",),
    ]


def test_what_a_protocol_says_of_a_metric_stands_below_the_board_once() -> None:
    told = make_score("FD", 1.0).model_copy(update={"about": "distance of sets"})
    board = build_board([make_report("a", told, make_score("IS", 2.0)), make_report("b", told)])
    assert board.footnotes[0] == Footnote("FD: distance of sets.")
    assert sum("distance" in note.text for note in board.footnotes) == 1
