"""What a training tells as it goes: CSV, TensorBoard, and curves as a picture at the end."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from v2abench.files import atomic

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter


class Log:
    """Rows of named numbers by step in `NAME.csv`, and in TensorBoard's files beside it.

    Rows after `resumed`, the step from which a training goes on, are dropped; all of them where it is 0.
    """

    def __init__(self, folder: Path, name: str, resumed: int) -> None:
        self.path = folder / f"{name}.csv"
        self._prefix = name
        self.rows = [row for row in _read(self.path) if row["step"] <= resumed] if resumed else []
        self._board = _writer(folder / "tensorboard" / name, resumed)
        self._write_all()

    def add(self, step: int, values: Mapping[str, float]) -> None:
        """Write the values of one step."""
        self.rows.append({"step": step, **values})
        if set(values) <= set(self._columns) and self.path.is_file():
            with self.path.open("a", encoding="utf-8", newline="") as stream:
                csv.DictWriter(stream, ["step", *self._columns]).writerow({"step": step, **values})
        else:
            self._write_all()
        for name, value in values.items():
            if math.isfinite(value):
                self._board.add_scalar(f"{self._prefix}/{name}", value, step)
        self._board.flush()

    def column(self, name: str) -> list[float]:
        """Return the values of one name, in order."""
        return [row[name] for row in self.rows if name in row]

    def close(self) -> None:
        """End TensorBoard's file."""
        self._board.close()

    def _write_all(self) -> None:
        self._columns = list(dict.fromkeys(name for row in self.rows for name in row if name != "step"))
        with atomic(self.path) as temporary, temporary.open("w", encoding="utf-8", newline="") as stream:
            writer = csv.DictWriter(stream, ["step", *self._columns])
            writer.writeheader()
            writer.writerows(self.rows)


def _read(path: Path) -> list[dict[str, Any]]:
    if not path.is_file():
        return []
    with path.open(encoding="utf-8", newline="") as stream:
        return [
            {name: int(value) if name == "step" else float(value) for name, value in row.items() if value}
            for row in csv.DictReader(stream)
        ]


def _writer(folder: Path, resumed: int) -> SummaryWriter:
    from torch.utils.tensorboard import SummaryWriter  # noqa: PLC0415 (an extra, and slow to import)

    return SummaryWriter(str(folder), purge_step=resumed + 1 if resumed else 0)


def draw_curves(logs: Mapping[str, Log], path: Path) -> None:
    """Draw every quantity over the steps, all logs in one small picture, the held-out panel first, as PNG."""
    from matplotlib.figure import Figure  # noqa: PLC0415 (an extra, and slow to import)

    quantities = _quantities(logs.values())
    if not quantities:
        return
    rows = math.ceil(len(quantities) / 4)
    figure = Figure(figsize=(16, 2.6 * rows))
    figure.subplots_adjust(0.04, 0.08 / rows, 0.99, 1 - 0.25 / rows, hspace=0.35)
    for place, quantity in enumerate(quantities):
        axes = figure.add_subplot(rows, 4, place + 1)
        for number, (name, log) in enumerate(logs.items()):
            steps, values = _points(log.rows, quantity)
            if steps:
                marker = "o" if len(steps) <= 20 else None
                axes.plot(
                    steps, values, color=f"C{number}", linewidth=1, marker=marker, markersize=3, label=name
                )
        axes.set_title(quantity, fontsize=9)
        axes.tick_params(labelsize=8)
        axes.locator_params(nbins=4)
        axes.margins(x=0.03)
        axes.legend(fontsize=7, frameon=False)
    with atomic(path) as temporary:
        figure.savefig(temporary, format="png", dpi=80)


def _quantities(logs: Iterable[Log]) -> list[str]:
    """What is drawn: all but the step and single parts of the time, the panel's metrics first."""
    names = dict.fromkeys(name for log in logs for row in log.rows for name in row)
    drawn = [name for name in names if name != "step" and "@" not in name]
    return sorted(drawn, key=lambda name: not name.startswith("panel/"))


def _points(rows: Sequence[Mapping[str, float]], column: str) -> tuple[list[float], list[float]]:
    kept = [row for row in rows if column in row]
    return [row["step"] for row in kept], [row[column] for row in kept]
