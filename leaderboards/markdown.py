"""Boards as GitHub-flavoured Markdown."""

import re
from collections.abc import Sequence
from functools import partial

from rich.cells import cell_len

from v2abench.leaderboards.board import FACTS, Board, Cell, Column, Intervals, Row, one_line, show_fact
from v2abench.leaderboards.footnotes import Footnote

# GitHub drops <u> and underlines <ins>.
RANK_TAGS = {1: ("**", "**"), 2: ("<ins>", "</ins>"), None: ("", "")}


def render_markdown(board: Board, intervals: Intervals = "none") -> str:
    """Return the board as a title, a table and its footnotes as a list.

    Best values are bold, second-best ones underlined, controls in italics; the
    source is aligned too. Names and notes are escaped.
    """
    head = ["Model", *(FACTS[name] for name in board.facts), *map(_head, board.columns)]
    body = []
    for group, rows in board.grouped():
        if group:
            body.append([f"***{_escape(group)}***", *[""] * (len(head) - 1)])
        body += [_row(row, board, intervals) for row in rows]
    notes = "".join(f"- {_note(note)}\n" for note in board.notes(intervals))
    return f"**{_escape(board.title)}**\n\n{_table(head, body)}\n{notes}"


def _row(row: Row, board: Board, intervals: Intervals) -> list[str]:
    facts = [_escape(show_fact(row.facts.get(name))) for name in board.facts]
    cells = map(partial(_cell, intervals=intervals), row.cells, board.columns)
    return [_name(row), *facts, *cells]


def _table(head: Sequence[str], body: Sequence[Sequence[str]]) -> str:
    widths = [max(map(cell_len, column)) for column in zip(head, *body, strict=True)]
    rule = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
    return "".join(_line(row, widths) for row in (head, rule, *body))


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    spaces = [" " * (width - cell_len(cell)) for cell, width in zip(cells, widths, strict=True)]
    values = [space + cell for space, cell in zip(spaces[1:], cells[1:], strict=True)]
    return f"| {' | '.join([cells[0] + spaces[0], *values])} |\n"


def _head(column: Column) -> str:
    unit = f"({_escape(column.unit)})" if column.unit else ""
    return " ".join(filter(None, [_escape(column.name), unit, column.arrow]))


def _name(row: Row) -> str:
    name = _escape(row.model)
    return (f"*{name}*" if row.control else name) + _superscript(row.marks)


def _cell(cell: Cell, column: Column, intervals: Intervals) -> str:
    before, after = RANK_TAGS[cell.rank]
    value = f"{before}{column.show(cell.value)}{after}{_superscript(cell.marks)}"
    bounds = "" if intervals == "none" else column.show_interval(cell)
    return " ".join(filter(None, [value, bounds, column.show_difference(cell)]))


def _note(note: Footnote) -> str:
    mark = _superscript((note.mark,)) + " " if note.mark else ""
    return f"{mark}{_escape(note.text)}" + (f": {_code(note.verbatim)}" if note.verbatim else "")


def _superscript(marks: Sequence[str]) -> str:
    return f"<sup>{','.join(marks)}</sup>" if marks else ""


def _escape(text: str) -> str:
    text = re.sub(r"([\\`*_\[\]|~$])", r"\\\1", one_line(text))
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _code(text: str) -> str:
    text = one_line(text)
    fence = "`" * (1 + max(map(len, re.findall("`+", text)), default=0))
    return f"{fence}{text}{fence}" if len(fence) == 1 else f"{fence} {text} {fence}"
