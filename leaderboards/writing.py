"""Boards as files."""

import csv
import io
from collections.abc import Callable, Sequence
from pathlib import Path

import pandas as pd

from v2abench.errors import UnknownNameError
from v2abench.files import write_text
from v2abench.leaderboards.board import Board, Cell, Fact, Intervals, Row
from v2abench.leaderboards.html import render_html
from v2abench.leaderboards.latex import render_latex
from v2abench.leaderboards.markdown import render_markdown

RUN_COLUMNS = ("model", "control", "signature", "clips", "ok", "degraded", "failed")
TEXTS = {"model", "signature", "group", "license"}
COUNTS = {"clips", "ok", "degraded", "failed", "parameters"}
FLAGS = {"control", "published", "text"}
CELL_COLUMNS = ("", ".low", ".high", ".used", ".expected")


def render_csv(board: Board) -> str:
    """Return the board as comma-separated values with a header, one row a model.

    The columns are those of the run (`clips` are the expected ones), then for each
    metric `NAME` (the value), `NAME.low`, `NAME.high` (its interval), `NAME.used` and
    `NAME.expected` (clips). Values have full precision; what is undefined is empty.
    Where a board has them, there are also `group`, `published`, the facts, `NAME.p`
    (corrected, against the base) and `NAME.difference` (measured minus published).
    `read_board` reads it back without loss.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    rows = [(_run_values(row, board), row.cells) for row in board.rows]
    ends = _cell_columns(board)
    names = [column.name + end for column in board.columns for end in ends]
    writer.writerow([*(_run_values(board.rows[0], board) if board.rows else RUN_COLUMNS), *names])
    for values, cells in rows:
        writer.writerow([*values.values(), *(value for cell in cells for value in _cell_values(cell, ends))])
    return text.getvalue()


def read_board(path: Path) -> pd.DataFrame:
    """Read a board's CSV as it was written: every digit, and models that are called `NA` or `null`.

    Texts stay texts, counts are nullable integers, values floats with NaN for what is
    undefined. (`pandas.read_csv` by itself takes such names for gaps, and older versions
    of it round the last digit.)
    """
    table = pd.read_csv(path, dtype=str, keep_default_na=False)
    return pd.DataFrame({name: _typed(str(name), table[name]) for name in table.columns})


def _typed(name: str, texts: pd.Series) -> pd.Series:
    if name in TEXTS:
        return texts
    if name in COUNTS or name.endswith((".used", ".expected")):
        return pd.Series([int(text) if text else None for text in texts], dtype="Int64")
    if name in FLAGS:
        return pd.Series([{"true": True, "false": False}.get(text) for text in texts], dtype="boolean")
    return pd.Series([float(text) if text else None for text in texts], dtype="float64")


def write_board(
    board: Board, path: Path, formats: Sequence[str], intervals: Intervals = "none"
) -> list[Path]:
    """Write `<path>.md`, `<path>.csv`, `<path>.tex`, `<path>.html`, as `formats` names them, each atomically.

    Returns the paths in that order. Raises `UnknownNameError`, before anything is
    written, for a format other than these, and `V2ABenchError` where the place cannot
    be written.
    """
    renderings: dict[str, Callable[[], str]] = {
        "md": lambda: render_markdown(board, intervals),
        "csv": lambda: render_csv(board),
        "tex": lambda: render_latex(board, intervals),
        "html": lambda: render_html(board, intervals),
    }
    for name in formats:
        if name not in renderings:
            raise UnknownNameError("board format", name, renderings)
    paths = {name: path.with_name(f"{path.name}.{name}") for name in formats}
    for name, file in paths.items():
        write_text(file, renderings[name]())
    return list(paths.values())


def _run_values(row: Row, board: Board) -> dict[str, object]:
    counts = row.coverage
    clips = (counts.expected, counts.ok, counts.degraded, counts.failed) if counts else (None,) * 4
    values: list[object] = [row.model, str(row.control).lower(), row.signature, *clips]
    found: dict[str, object] = dict(zip(RUN_COLUMNS, values, strict=True))
    if any(other.group for other in board.rows):
        found["group"] = row.group
    if any(other.published for other in board.rows):
        found["published"] = str(row.published).lower()
    return found | {name: _fact(row.facts.get(name)) for name in board.facts}


def _fact(value: Fact) -> object:
    return str(value).lower() if isinstance(value, bool) else value


def _cell_columns(board: Board) -> tuple[str, ...]:
    cells = [cell for row in board.rows for cell in row.cells]
    further = {
        ".p": any(cell.p is not None for cell in cells),
        ".difference": any(cell.difference is not None for cell in cells),
    }
    return (*CELL_COLUMNS, *(name for name, there in further.items() if there))


def _cell_values(cell: Cell, ends: Sequence[str]) -> list[object]:
    values: dict[str, object] = {
        "": cell.value,
        ".low": cell.low,
        ".high": cell.high,
        ".used": cell.used,
        ".expected": cell.expected,
        ".p": cell.p,
        ".difference": cell.difference,
    }
    return [values[end] for end in ends]
