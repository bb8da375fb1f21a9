"""`v2abench leaderboard`."""

from pathlib import Path
from typing import Annotated

import typer

from v2abench.cli.consoles import messages, results
from v2abench.errors import V2ABenchError

app = typer.Typer(help="Boards over runs.", no_args_is_help=True)


@app.callback()
def _group() -> None:
    """Boards over runs."""


@app.command("build")
def build(
    runs: Annotated[list[Path], typer.Argument(help="Run folders, or folders that hold runs.")],
    output: Annotated[
        Path | None,
        typer.Option("--output", help="Write OUTPUT.md, OUTPUT.csv, ... instead of printing only."),
    ] = None,
    formats: Annotated[str, typer.Option("--formats", help="Of md, csv, tex, by comma.")] = "md,csv",
    metrics: Annotated[str | None, typer.Option("--metrics", help="Columns, by comma. Default: all.")] = None,
    sort_by: Annotated[str | None, typer.Option("--sort-by", help="Metric to order the rows by.")] = None,
    intervals: Annotated[bool, typer.Option("--intervals", help="Show confidence intervals.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="Write OUTPUT only, print nothing.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Mix runs of different signatures, marked.")] = False,
) -> None:
    """Build a leaderboard: best bold, second underlined, with coverage and signature."""
    from v2abench.leaderboards.board import Intervals, build_board
    from v2abench.leaderboards.terminal import render_terminal
    from v2abench.leaderboards.writing import write_board
    from v2abench.runs.report import read_report

    chosen = metrics.split(",") if metrics else None
    reports = [read_report(folder) for folder in find_runs(runs)]
    board = build_board(reports, metrics=chosen, sort_by=sort_by, force=force)
    shown: Intervals = "brackets" if intervals else "none"
    if not quiet:
        results.print(render_terminal(board, shown))
    if output is not None:
        for path in write_board(board, output, formats.split(","), shown):
            messages.print(f"wrote {path}", markup=False, highlight=False, soft_wrap=True)


def find_runs(places: list[Path]) -> list[Path]:
    """Return the run folders among or below `places`, sorted; raises `V2ABenchError` where there are none."""
    found: list[Path] = []
    for place in places:
        below = sorted(path.parent for path in place.rglob("report.json"))
        if not below:
            raise V2ABenchError(
                f"{place} holds no run (no report.json below it); evaluate first, or name another folder"
            )
        found += [folder for folder in below if folder not in found]
    return found
