"""Boards as files."""

import csv
import io
from collections.abc import Callable, Sequence
from pathlib import Path

from v2abench.errors import UnknownNameError
from v2abench.files import write_text
from v2abench.leaderboards.board import Board, Cell, Intervals, Row
from v2abench.leaderboards.latex import render_latex
from v2abench.leaderboards.markdown import render_markdown

RUN_COLUMNS = ("model", "control", "signature", "clips", "ok", "degraded", "failed")
CELL_COLUMNS = ("", ".low", ".high", ".used", ".expected")


def render_csv(board: Board) -> str:
    """Return the board as comma-separated values with a header, one row a model.

    The columns are those of the run (`clips` are the expected ones), then for each
    metric `NAME` (the value), `NAME.low`, `NAME.high` (its interval), `NAME.used` and
    `NAME.expected` (clips). Values have full precision; what is undefined is empty.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*RUN_COLUMNS, *(column.name + end for column in board.columns for end in CELL_COLUMNS)])
    writer.writerows(
        [*_run_values(row), *(value for cell in row.cells for value in _cell_values(cell))]
        for row in board.rows
    )
    return text.getvalue()


def write_board(
    board: Board, path: Path, formats: Sequence[str], intervals: Intervals = "none"
) -> list[Path]:
    """Write `<path>.md`, `<path>.csv`, `<path>.tex`, as `formats` names them, each atomically.

    Returns the paths in that order. Raises `UnknownNameError`, before anything is
    written, for a format other than these, and `V2ABenchError` where the place cannot
    be written.
    """
    renderings: dict[str, Callable[[], str]] = {
        "md": lambda: render_markdown(board, intervals),
        "csv": lambda: render_csv(board),
        "tex": lambda: render_latex(board, intervals),
    }
    for name in formats:
        if name not in renderings:
            raise UnknownNameError("board format", name, renderings)
    paths = {name: path.with_name(f"{path.name}.{name}") for name in formats}
    for name, file in paths.items():
        write_text(file, renderings[name]())
    return list(paths.values())


def _run_values(row: Row) -> list[object]:
    counts = row.coverage
    clips = (counts.expected, counts.ok, counts.degraded, counts.failed) if counts else (None,) * 4
    return [row.model, str(row.control).lower(), row.signature, *clips]


def _cell_values(cell: Cell) -> list[object]:
    return [cell.value, cell.low, cell.high, cell.used, cell.expected]
