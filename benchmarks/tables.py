"""Tables of measurements: Markdown for people, CSV for programs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

Row = Mapping[str, object]


@dataclass(frozen=True)
class Table:
    """Rows with equal columns. `name` is the CSV's, `note` says how to read it."""

    name: str
    title: str
    rows: Sequence[Row]
    note: str = ""

    @property
    def columns(self) -> list[str]:
        """The columns, in the order of the first row."""
        return list(self.rows[0]) if self.rows else []

    def markdown(self) -> str:
        """Return title, note and rows; floats with four significant digits."""
        lines = [
            self.columns,
            ["---"] * len(self.columns),
            *([_cell(v) for v in r.values()] for r in self.rows),
        ]
        body = "\n".join(f"| {' | '.join(line)} |" for line in lines)
        return "\n\n".join(part for part in (f"## {self.title}", self.note, body) if part) + "\n"

    def write(self, folder: Path) -> None:
        """Write the rows as `<name>.csv`, floats in full."""
        pd.DataFrame(self.rows).to_csv(folder / f"{self.name}.csv", index=False)


def _cell(value: object) -> str:
    if not isinstance(value, float):
        return str(value)
    if value and not 1e-3 <= abs(value) < 1e6:
        return f"{value:.1e}"
    return f"{value:.4g}" if abs(value) < 1000 else f"{value:.0f}"
