"""What a person sees of a run."""

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from v2abench.leaderboards.board import build_board
from v2abench.leaderboards.terminal import render_terminal
from v2abench.runs.report import LedgerEntry, Report, ScoreRecord

_ARROWS = {"higher": "↑", "lower": "↓", "neutral": ""}


def show_run(report: Report, console: Console) -> None:
    """Print one run: a metric a line, then what is not ok, then the signature."""
    title = f"{report.model.name} on {report.dataset.name}, protocol {report.protocol.name}"
    table = Table(title=title, title_justify="left", title_style="bold")
    table.add_column("metric")
    for heading in ("value", f"{_level(report)} interval", "unit", "clips"):
        table.add_column(heading, justify="left" if heading == "unit" else "right")
    for score in report.scores:
        table.add_row(*_cells(score))
    console.print(table)
    for score in report.scores:
        for warning in score.warnings:
            console.print(f"{score.name}: {warning}", style="yellow", markup=False, highlight=False)
    show_ledger([report], console)
    console.print(
        f"signature  {report.signature}", style="dim", markup=False, highlight=False, soft_wrap=True
    )


def show_board(reports: Sequence[Report], console: Console) -> None:
    """Print several runs as a board, then what is not ok."""
    console.print(render_terminal(build_board(reports)))
    show_ledger(reports, console)


def show_ledger(reports: Sequence[Report], console: Console, most: int = 5) -> None:
    """Print how many clips of each report are not ok, and the first few with their reasons."""
    for report in reports:
        wrong = [entry for entry in report.ledger if entry.status != "ok"]
        counts = report.coverage
        console.print(
            f"{report.model.name}: {counts.ok} of {counts.expected} clips ok, {counts.degraded} degraded, "
            f"{counts.failed} failed"
            + (f"; {len(report.extra_files)} files of no clip" if report.extra_files else ""),
            markup=False,
            highlight=False,
        )
        for entry in sorted(wrong, key=lambda entry: entry.status != "failed")[:most]:
            console.print(_line(entry))
        if len(wrong) > most:
            console.print(f"  and {len(wrong) - most} more in report.json", style="dim")


def _line(entry: LedgerEntry) -> Text:
    line = Text(f"  {entry.status} ", style="red" if entry.status == "failed" else "yellow")
    line.append(f"{entry.id}: ", style="bold")
    line.append("; ".join(f"{r.about}: {r.detail}" for r in entry.reasons), style="default")
    return line


def _cells(score: ScoreRecord) -> tuple[str, ...]:
    name = f"{score.name} {_ARROWS[score.direction]}".strip()
    value = "–" if score.value is None else f"{score.value:.4g}"
    interval = f"{score.interval.low:.4g} … {score.interval.high:.4g}" if score.interval else ""
    return name, value, interval, score.unit, f"{score.used}/{score.expected}"


def _level(report: Report) -> str:
    levels = {score.interval.level for score in report.scores if score.interval}
    return f"{levels.pop():.0%}" if len(levels) == 1 else "no"
