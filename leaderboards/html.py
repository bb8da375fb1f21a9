"""Boards as HTML: one file, sortable by column, without any external resource."""

from markupsafe import Markup

from v2abench.leaderboards.board import FACTS, Board, Fact, Intervals, show_fact
from v2abench.leaderboards.pages import asset, environment


def render_html(board: Board, intervals: Intervals = "none") -> str:
    """Return the board as a page. Names, units and notes are escaped."""
    return (
        environment()
        .get_template("board.html.jinja")
        .render(
            board=board,
            table=render_table(board, intervals),
            style=asset("page.css"),
            script=asset("sort.js"),
        )
    )


def render_table(board: Board, intervals: Intervals = "none") -> Markup:
    """Return the table and its footnotes, to be set into a page that has `page.css` and `sort.js`."""
    texts = {note.mark: note.text for note in board.footnotes if note.mark}
    text = (
        environment()
        .get_template("table.html.jinja")
        .render(
            board=board,
            intervals=intervals,
            texts=texts,
            ids={mark: number for number, mark in enumerate(texts, start=1)},
            headings=FACTS,
            show_fact=show_fact,
            sort_value=_sort_value,
        )
    )
    return Markup(text)


def _sort_value(value: Fact | float) -> str:
    """What the script sorts by: a number with all its digits, a word, or nothing."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "1" if value else "0"
    return str(value) if isinstance(value, str) else repr(value)
