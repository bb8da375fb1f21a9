"""Markdown, CSV and LaTeX, and how they are written."""

import csv
import io
import re
from pathlib import Path

import pandas as pd
import pytest
from made_reports import SIGNATURE, make_report, make_score
from rich.cells import cell_len

from v2abench.errors import UnknownNameError
from v2abench.leaderboards.board import Board, Row, build_board
from v2abench.leaderboards.latex import render_latex
from v2abench.leaderboards.markdown import render_markdown
from v2abench.leaderboards.writing import render_csv, write_board
from v2abench.runs.report import Report

MARKDOWN = f"""\
**mini (8 clips), protocol light version 1**

| Model            |              FD ↓ |          IS ↑ | Loudness (LUFS) |
| ---------------- | ----------------: | ------------: | --------------: |
| *ground truth*   |              0.00 |         15.50 |          -20.00 |
| tiny\\_flow       |         **84.57** |          8.50 |          -23.50 |
| a\\|b<sup>a</sup> | <ins>219.01</ins> | –<sup>b</sup> |          -25.00 |

- <sup>a</sup> Coverage: 8 clips, 7 ok, 0 degraded, 1 failed; clips used 7/8.
- <sup>b</sup> Undefined: 7 clips are too few for 10 splits.
- Coverage, unless marked: 8 clips, all ok.
- Controls, not ranked: ground truth.
- Signature: `{SIGNATURE}`
"""

LATEX = r"""% Needs \usepackage{booktabs,threeparttable}.
\begin{table}[t]
\centering
\begin{threeparttable}
\caption{mini (8 clips), protocol light version 1. Best in bold, second best underlined.}
\begin{tabular}{lrr}
\toprule
Model                 & FD $\downarrow$                                   & IS $\uparrow$ \\
\midrule
\textit{ground truth} & 0.00                                              & 15.50 \\
tiny\_flow            & \textbf{84.57} {\scriptsize [80.00, 90.25]}       & 8.50 {\scriptsize [8.00, 9.00]} \\
a\textbar{}b\tnote{a} & \underline{219.01} {\scriptsize [200.00, 240.00]} & --\rlap{\tnote{b}} \\
\bottomrule
\end{tabular}
\begin{tablenotes}
\footnotesize
\item[a] Coverage: 8 clips, 7 ok, 0 degraded, 1 failed; clips used 7/8.
\item[b] Undefined: 7 clips are too few for 10 splits.
"""

WEIRD = ["a|b*c_d`e<f>&g~h[i]$\\", "模型 é", "100% #1 {x}^2", "two\nlines\x1b[31m", "*star", "[x]"]


@pytest.fixture
def weird() -> Board:
    return build_board([make_report(name, make_score("FD", i + 1.5)) for i, name in enumerate(WEIRD)])


def test_markdown_is_exactly_this(reports: list[Report]) -> None:
    assert render_markdown(build_board(reports)) == MARKDOWN


def test_markdown_columns_are_aligned(reports: list[Report], weird: Board) -> None:
    narrow = [line for line in render_markdown(build_board(reports)).splitlines() if line.startswith("|")]
    assert len({len(line) for line in narrow}) == 1
    pipes = [[m.start() for m in re.finditer(r"(?<!\\)\|", line)] for line in narrow]
    assert pipes == [pipes[0]] * 5
    chinese = build_board([make_report("一个长的模型名字", make_score("FD", 1.0))])
    for board in (weird, chinese):
        wide = [line for line in render_markdown(board).splitlines() if line.startswith("|")]
        assert len({cell_len(line) for line in wide}) == 1


def test_markdown_shows_intervals_on_demand(reports: list[Report]) -> None:
    text = render_markdown(build_board(reports), "brackets")
    assert "**84.57** [80.00, 90.25] |" in text
    assert "<ins>219.01</ins> [200.00, 240.00] |" in text
    assert text.endswith("- Intervals: 95 %, student-t (FD); 95 %, recentred-bootstrap (IS).\n")


def test_markdown_escapes_names(weird: Board) -> None:
    names = [line.split(" | ")[0] for line in render_markdown(weird).splitlines() if line.startswith("|")][2:]
    assert [name.strip("| ") for name in names] == [
        r"a\|b\*c\_d\`e&lt;f&gt;&amp;g\~h\[i\]\$" + "\\\\",
        "模型 é",
        "100% #1 {x}^2",
        r"two lines \[31m",
        r"\*star",
        r"\[x\]",
    ]


def test_a_signature_with_backticks_stays_code() -> None:
    board = build_board([make_report("a", make_score("FD", 1.0), signature="x`y``z")])
    assert render_markdown(board).endswith("- Signature: ``` x`y``z ```\n")


def test_csv_comes_back_with_full_precision(reports: list[Report]) -> None:
    third = make_report('q"u,o\nte', make_score("FD", 1 / 3))
    text = render_csv(build_board([*reports, third]))
    assert [float(row["FD"]) for row in csv.DictReader(io.StringIO(text))] == [0.0, 84.567, 219.01, 1 / 3]
    table = pd.read_csv(io.StringIO(text))
    assert list(table.columns[:7]) == ["model", "control", "signature", "clips", "ok", "degraded", "failed"]
    assert list(table.columns[7:12]) == ["FD", "FD.low", "FD.high", "FD.used", "FD.expected"]
    assert len(table.columns) == 7 + 3 * 5
    assert table["model"].tolist() == ["ground truth", "tiny_flow", "a|b", 'q"u,o\nte']
    assert table["control"].tolist() == [True, False, False, False]
    assert set(table["signature"]) == {SIGNATURE}
    told = table.loc[2, ["FD.low", "FD.high", "FD.used", "FD.expected", "clips", "ok", "degraded", "failed"]]
    assert told.tolist() == [200, 240, 7, 8, 8, 7, 0, 1]
    assert table["IS"].isna().tolist() == [False, False, True, True]
    assert table["FD.low"].isna().tolist() == [True, False, False, True]


def test_latex_is_exactly_this(reports: list[Report]) -> None:
    text = render_latex(build_board(reports, metrics=["FD", "IS"]), "brackets")
    assert text.startswith(LATEX)
    assert text.endswith("\\end{tablenotes}\n\\end{threeparttable}\n\\end{table}\n")


def test_latex_claims_a_best_only_where_there_is_one() -> None:
    text = render_latex(build_board([make_report("alone", make_score("FD", 1.0))]))
    assert r"\caption{mini (8 clips), protocol light version 1.}" in text


def test_latex_escapes_names(weird: Board) -> None:
    rows = render_latex(weird).split("\\midrule\n")[1].split("\\bottomrule")[0].splitlines()
    assert [row.rsplit(" & ", 1)[0].rstrip() for row in rows] == [
        r"a\textbar{}b*c\_d`e\textless{}f\textgreater{}\&g\textasciitilde{}h[i]\$\textbackslash{}",
        "模型 é",
        r"100\% \#1 \{x\}\textasciicircum{}2",
        "two lines [31m",
        "{}*star",
        "{}[x]",
    ]


@pytest.mark.parametrize("intervals", ["none", "brackets"])
def test_latex_is_well_formed(reports: list[Report], weird: Board, intervals: str) -> None:
    for board in (build_board(reports), weird):
        text = render_latex(board, "brackets" if intervals == "brackets" else "none")
        bare = re.sub(r"\\[\\{}$&#_%]", "", re.sub(r"(?m)^%.*$", "", text))
        depth = 0
        for character in bare:
            depth += {"{": 1, "}": -1}.get(character, 0)
            assert depth >= 0
        assert depth == 0
        assert bare.count("$") % 2 == 0
        assert not set("%#^~").intersection(bare)
        opened, closed = (re.findall(rf"\\{word}{{(\w+)}}", text) for word in ("begin", "end"))
        assert sorted(opened) == sorted(closed)
        rows = [line for line in text.splitlines() if line.endswith(r"\\")]
        assert len(rows) == 1 + len(board.rows)
        assert {len(re.findall(r"(?<!\\)&", row)) for row in rows} == {len(board.columns)}


def test_latex_sets_a_minus_and_breaks_signatures(reports: list[Report]) -> None:
    text = render_latex(build_board(reports))
    assert "& $-$23.50 \\\\" in text
    assert r"\textbar{}\allowbreak{}win:\allowbreak{}0-8s" in text
    assert text.count(r"\allowbreak{}") == sum(SIGNATURE.count(c) for c in "|+@:")


def test_a_row_without_a_report_renders(reports: list[Report]) -> None:
    board = build_board(reports)
    published = Row("published", board.rows[1].cells, marks=("§",))
    board = Board(board.title, board.columns, (*board.rows, published), board.footnotes)
    assert "| published<sup>§</sup>" in render_markdown(board)
    assert render_csv(board).splitlines()[-1].startswith("published,false,,,,,,84.567,")
    assert r"published\tnote{\textsection{}}" in render_latex(board)


def test_boards_are_written_as_asked(reports: list[Report], tmp_path: Path) -> None:
    board = build_board(reports)
    paths = write_board(board, tmp_path / "new" / "light-v1.2", ["tex", "md", "csv", "md"], "brackets")
    assert [path.name for path in paths] == ["light-v1.2.tex", "light-v1.2.md", "light-v1.2.csv"]
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == sorted(path.name for path in paths)
    texts = [path.read_bytes().decode() for path in paths]
    assert texts == [render_latex(board, "brackets"), render_markdown(board, "brackets"), render_csv(board)]


def test_an_unknown_format_writes_nothing(reports: list[Report], tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match="unknown board format 'mdx': did you mean 'md'"):
        write_board(build_board(reports), tmp_path / "board", ["csv", "mdx"])
    assert not list(tmp_path.iterdir())
