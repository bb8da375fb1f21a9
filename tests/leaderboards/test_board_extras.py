"""Groups, facts, HTML, and what pandas and LaTeX make of a board."""

import shutil
import subprocess
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pandas as pd
import pytest
from made_reports import make_report, make_score

from v2abench.errors import UnknownNameError, V2ABenchError
from v2abench.leaderboards.board import Board, build_board
from v2abench.leaderboards.html import render_html
from v2abench.leaderboards.latex import render_latex
from v2abench.leaderboards.markdown import render_markdown
from v2abench.leaderboards.numbers import count_text, signed
from v2abench.leaderboards.published import load_published
from v2abench.leaderboards.rows import group_rows, published_board
from v2abench.leaderboards.writing import read_board, write_board
from v2abench.runs.report import Report


@pytest.fixture
def grouped(reports: list[Report]) -> Board:
    return group_rows(build_board(reports), {"Pre-trained": "tiny*", "Aligned": "*|*"})


def test_groups_take_models_by_pattern_and_keep_their_order(grouped: Board) -> None:
    assert [(name, [row.model for row in rows]) for name, rows in grouped.grouped()] == [
        ("Controls", ["ground truth"]),
        ("Pre-trained", ["tiny_flow"]),
        ("Aligned", ["a|b"]),
    ]
    heads = [line.split("***")[1] for line in render_markdown(grouped).splitlines() if "***" in line]
    assert heads == ["Controls", "Pre-trained", "Aligned"]
    latex = render_latex(grouped)
    assert latex.count(r"\midrule") == 3
    assert r"\multicolumn{4}{l}{\textit{Aligned}} \\" in latex


def test_a_group_that_fits_no_model_is_told(reports: list[Report]) -> None:
    with pytest.raises(
        V2ABenchError, match=r"--group X=nope: no model fits; the models are ground truth, tiny"
    ):
        group_rows(build_board(reports), {"X": "nope"})


def test_parameters_and_licence_are_columns_where_a_model_states_them() -> None:
    plain = make_report("a", make_score("FD", 1.0))
    stated = make_report("b", make_score("FD", 2.0))
    model = stated.model.model_copy(update={"parameters": 157_000_000, "license": "CC BY-NC 4.0"})
    board = build_board([plain, stated.model_copy(update={"model": model})])
    assert board.facts == ("parameters", "license")
    lines = render_markdown(board).splitlines()
    assert [cell.strip() for cell in lines[2].strip("|").split("|")] == ["Model", "Params", "Licence", "FD ↓"]
    assert "157M" in lines[5]
    assert "CC BY-NC 4.0" in lines[5]
    assert build_board([plain, stated], facts=["text"]).facts == ("text",)
    with pytest.raises(UnknownNameError, match="did you mean 'license'"):
        build_board([plain], facts=["licence"])


@pytest.mark.parametrize(
    ("count", "text"),
    [(415_000_000, "415M"), (1_030_000_000, "1.03B"), (1_300_000_000, "1.30B"), (874_000, "874K"), (12, "12"),
     (2_000_000_000, "2B"), (61_500_000, "61.5M")],
)  # fmt: skip
def test_counts_are_shown_as_papers_do(count: int, text: str) -> None:
    assert count_text(count) == text


def test_differences_have_a_sign() -> None:
    assert [signed(value, ".2f") for value in (0.424, -1.0, 0.001)] == ["+0.42", "-1.00", "±0.00"]


def test_pandas_reads_a_csv_back_without_loss(tmp_path: Path) -> None:
    names = ["NA", "null", "nan", "1e5", 'ä,b"c']
    values = [0.1 + 0.2, 1e-17, 2 / 3, 123456789.123456789, 5e-324]
    pairs = zip(names, values, strict=True)
    reports = [
        make_report(name, make_score("FD", v, bounds=(-v, v)), make_score("IS", None, used=0))
        for name, v in pairs
    ]
    path = write_board(group_rows(build_board(reports), {"g": "*"}), tmp_path / "board", ["csv"])[0]
    table = read_board(path)
    assert table["model"].tolist() == names
    assert table["group"].tolist() == ["g"] * 5
    assert table["FD"].tolist() == table["FD.high"].tolist() == values
    assert table["FD.low"].tolist() == [-value for value in values]
    assert table["IS"].isna().all()
    assert table["clips"].tolist() == [8] * 5
    assert not table["control"].any()
    plain = pd.read_csv(path, keep_default_na=False, na_values=[""])
    assert plain["FD"].tolist() == pytest.approx(values)


def test_all_formats_have_stable_bytes(grouped: Board, tmp_path: Path) -> None:
    formats = ["md", "csv", "tex", "html"]
    first = [path.read_bytes() for path in write_board(grouped, tmp_path / "a", formats, "brackets")]
    again = [path.read_bytes() for path in write_board(grouped, tmp_path / "b", formats, "brackets")]
    assert first == again


class _Outline(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.links: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.links += [value or "" for name, value in attrs if name in ("src", "href")]


def test_html_escapes_names_and_refers_to_nothing_outside() -> None:
    evil = '<script>alert(1)</script><img src="http://x/">'
    board = build_board(
        [
            make_report(evil, make_score("FD", 1.0)),
            make_report("b", make_score("FD", None, warnings=(evil,), used=0)),
        ]
    )
    board = replace(group_rows(board, {evil: "b"}), title=evil)
    outline = _Outline()
    text = render_html(board)
    outline.feed(text)
    assert outline.tags.count("script") == 1
    assert "img" not in outline.tags
    assert all(link.startswith("#") for link in outline.links)
    assert text.count("&lt;script&gt;alert(1)") >= 4


@pytest.mark.skipif(
    shutil.which("pdflatex") is None, reason="no pdflatex here; `.ci/run` does not install it"
)
def test_latex_compiles(grouped: Board, tmp_path: Path) -> None:
    tables = [
        render_latex(board, "brackets")
        for board in (
            grouped,
            published_board(load_published("v2a-dpo")),
            published_board(load_published("v2a-dpo-table2")),
        )
    ]
    document = "\n".join(
        [
            r"\documentclass{article}",
            r"\usepackage{booktabs,threeparttable}",
            r"\begin{document}",
            *tables,
            r"\end{document}",
        ]
    )
    (tmp_path / "board.tex").write_text(document, encoding="utf-8")
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "board.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout[-2000:]
    assert (tmp_path / "board.pdf").stat().st_size > 10_000
