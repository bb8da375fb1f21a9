"""What a validation says: a table as Markdown and CSV, and a plot."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import matplotlib as mpl
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from v2abench.files import atomic, write_text
from v2abench.impacts.validation.conditions import GRADES, Evidence
from v2abench.impacts.validation.correlation import Correlation

_COLUMNS = 3


def write_validation(evidence: Evidence, found: Sequence[Correlation], folder: Path) -> list[Path]:
    """Write `validation.md`, `.csv` and `.png`, and what they stand on, `conditions.csv` and `clips.csv`."""
    paths = [folder / f"validation.{suffix}" for suffix in ("md", "csv", "png")]
    paths += [folder / "conditions.csv", folder / "clips.csv"]
    write_text(paths[0], markdown(found))
    write_text(paths[1], pd.DataFrame([asdict(one) for one in found]).to_csv(index=False))
    with atomic(paths[2]) as temporary:
        plot(evidence, found).savefig(temporary, format="png", dpi=110)
    write_text(paths[3], evidence.sets.to_csv(index=False))
    write_text(paths[4], evidence.clips.to_csv(index=False))
    return paths


def markdown(found: Sequence[Correlation]) -> str:
    """Return the table: a metric a line, best overall first, clips before conditions."""
    parts = []
    for over in ("clips", "conditions"):
        chosen = [one for one in found if one.over == over]
        if not chosen:
            continue
        most = max(one.count for one in chosen)
        parts.append(f"Over {over} (n = {most})\n\n{_table(chosen)}")
    return "\n".join(parts)


def _table(found: Sequence[Correlation]) -> str:
    by_metric: dict[str, dict[str, Correlation]] = {}
    for one in found:
        by_metric.setdefault(one.metric, {})[one.grade] = one
    ordered = sorted(by_metric.items(), key=lambda item: -(item[1]["overall"].rho or 0.0))
    lines = [f"| metric | {' | '.join(GRADES)} |", f"| --- |{' --- |' * len(GRADES)}"]
    lines += [
        f"| {name} | {' | '.join(shown(cells[grade]) for grade in GRADES)} |" for name, cells in ordered
    ]
    return "\n".join(lines) + "\n"


def shown(one: Correlation) -> str:
    """Return a correlation as a cell of a table."""
    if one.rho is None:
        return "–"
    interval = "" if one.low is None or one.high is None else f" [{one.low:.2f}, {one.high:.2f}]"
    return f"{one.rho:.2f}{interval}"


def plot(evidence: Evidence, found: Sequence[Correlation]) -> Figure:
    """Return a panel a metric: its value against the oracle's overall grade, a point a condition."""
    names = list(evidence.signs)
    rows = -(-len(names) // _COLUMNS)
    with mpl.rc_context({"font.size": 8}):
        figure = Figure(figsize=(3.4 * _COLUMNS, 2.5 * rows + 0.5), layout="constrained")
        FigureCanvasAgg(figure)
        panels = figure.subplots(rows, _COLUMNS, squeeze=False).ravel()
        for panel, name in zip(panels, names, strict=False):
            _scatter(panel, evidence, name, found)
        for panel in panels[len(names) :]:
            panel.set_axis_off()
        handles, labels = panels[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=min(len(labels), 5))
    return figure


def _scatter(panel: Axes, evidence: Evidence, name: str, found: Sequence[Correlation]) -> None:
    for number, (family, rows) in enumerate(evidence.sets.groupby("family", sort=False)):
        marker = "os^Dv<>P*X"[number % 10]
        panel.plot(rows["overall"], rows[name].astype(float), marker, markersize=4, label=str(family))
    rho = next(
        one.rho for one in found if (one.metric, one.grade, one.over) == (name, "overall", "conditions")
    )
    better = "higher" if evidence.signs[name] > 0 else "lower"
    panel.set_title(f"{name} ({better} is better), ρ = {'–' if rho is None else f'{rho:.2f}'}")
    panel.set_xlabel("oracle, overall")
