"""Plots of boards and of values a clip: PNG and SVG, the same bytes for the same input.

Colours are those of Okabe and Ito, which people of any colour vision tell apart.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.projections.polar import PolarAxes
from matplotlib.ticker import MaxNLocator

from v2abench.contracts import Direction
from v2abench.errors import UnknownNameError, V2ABenchError
from v2abench.files import atomic
from v2abench.leaderboards.board import Board, Column, Row, one_line
from v2abench.leaderboards.differences import Difference, histogram

COLOURS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#8a8f98", "#b8a800")
FORMATS = ("png", "svg")
INK, LINE = "#22242a", "#d9d6d0"

_STYLE: Any = {  # newer stubs of Matplotlib want a literal type for each key
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": LINE,
    "axes.titlesize": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.grid": True,
    "grid.color": LINE,
    "grid.linewidth": 0.6,
    "xtick.color": INK,
    "ytick.color": INK,
    "text.parse_math": False,
    "svg.hashsalt": "v2abench",
    "svg.fonttype": "path",
    "legend.frameon": False,
}
_METADATA = {"png": {"Software": None}, "svg": {"Date": None, "Creator": None}}


def save(figure: Figure, path: Path, formats: Sequence[str]) -> list[Path]:
    """Write `<path>.png`, `<path>.svg`, as `formats` names them, and return the paths.

    Raises `UnknownNameError`, before anything is written, for another format.
    """
    for name in formats:
        if name not in FORMATS:
            raise UnknownNameError("plot format", name, FORMATS)
    FigureCanvasAgg(figure)
    written = []
    for name in dict.fromkeys(formats):
        file = path.with_name(f"{path.name}.{name}")
        with mpl.rc_context(_STYLE), atomic(file) as temporary:
            figure.savefig(temporary, format=name, dpi=160, metadata=_METADATA[name], facecolor="white")
        written.append(file)
    return written


def bars(board: Board) -> Figure:
    """One panel a metric: a bar a row, with its interval where there is one."""
    rows, columns = board.rows, board.columns
    across = min(3, len(columns))
    down = -(-len(columns) // across)
    with _figure(3.6 * across, down * (0.9 + 0.28 * len(rows))) as figure:
        panels = figure.subplots(down, across, squeeze=False).ravel()
        for panel in panels[len(columns) :]:
            panel.remove()
        for j, (panel, column) in enumerate(zip(panels, columns, strict=False)):
            _bar_panel(panel, column, rows, j, named=j % across == 0)
    return figure


def radar(board: Board) -> Figure:
    """All directed metrics as the spokes of one wheel, each from its worst (centre) to its best row.

    Only the order and the relative distances on a spoke mean anything: every spoke has
    its own scale. Controls are shown only beside fewer than two models. Rows that lack a
    value leave a gap. Raises `V2ABenchError` for fewer than three metrics that tell rows apart.
    """
    models = [row for row in board.rows if not row.control and not row.published]
    rows = models if len(models) > 1 else list(board.rows)
    spokes = [(j, column) for j, column in enumerate(board.columns) if _tells_apart(column, rows, j)]
    if len(spokes) < 3:
        raise V2ABenchError(
            "a radar needs three metrics or more in which the models differ; name more with --metrics"
        )
    angles = np.linspace(0, 2 * np.pi, len(spokes), endpoint=False)
    with _figure(6.4, 5.2) as figure:
        axes = figure.add_subplot(projection="polar")
        assert isinstance(axes, PolarAxes)
        axes.set_theta_zero_location("N")
        axes.set_theta_direction(-1)
        for i, row in enumerate(rows):
            values = np.array([_normalised(column, rows, j, row) for j, column in spokes])
            closed = np.append(values, values[0])
            colour = COLOURS[i % len(COLOURS)]
            axes.plot(np.append(angles, angles[0]), closed, color=colour, label=_label(row), linewidth=1.6)
            if not np.isnan(closed).any():
                axes.fill(np.append(angles, angles[0]), closed, color=colour, alpha=0.08)
        axes.set_xticks(angles, [_title(column) for _, column in spokes])
        for label, angle in zip(axes.get_xticklabels(), angles, strict=True):
            across = np.sin(angle)
            label.set_horizontalalignment(
                "center" if abs(across) < 0.2 else "left" if across > 0 else "right"
            )
        axes.set_yticks([0.25, 0.5, 0.75, 1.0], [""] * 4)
        axes.set_ylim(0, 1.05)
        axes.spines["polar"].set_color(LINE)
        figure.legend(*axes.get_legend_handles_labels(), loc="outside right upper")
    return figure


def scatter(board: Board, first: str, second: str) -> Figure:
    """Two metrics against one another, a point a row; raises `UnknownNameError` for another metric."""
    names = [column.name for column in board.columns]
    for name in (first, second):
        if name not in names:
            raise UnknownNameError("metric", name, names)
    x, y = names.index(first), names.index(second)
    with _figure(6.0, 4.4) as figure:
        axes = figure.add_subplot()
        for i, row in enumerate(board.rows):
            across, up = row.cells[x], row.cells[y]
            if across.value is None or up.value is None:
                continue
            colour = COLOURS[i % len(COLOURS)]
            marker = "s" if row.published else "^" if row.control else "o"
            errors = (_error(across.value, across.low, across.high), _error(up.value, up.low, up.high))
            axes.errorbar(
                across.value,
                up.value,
                xerr=errors[0],
                yerr=errors[1],
                color=colour,
                marker=marker,
                elinewidth=0.8,
            )
            axes.annotate(
                _label(row), (across.value, up.value), (6, 5), textcoords="offset points", fontsize=8
            )
        axes.set_xlabel(_title(board.columns[x]))
        axes.set_ylabel(_title(board.columns[y]))
        axes.margins(0.12)
    return figure


def distribution(values: Mapping[str, Sequence[float]], label: str) -> Figure:
    """The values a clip of one metric, such as AudioScore: a violin a model, its median and quartiles.

    Raises `V2ABenchError` where a model has fewer than two values.
    """
    for name, given in values.items():
        if len(given) < 2:
            raise V2ABenchError(f"{name} has {len(given)} values of {label}; a distribution needs two")
    with _figure(6.4, 0.8 + 0.62 * len(values)) as figure:
        axes = figure.add_subplot()
        for i, given in enumerate(values.values()):
            colour, place = COLOURS[i % len(COLOURS)], -i
            data = np.asarray(given, dtype=np.float64)
            if np.ptp(data) > 0:
                body = axes.violinplot(
                    [data], [place], orientation="horizontal", widths=0.8, showextrema=False
                )
                for part in body["bodies"]:  # type: ignore[attr-defined]
                    part.set(facecolor=colour, alpha=0.3, linewidth=0)
            low, middle, high = np.quantile(data, [0.25, 0.5, 0.75])
            axes.plot([low, high], [place, place], color=colour, linewidth=3, solid_capstyle="round")
            axes.plot(middle, place, "o", color="white", markeredgecolor=colour, markersize=5)
        axes.set_yticks([-i for i in range(len(values))], [one_line(name) for name in values])
        axes.set_xlabel(label)
        axes.grid(axis="y", visible=False)
    return figure


def gains(difference: Difference) -> Figure:
    """The histogram of a difference, losses and wins in two colours."""
    counts, edges = histogram(difference.gains)
    with _figure(6.0, 3.2) as figure:
        axes = figure.add_subplot()
        colours = [COLOURS[0] if left >= 0 else COLOURS[5] for left in edges[:-1]]
        axes.bar(
            edges[:-1], counts, np.diff(edges), align="edge", color=colours, edgecolor="white", linewidth=0.8
        )
        axes.axvline(0, color=INK, linewidth=0.8)
        wins, ties, losses = difference.counts()
        axes.set_title(
            f"{one_line(difference.second)} against {one_line(difference.first)}: "
            f"better on {wins}, equal on {ties}, worse on {losses} clips",
            loc="left",
        )
        unit = f" ({difference.unit})" if difference.unit else ""
        axes.set_xlabel(f"gain in {difference.metric}{unit}, right is better")
        axes.set_ylabel("clips")
        axes.grid(axis="x", visible=False)
        axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    return figure


@contextmanager
def _figure(width: float, height: float) -> Iterator[Figure]:
    with mpl.rc_context(_STYLE):
        yield Figure(figsize=(width, height), layout="constrained")


def _bar_panel(panel: Axes, column: Column, rows: Sequence[Row], j: int, *, named: bool) -> None:
    for i, row in enumerate(rows):
        cell = row.cells[j]
        colour = COLOURS[6] if row.control or row.published else COLOURS[0]
        if cell.value is None:
            panel.annotate(" None", (0, -i), va="center", color="#6b6f78", fontsize=8)
            continue
        panel.barh(-i, cell.value, color=colour, alpha=1.0 if cell.rank == 1 else 0.65, height=0.66)
        error = _error(cell.value, cell.low, cell.high)
        if error is not None:
            panel.errorbar(cell.value, -i, xerr=error, color=INK, elinewidth=0.9, capsize=2)
    panel.set_title(_title(column), loc="left")
    panel.set_yticks(
        [-i for i in range(len(rows))], [_label(row) for row in rows] if named else [""] * len(rows)
    )
    panel.tick_params(axis="y", length=0)
    panel.grid(axis="y", visible=False)


def _error(value: float, low: float | None, high: float | None) -> list[list[float]] | None:
    """How far the interval reaches below and above; a bound on the wrong side reaches nowhere."""
    if low is None or high is None:
        return None
    return [[max(0.0, value - low)], [max(0.0, high - value)]]


def _values(rows: Sequence[Row], j: int) -> list[float]:
    return [value for row in rows if (value := row.cells[j].value) is not None]


def _tells_apart(column: Column, rows: Sequence[Row], j: int) -> bool:
    return column.direction != Direction.NEUTRAL and len(set(_values(rows, j))) > 1


def _normalised(column: Column, rows: Sequence[Row], j: int, row: Row) -> float:
    value = row.cells[j].value
    if value is None:
        return float("nan")
    values = _values(rows, j)
    share = (value - min(values)) / (max(values) - min(values))
    return 0.1 + 0.9 * (1 - share if column.direction == Direction.LOWER else share)


def _title(column: Column) -> str:
    unit = f"({column.unit})" if column.unit else ""
    return one_line(" ".join(filter(None, [column.name, unit, column.arrow])))


def _label(row: Row) -> str:
    return one_line(row.model) + (" (published)" if row.published else "")
