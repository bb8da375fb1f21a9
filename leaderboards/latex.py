r"""Boards as LaTeX tables.

The text is a `table` float that compiles in any document that loads the packages
`booktabs` and `threeparttable`. Characters beyond ASCII that are not known here
stay as they are: pdfLaTeX sets the Latin ones, XeLaTeX and LuaLaTeX all that the
font has.
"""

import re
from collections.abc import Sequence
from functools import partial

from v2abench.leaderboards.board import FACTS, Board, Cell, Column, Intervals, Row, one_line, show_fact
from v2abench.leaderboards.footnotes import Footnote

RANK_COMMANDS = {1: r"\textbf{%s}", 2: r"\underline{%s}", None: "%s"}

ESCAPES = {
    **{character: f"\\{character}" for character in "{}$&#_%"},
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "–": "--",
    "—": "---",
    "−": "$-$",
    "±": r"$\pm$",
    "Δ": r"$\Delta$",
    "β": r"$\beta$",
    "∞": r"$\infty$",
    "×": r"$\times$",
    "↑": r"$\uparrow$",
    "↓": r"$\downarrow$",
    "†": r"\textdagger{}",
    "‡": r"\textdaggerdbl{}",
    "§": r"\textsection{}",
    "¶": r"\textparagraph{}",
}


def render_latex(board: Board, intervals: Intervals = "none") -> str:
    """Return the board as a float: caption, table, footnotes.

    Best values are bold, second-best ones underlined, controls in italics. Marks
    of cells hang over, so that the numbers stay aligned.
    """
    facts = [_escape(FACTS[name]) for name in board.facts]
    head = ["Model", *facts, *map(_head, board.columns)]
    body = [_row(row, board, intervals) for row in board.rows]
    first, *lines = _aligned([head, *body])
    ranked = any(cell.rank for row in board.rows for cell in row.cells)
    legend = " Best in bold, second best underlined." if ranked else ""
    notes = [_note(note) for note in board.notes(intervals)]
    return "\n".join(
        [
            r"% Needs \usepackage{booktabs,threeparttable}.",
            r"\begin{table}[t]",
            r"\centering",
            r"\begin{threeparttable}",
            rf"\caption{{{_escape(board.title)}.{legend}}}",
            rf"\begin{{tabular}}{{{'l' * (1 + len(facts))}{'r' * len(board.columns)}}}",
            r"\toprule",
            first,
            *_grouped(lines, board, len(head)),
            r"\bottomrule",
            r"\end{tabular}",
            *([r"\begin{tablenotes}", r"\footnotesize", *notes, r"\end{tablenotes}"] if notes else []),
            r"\end{threeparttable}",
            r"\end{table}",
            "",
        ]
    )


def _row(row: Row, board: Board, intervals: Intervals) -> list[str]:
    facts = [_escape(show_fact(row.facts.get(name))) for name in board.facts]
    return [_name(row), *facts, *map(partial(_cell, intervals=intervals), row.cells, board.columns)]


def _grouped(lines: Sequence[str], board: Board, columns: int) -> list[str]:
    """The rows under a rule, each group under its heading."""
    left, text = iter(lines), []
    for group, rows in board.grouped():
        text.append(r"\midrule")
        if group:
            text.append(rf"\multicolumn{{{columns}}}{{l}}{{\textit{{{_escape(group)}}}}} \\")
        text += [next(left) for _ in rows]
    return text


def _aligned(table: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    return [
        " & ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() + r" \\"
        for row in table
    ]


def _head(column: Column) -> str:
    unit = f"({column.unit})" if column.unit else ""
    return _escape(" ".join(filter(None, [column.name, unit, column.arrow])))


def _name(row: Row) -> str:
    name = _escape(row.model)
    if row.control:
        name = rf"\textit{{{name}}}"
    elif name.startswith(("[", "*")):  # it would be an argument of the `\\` that ends the row before
        name = "{}" + name
    return name + _superscript(row.marks)


def _cell(cell: Cell, column: Column, intervals: Intervals) -> str:
    marks = rf"\rlap{{{_superscript(cell.marks)}}}" if cell.marks else ""
    value = RANK_COMMANDS[cell.rank] % _number(column.show(cell.value))
    bounds = "" if intervals == "none" else column.show_interval(cell)
    beside = [_number(text) for text in (bounds, column.show_difference(cell)) if text]
    return value + "".join(rf" {{\scriptsize {text}}}" for text in beside) + marks


def _number(text: str) -> str:
    for character, command in {"-": "$-$", "–": "--", "±": r"$\pm$", "Δ": r"$\Delta$"}.items():
        text = text.replace(character, command)
    return text


def _note(note: Footnote) -> str:
    text = rf"\item[{_escape(note.mark)}] {_escape(note.text)}"
    return rf"{text}: \texttt{{{_breakable(note.verbatim)}}}" if note.verbatim else text


def _breakable(signature: str) -> str:
    return "".join(
        _escape(part) + r"\allowbreak{}" * (part in "|+@:")
        for part in re.split(r"([|+@:])", signature)
        if part
    )


def _superscript(marks: Sequence[str]) -> str:
    return rf"\tnote{{{_escape(','.join(marks))}}}" if marks else ""


def _escape(text: str) -> str:
    return "".join(ESCAPES.get(character, character) for character in one_line(text))
