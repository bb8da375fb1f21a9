"""Boards in a terminal."""

from collections.abc import Sequence
from dataclasses import dataclass

from rich import box
from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderResult
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from v2abench.leaderboards.board import FACTS, Board, Cell, Column, Intervals, Row, one_line, show_fact
from v2abench.leaderboards.footnotes import LETTERS

SUPERSCRIPTS = str.maketrans(f"{LETTERS}+−", "ᵃᵇᶜᵈᵉᶠᵍʰⁱʲᵏˡᵐⁿᵒᵖʳˢᵗᵘᵛʷˣʸᶻ⁺⁻")
RANK_STYLES = {1: "bold", 2: "underline", None: ""}


@dataclass(frozen=True)
class TerminalBoard:
    """A renderable that splits the board's columns over as few tables as fit the console.

    The tables have equally many metrics, give or take one, and each names the models; their
    parameters and licences are in the first.
    """

    board: Board
    intervals: Intervals = "none"

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield Text(one_line(self.board.title), style="italic")
        for table in self._tables(console, options):
            yield from ("", table)
        yield from ("", self._notes())

    def _tables(self, console: Console, options: ConsoleOptions) -> list[Table]:
        count = len(self.board.columns)
        unbounded = options.update_width(10_000)
        for parts in range(1, count + 1):
            tables = [
                self._table(
                    range(part * count // parts, (part + 1) * count // parts),
                    options.max_width,
                    facts=self.board.facts if part == 0 else (),
                )
                for part in range(parts)
            ]
            widths = [Measurement.get(console, unbounded, table).maximum for table in tables]
            if max(widths) <= options.max_width:
                break
        return tables

    def _table(self, indices: Sequence[int], width: int, facts: Sequence[str]) -> Table:
        table = Table(box=box.SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0))
        table.add_column("\nModel", max_width=max(12, min(width // 3, 32)), overflow="fold")
        for name in facts:
            table.add_column(f"\n{FACTS[name]}", max_width=16, overflow="fold")
        columns = [iter(self._aligned(j)) for j in indices]
        for texts in columns:
            table.add_column(next(texts), no_wrap=True)
        for group, rows in self.board.grouped():
            if group:
                table.add_section()
                table.add_row(Text(one_line(group), style="italic"))
            for row in rows:
                shown = [Text(show_fact(row.facts.get(name)), style="dim") for name in facts]
                style = "dim" if row.control else None
                table.add_row(_name(row), *shown, *(next(texts) for texts in columns), style=style)
        return table

    def _aligned(self, j: int) -> list[Text]:
        """The head and the cells of a column with the numbers flush right and the marks beyond.

        Rich would strip the room for the marks, were it to align.
        """
        column, cells = self.board.columns[j], [row.cells[j] for row in self.board.rows]
        head = (one_line(column.name), f"{column.arrow} {one_line(column.unit)}".strip())
        bounds = [self._below(column, cell) for cell in cells]
        shown = [column.show(cell.value) for cell in cells]
        width = max(map(cell_len, (*head, *shown, *bounds)))
        room = max(len(_marks(cell.marks)) for cell in cells)
        texts = [Text("\n".join(" " * (width - cell_len(line)) + line + " " * room for line in head))]
        for cell, value, interval in zip(cells, shown, bounds, strict=True):
            text = Text(" " * (width - len(value))).append(value, style=RANK_STYLES[cell.rank])
            text.append(_marks(cell.marks).ljust(room), style="dim")
            texts.append(text.append(f"\n{interval:>{width}}", style="dim") if interval else text)
        return texts

    def _below(self, column: Column, cell: Cell) -> str:
        """What stands under a value: its interval, or a published value's difference."""
        bounds = column.show_interval(cell) if self.intervals != "none" else ""
        return bounds or column.show_difference(cell)

    def _notes(self) -> Table:
        grid = Table.grid(padding=(0, 1, 0, 0))
        grid.add_column(style="dim", no_wrap=True)
        grid.add_column(style="dim", overflow="fold")
        for note in self.board.notes(self.intervals):
            text = f"{note.text}: {note.verbatim}" if note.verbatim else note.text
            grid.add_row(note.mark.translate(SUPERSCRIPTS), Text(one_line(text)))
        return grid


def render_terminal(board: Board, intervals: Intervals = "none") -> TerminalBoard:
    """Return the board for `Console.print`: best bold, second underlined, controls dim.

    It is not one `Table`, since a dozen metrics need several to fit a terminal; it
    measures the console when it is printed.
    """
    return TerminalBoard(board, intervals)


def _name(row: Row) -> Text:
    return Text(one_line(row.model)).append(_marks(row.marks), style="dim")


def _marks(marks: Sequence[str]) -> str:
    return ",".join(marks).translate(SUPERSCRIPTS)
