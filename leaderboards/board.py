"""Boards: tables over runs, ready to be rendered.

Conventions. A column is a metric, a row is a model. Only runs with one signature
are comparable; where a board is forced to mix, the signature of most runs is the
standard one and the rows with another are marked and not ranked.

Rank 1 is the best and rank 2 the second-best value of a column as shown, so that
two cells that read the same share a rank (as in the tables of papers, where the
best is bold and the second underlined). Rows that compete are those of the standard
signature that are not controls (ground truth, silence); a board of controls alone
lets them compete. A neutral metric is not ranked, nor is a column in which all
competitors show the same value. A value on fewer clips than expected competes like
any other; its row tells the coverage in a footnote.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import compress
from typing import Literal

from v2abench.contracts import Direction
from v2abench.errors import UnknownNameError, V2ABenchError
from v2abench.leaderboards.comparability import competing, refuse_mixture, refuse_twins, standard_signature
from v2abench.leaderboards.footnotes import Footnote, annotate, clip_count
from v2abench.leaderboards.numbers import Rank, number_format, ranks, show
from v2abench.runs.report import Coverage, Report, ScoreRecord

Intervals = Literal["none", "brackets"]
"""Whether a rendering shows values alone or with their interval, `12.3 [11.9, 12.8]`."""

ARROWS = {Direction.HIGHER: "↑", Direction.LOWER: "↓", Direction.NEUTRAL: ""}


@dataclass(frozen=True)
class Column:
    """A metric: its name, unit (empty for none), direction, and how its values are shown.

    `number_format` is a format specification such as `.2f`, the same for all rows.
    """

    name: str
    unit: str
    direction: Direction
    number_format: str

    @property
    def arrow(self) -> str:
        """`↑` where higher is better, `↓` where lower is, empty where neither."""
        return ARROWS[self.direction]

    def show(self, value: float | None) -> str:
        """Return `value` as the board shows it; an en dash for None."""
        return show(value, self.number_format)

    def show_interval(self, cell: "Cell") -> str:
        """Return `[low, high]` at the precision of the column; empty where there is no interval."""
        if cell.low is None or cell.high is None:
            return ""
        return f"[{self.show(cell.low)}, {self.show(cell.high)}]"


@dataclass(frozen=True)
class Cell:
    """One value, in the unit of its column, with the bounds of its interval.

    `used` of `expected` clips stand behind it; these and the bounds are None where
    nobody told them. `marks` point to footnotes.
    """

    value: float | None
    low: float | None = None
    high: float | None = None
    used: int | None = None
    expected: int | None = None
    rank: Rank = None
    marks: tuple[str, ...] = ()


@dataclass(frozen=True)
class Row:
    """One model. `coverage` and `signature` are None for a row without a report."""

    model: str
    cells: tuple[Cell, ...]
    control: bool = False
    coverage: Coverage | None = None
    signature: str | None = None
    marks: tuple[str, ...] = ()


@dataclass(frozen=True)
class Board:
    """A table over runs: `rows[i].cells[j]` is the value of row i under column j.

    `interval_note` tells level and method of the intervals, for renderings that
    show them; it is empty where there are none.
    """

    title: str
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    footnotes: tuple[Footnote, ...]
    interval_note: str = ""

    def notes(self, intervals: Intervals) -> tuple[Footnote, ...]:
        """Return the footnotes of a rendering that shows these `intervals`."""
        told = intervals != "none" and self.interval_note
        return (*self.footnotes, Footnote(self.interval_note)) if told else self.footnotes


def one_line(text: str) -> str:
    """Return `text` without control characters and line breaks, which would break a table."""
    return " ".join(re.sub(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]", " ", text).split())


def build_board(
    reports: Sequence[Report],
    *,
    metrics: Sequence[str] | None = None,
    sort_by: str | None = None,
    force: bool = False,
) -> Board:
    """Return the board over `reports`: rows as given, columns as the reports list them.

    `metrics` selects and orders the columns; without it, a metric that is meant for no
    clip of any run (PESQ where there is no speech) gets no column but a note. `sort_by`
    orders the rows by a metric, best first and undefined last (a neutral metric: largest
    first); ties stay as given.

    Raises `V2ABenchError` where there is nothing to show, where the signatures differ
    and `force` does not allow it, where two rows could not be told apart, and where
    a metric has two units or directions; `UnknownNameError` for a metric in no report.
    """
    if not reports:
        raise V2ABenchError("a board needs at least one run; name the folders that `v2abench eval` wrote")
    standard = standard_signature(reports)
    if not force:
        refuse_mixture(reports, standard)
    refuse_twins(reports)
    idle = _meant_for_no_clip(reports) if metrics is None else []
    names = [name for name in _metric_names(reports, metrics) if name not in idle]
    reports = _sorted(reports, sort_by)
    competes = competing(reports, standard)
    grid = [[_find(report, name) for name in names] for report in reports]
    by_column = list(zip(*grid, strict=True))
    columns = [_column(name, scores, competes) for name, scores in zip(names, by_column, strict=True)]
    notes = annotate(reports, grid, names, standard, competes)
    cells = [
        _cells(column, scores, competes, marks)
        for column, scores, marks in zip(columns, by_column, zip(*notes.cells, strict=True), strict=True)
    ]
    rows = [
        Row(report.model.name, row_cells, report.model.control, report.coverage, report.signature, marks)
        for report, row_cells, marks in zip(reports, zip(*cells, strict=True), notes.rows, strict=True)
    ]
    title = _title(next(report for report in reports if report.signature == standard))
    footnotes = (*_meanings(by_column), *notes.footnotes, *_idle_note(idle))
    return Board(title, tuple(columns), tuple(rows), footnotes, notes.intervals)


def _meant_for_no_clip(reports: Sequence[Report]) -> list[str]:
    """The metrics that no report has a clip for; none where that is all of them."""
    expected: dict[str, int] = {}
    for score in (score for report in reports for score in report.scores):
        expected[score.name] = max(score.expected, expected.get(score.name, 0))
    return [name for name, clips in expected.items() if clips == 0] if any(expected.values()) else []


def _meanings(by_column: Sequence[Sequence[ScoreRecord | None]]) -> list[Footnote]:
    """What the protocol says of each column, a note each."""
    told = (next((score for score in scores if score and score.about), None) for scores in by_column)
    return [Footnote(f"{score.name}: {score.about}.") for score in told if score]


def _idle_note(names: Sequence[str]) -> list[Footnote]:
    return (
        [Footnote(f"Left out, since no clip is of the kind they are for: {', '.join(names)}.")]
        if names
        else []
    )


def _title(report: Report) -> str:
    data, protocol = report.dataset, report.protocol
    return f"{data.name} ({clip_count(data.clips)}), protocol {protocol.name} version {protocol.version}"


def _metric_names(reports: Sequence[Report], wanted: Sequence[str] | None) -> list[str]:
    known = list(dict.fromkeys(score.name for report in reports for score in report.scores))
    names = known if wanted is None else list(dict.fromkeys(wanted))
    for name in names:
        if name not in known:
            raise UnknownNameError("metric", name, known)
    if not names:
        raise V2ABenchError(
            "a board needs at least one metric; --metrics names none, or the reports have no scores"
        )
    return names


def _find(report: Report, name: str) -> ScoreRecord | None:
    return next((score for score in report.scores if score.name == name), None)


def _sorted(reports: Sequence[Report], metric: str | None) -> Sequence[Report]:
    if metric is None:
        return reports
    _metric_names(reports, [metric])
    scores = [_find(report, metric) for report in reports]
    direction = _only(metric, "direction", [score.direction for score in scores if score])
    sign = 1 if direction == Direction.LOWER else -1

    def key(report: Report) -> tuple[bool, float]:
        score = _find(report, metric)
        if score is None or score.value is None:
            return True, 0.0
        return False, sign * score.value

    return sorted(reports, key=key)


def _column(name: str, scores: Sequence[ScoreRecord | None], competes: Sequence[bool]) -> Column:
    unit = _only(name, "unit", [score.unit for score in scores if score])
    direction = _only(name, "direction", [score.direction for score in scores if score])
    # Competitors alone set the precision: an outlier among the controls must not coarsen it.
    ranked = [score.value for score in compress(scores, competes) if score and score.value is not None]
    others = [score.value for score in scores if score and score.value is not None]
    return Column(name, unit, Direction(direction), number_format(ranked or others))


def _only(name: str, what: str, values: Sequence[str]) -> str:
    found = list(dict.fromkeys(values))
    if len(found) > 1:
        raise V2ABenchError(
            f"metric {name!r} has more than one {what} in these runs ({found[0]!r}, {found[1]!r}); "
            "leave it out with --metrics, or name it differently in the protocols"
        )
    return found[0]


def _cells(
    column: Column,
    scores: Sequence[ScoreRecord | None],
    competes: Sequence[bool],
    marks: Sequence[tuple[str, ...]],
) -> list[Cell]:
    shown = [
        float(column.show(score.value)) if ranked and score and score.value is not None else None
        for score, ranked in zip(scores, competes, strict=True)
    ]
    return list(map(_cell, scores, ranks(shown, column.direction), marks))


def _cell(score: ScoreRecord | None, rank: Rank, marks: tuple[str, ...]) -> Cell:
    if score is None:
        return Cell(None, marks=marks)
    low, high = (score.interval.low, score.interval.high) if score.interval else (None, None)
    return Cell(score.value, low, high, score.used, score.expected, rank, marks)
