"""What is added to a board once its runs stand on it: published rows, significance, groups.

Each function takes a board and returns another; together they are what `leaderboard
build` does after `build_board`.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from fnmatch import fnmatchcase

from v2abench.contracts import Direction
from v2abench.errors import V2ABenchError
from v2abench.leaderboards.board import Board, Cell, Column, Fact, Row, chosen_facts
from v2abench.leaderboards.footnotes import Footnote, unused_letters
from v2abench.leaderboards.numbers import ranks
from v2abench.leaderboards.published import Card, MetricColumn, PublishedRow, PublishedTable
from v2abench.leaderboards.significance import Comparison, Comparisons

LEVEL = 0.05
"""Corrected p-values below it are marked."""

BETTER, WORSE = "+", "−"

PUBLISHED = "Published, not measured here"


def published_board(table: PublishedTable) -> Board:
    """Return a published table as a board of its own, grouped and ranked as the paper's rows are."""
    heads = list(dict.fromkeys(table.card.groups.values()))
    ordered = sorted(table.rows, key=lambda row: heads.index(row.group) if row.group else -1)
    columns = [
        Column(metric.name, metric.unit, Direction(metric.direction), table.formats[metric.name])
        for metric in table.card.metrics.values()
    ]
    ranked = [ranks([row.values.get(column.name) for row in ordered], column.direction) for column in columns]
    letters = _Notes(unused_letters(()))
    rows = []
    for row, row_ranks in zip(ordered, zip(*ranked, strict=True), strict=True):
        cells = [Cell(row.values.get(c.name), rank=rank) for c, rank in zip(columns, row_ranks, strict=True)]
        told = row.note and row.note.lower() != row.group.lower()
        marks = (letters.of(f"{row.note[:1].upper()}{row.note[1:]}."),) if told else ()
        facts = _facts(row)
        rows.append(Row(row.label, tuple(cells), marks=marks, group=row.group, facts=facts, published=True))
    source = f"{table.card.paper}, on {table.card.dataset} under {table.card.protocol}"
    return Board(
        table.card.title,
        tuple(columns),
        tuple(rows),
        (*letters.footnotes(), Footnote(f"{PUBLISHED}: {source}. {table.card.provenance.strip()}")),
        facts=tuple(f for f in ("parameters", "text") if any(r.facts[f] is not None for r in rows)),
        dataset=table.card.dataset,
        protocol=table.card.protocol,
    )


def add_published(
    board: Board,
    table: PublishedTable,
    same: Mapping[str, str] | None = None,
    facts: Sequence[str] | None = None,
) -> Board:
    """Return the board with a published table's rows below its own, marked and not ranked.

    Where a row measured under the table's protocol on its dataset is the same model (by
    name, in any case, or as `same` says: measured name -> published name), the published
    value carries the difference, measured minus published. Raises `V2ABenchError` where
    the table has none of the board's metrics, or `same` names a row that is not there.
    `facts` are as in `build_board`.
    """
    card = table.card
    known = {metric.name: metric for metric in card.metrics.values()}
    shared = [column.name for column in board.columns if _agrees(column, known)]
    if not shared:
        raise V2ABenchError(
            f"--published {card.name}: it has none of this board's metrics; it holds {', '.join(known)}, "
            f"which protocol {card.protocol} measures"
        )
    twins = _twins(board, table, same or {})
    notes = _Notes(unused_letters(note.mark for note in board.footnotes))
    rows = []
    for row in table.rows:
        values = {name: row.values[name] for name in shared if name in row.values}
        cells = [
            _published_cell(values.get(c.name), _value(twins.get(row.label), j))
            for j, c in enumerate(board.columns)
        ]
        mark = notes.of(f"{PUBLISHED}: {card.title}, {card.paper}{'; ' + row.note if row.note else ''}.")
        known_of = _facts(row)
        rows.append(
            Row(row.label, tuple(cells), marks=(mark,), group=PUBLISHED, facts=known_of, published=True)
        )
    footnotes = (*board.footnotes, *notes.footnotes(), *_difference_note(board, card, bool(twins)))
    shown = chosen_facts([*board.rows, *rows], facts)
    return replace(board, rows=(*board.rows, *rows), footnotes=footnotes, facts=shown)


def mark_significance(board: Board, results: Comparisons) -> Board:
    """Return the board with corrected p-values, and marks where one says that a row differs from the base."""
    by_cell = {(found.model, found.metric): found for found in results.found}
    rows = [
        replace(
            row,
            cells=tuple(
                _tested(cell, column, by_cell.get((row.model, column.name)) if not row.published else None)
                for cell, column in zip(row.cells, board.columns, strict=True)
            ),
        )
        for row in board.rows
    ]
    used = {mark for row in rows for cell in row.cells for mark in cell.marks}
    return replace(board, rows=tuple(rows), footnotes=(*board.footnotes, *_significance_notes(results, used)))


def group_rows(board: Board, patterns: Mapping[str, str]) -> Board:
    """Return the board with measured rows sorted into groups, in the order of `patterns`.

    `patterns` gives each group's name a shell pattern of model names (`*-dpo`), or
    several by comma; the first that fits decides. Controls that fit none come first,
    other rows that fit none after the groups, published rows last. Raises
    `V2ABenchError` for a group that no model fits.
    """
    if not patterns:
        return board

    def group(row: Row) -> str:
        if row.published:
            return row.group
        fits = (
            name
            for name, pattern in patterns.items()
            if any(fnmatchcase(row.model, part.strip()) for part in pattern.split(","))
        )
        return next(fits, "Controls" if row.control else "Other")

    order = ["Controls", *patterns, "Other", PUBLISHED]
    named = [replace(row, group=group(row)) for row in board.rows]
    if idle := [name for name in patterns if name not in {row.group for row in named}]:
        raise V2ABenchError(
            f"--group {idle[0]}={patterns[idle[0]]}: no model fits; the models are "
            f"{', '.join(row.model for row in board.rows if not row.published)}"
        )
    return replace(board, rows=tuple(sorted(named, key=lambda row: order.index(row.group))))


class _Notes:
    """One letter for each text, in the order of asking."""

    def __init__(self, letters: Iterator[str]) -> None:
        self._letters = letters
        self._by_text: dict[str, str] = {}

    def of(self, text: str) -> str:
        if text not in self._by_text:
            self._by_text[text] = next(self._letters)
        return self._by_text[text]

    def footnotes(self) -> list[Footnote]:
        return [Footnote(text, mark) for text, mark in self._by_text.items()]


def _facts(row: PublishedRow) -> dict[str, Fact]:
    return {"parameters": row.parameters, "license": None, "text": row.text_prompt}


def _agrees(column: Column, known: Mapping[str, MetricColumn]) -> bool:
    metric = known.get(column.name)
    return metric is not None and (metric.unit, metric.direction) == (column.unit, column.direction.value)


def _twins(board: Board, table: PublishedTable, same: Mapping[str, str]) -> dict[str, Row]:
    """The measured row of each published one, where protocol and dataset are those of the table."""
    labels = {row.label.lower(): row.label for row in table.rows}
    measured = {row.model: row for row in board.rows if not row.published}
    for name, label in same.items():
        if name not in measured or label.lower() not in labels:
            where, wrong = ("the board", name) if name not in measured else (table.card.name, label)
            raise V2ABenchError(f"--same {name}={label}: {where} has no row {wrong!r}")
    if (board.protocol, board.dataset) != (table.card.protocol, table.card.dataset):
        return {}
    found = {}
    for name, row in measured.items():
        twin = labels.get(same.get(name, name).lower())
        if twin:
            found[twin] = row
    return found


def _value(row: Row | None, column: int) -> float | None:
    return row.cells[column].value if row else None


def _published_cell(value: float | None, measured: float | None) -> Cell:
    return Cell(value, difference=None if value is None or measured is None else measured - value)


def _difference_note(board: Board, card: Card, compared: bool) -> list[Footnote]:
    if compared:
        return [Footnote("Δ is what was measured here minus what was published, for the same model.")]
    if (board.protocol, board.dataset) != (card.protocol, card.dataset):
        here = f"{board.dataset} under {board.protocol}"
        return [
            Footnote(
                f"{card.title} is of {card.dataset} under {card.protocol}, this board of {here}: "
                "not comparable."
            )
        ]
    return []


def _tested(cell: Cell, column: Column, found: Comparison | None) -> Cell:
    if found is None:
        return cell
    if found.p_corrected >= LEVEL or column.direction == Direction.NEUTRAL:
        return replace(cell, p=found.p_corrected)
    better = (found.difference > 0) == (column.direction == Direction.HIGHER)
    return replace(cell, p=found.p_corrected, marks=(*cell.marks, BETTER if better else WORSE))


def _significance_notes(results: Comparisons, used: Iterable[str]) -> list[Footnote]:
    words = {BETTER: "Better", WORSE: "Worse"}
    notes = [
        Footnote(f"{word} than {results.base}, p < {LEVEL:g}.", mark)
        for mark, word in words.items()
        if mark in used
    ]
    notes.append(Footnote(results.told()))
    for reason, about in _by_reason(results).items():
        notes.append(Footnote(f"Not tested: {', '.join(about)} ({reason.rstrip('.')})."))
    return notes


def _by_reason(results: Comparisons) -> dict[str, Sequence[str]]:
    reasons: dict[str, dict[str, None]] = {}
    for missing in results.untested:
        reasons.setdefault(missing.reason, {})[missing.metric] = None
    return {reason: list(metrics) for reason, metrics in reasons.items()}
