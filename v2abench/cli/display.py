"""What a person sees of a run."""

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from v2abench.leaderboards.board import build_board
from v2abench.leaderboards.terminal import render_terminal
from v2abench.runs.report import Report, ScoreRecord

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
    """Print how many clips of each report are not ok, and the reasons, those of most clips first."""
    for report in reports:
        counts = report.coverage
        extra = f"; {len(report.extra_files)} files of no clip" if report.extra_files else ""
        console.print(
            f"{report.model.name}: {counts.ok} of {counts.expected} clips ok, {counts.degraded} degraded, "
            f"{counts.failed} failed{extra}",
            markup=False,
            highlight=False,
        )
        groups = _by_reasons(report)
        for (status, reasons), ids in groups[:most]:
            console.print(_line(status, reasons, ids))
        if len(groups) > most:
            console.print(f"  and {len(groups) - most} other reasons in report.json", style="dim")


def _by_reasons(report: Report) -> list[tuple[tuple[str, str], list[str]]]:
    """The clips that are not ok by status and reasons: failed before degraded, many before few."""
    groups: dict[tuple[str, str], list[str]] = {}
    for entry in report.ledger:
        if entry.status != "ok":
            reasons = "; ".join(f"{reason.about}: {reason.detail}" for reason in entry.reasons)
            groups.setdefault((entry.status, reasons), []).append(entry.id)
    return sorted(groups.items(), key=lambda item: (item[0][0] != "failed", -len(item[1])))


def _line(status: str, reasons: str, ids: Sequence[str], most: int = 3) -> Text:
    line = Text(f"  {status} ", style="red" if status == "failed" else "yellow")
    more = f" and {len(ids) - most} more" if len(ids) > most else ""
    line.append(f"{', '.join(ids[:most])}{more}: ", style="bold")
    line.append(reasons, style="default")
    return line


def _cells(score: ScoreRecord) -> tuple[str, ...]:
    name = f"{score.name} {_ARROWS[score.direction]}".strip()
    value = "–" if score.value is None else f"{score.value:.4g}"
    interval = f"{score.interval.low:.4g} … {score.interval.high:.4g}" if score.interval else ""
    return name, value, interval, score.unit, f"{score.used}/{score.expected}"


def _level(report: Report) -> str:
    levels = {score.interval.level for score in report.scores if score.interval}
    return f"{levels.pop():.0%}" if len(levels) == 1 else "no"
