"""`v2abench leaderboard`."""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from v2abench.cli.consoles import messages, results, show_progress
from v2abench.errors import V2ABenchError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from v2abench.leaderboards.significance import WrittenRun

app = typer.Typer(help="Boards over runs.", no_args_is_help=True)

Runs = Annotated[list[Path], typer.Argument(help="Run folders, or folders that hold runs.")]
Metrics = Annotated[str | None, typer.Option("--metrics", help="Columns, by comma. Default: all.")]
SortBy = Annotated[str | None, typer.Option("--sort-by", help="Metric to order the rows by.")]
Force = Annotated[bool, typer.Option("--force", help="Mix runs of different signatures, marked.")]
Quiet = Annotated[bool, typer.Option("--quiet", help="Write OUTPUT only, print nothing.")]


class Plot(StrEnum):
    """What can be drawn."""

    BARS = "bars"
    RADAR = "radar"
    SCATTER = "scatter"
    DISTRIBUTION = "distribution"


@app.callback()
def _group() -> None:
    """Boards over runs."""


@app.command("build")
def build(
    runs: Runs,
    output: Annotated[
        Path | None,
        typer.Option("--output", help="Write OUTPUT.md, OUTPUT.csv, ... instead of printing only."),
    ] = None,
    formats: Annotated[str, typer.Option("--formats", help="Of md, csv, tex, html, by comma.")] = "md,csv",
    metrics: Metrics = None,
    sort_by: SortBy = None,
    facts: Annotated[
        str | None,
        typer.Option(
            "--facts",
            help="Of parameters, license, text, by comma; '' for none. Default: what models state.",
        ),
    ] = None,
    group: Annotated[
        list[str] | None,
        typer.Option(
            "--group",
            help="A group of models by patterns, e.g. 'Aligned=*-dpo,*-ddpo'. Give it again for more.",
            metavar="NAME=PATTERN",
        ),
    ] = None,
    intervals: Annotated[bool, typer.Option("--intervals", help="Show confidence intervals.")] = False,
    base: Annotated[
        str | None,
        typer.Option("--base", help="Test every model against this one and mark what is significant."),
    ] = None,
    resamples: Annotated[
        int, typer.Option("--resamples", min=100, help="Of a test on a set metric (FD, IS, ...).")
    ] = 1000,
    published: Annotated[
        list[str] | None,
        typer.Option(
            "--published", help="Add a published table's rows (`leaderboard published` lists them)."
        ),
    ] = None,
    same: Annotated[
        list[str] | None,
        typer.Option(
            "--same", help="A model of yours that a published row calls otherwise.", metavar="MODEL=PUBLISHED"
        ),
    ] = None,
    quiet: Quiet = False,
    force: Force = False,
) -> None:
    """Build a leaderboard: best bold, second underlined, with coverage and signature."""
    from v2abench.leaderboards import rows
    from v2abench.leaderboards.board import Intervals, build_board
    from v2abench.leaderboards.published import load_published
    from v2abench.leaderboards.significance import Effort, compare_runs
    from v2abench.leaderboards.terminal import render_terminal
    from v2abench.leaderboards.writing import write_board

    written = read_runs(runs)
    reports = [run.report for run in written]
    wanted = facts.split(",") if facts else [] if facts is not None else None
    board = build_board(reports, metrics=_split(metrics), sort_by=sort_by, facts=wanted, force=force)
    for name in published or []:
        board = rows.add_published(board, load_published(name), _pairs("--same", same), wanted)
    if base is not None:
        names = [column.name for column in board.columns]
        found = compare_runs(written, base, names, Effort(resamples=resamples), show_progress)
        board = rows.mark_significance(board, found)
    board = rows.group_rows(board, _pairs("--group", group))
    shown: Intervals = "brackets" if intervals else "none"
    if not quiet:
        results.print(render_terminal(board, shown))
    if output is not None:
        _tell(write_board(board, output, formats.split(","), shown))


@app.command("published")
def published_command(
    name: Annotated[str | None, typer.Argument(help="Which table; none lists them all.")] = None,
    output: Annotated[
        Path | None, typer.Option("--output", help="Write OUTPUT.md, OUTPUT.csv, ... too.")
    ] = None,
    formats: Annotated[str, typer.Option("--formats", help="Of md, csv, tex, html, by comma.")] = "md,csv",
) -> None:
    """Print a published table, with where it comes from."""
    from v2abench.leaderboards.published import load_published, published_names
    from v2abench.leaderboards.rows import published_board
    from v2abench.leaderboards.terminal import render_terminal
    from v2abench.leaderboards.writing import write_board

    if name is None:
        for known in published_names():
            card = load_published(known).card
            line = f"{known}: {card.title} ({card.paper}), {card.dataset} under {card.protocol}"
            results.print(line, markup=False, highlight=False, soft_wrap=True)
        return
    board = published_board(load_published(name))
    results.print(render_terminal(board))
    if output is not None:
        _tell(write_board(board, output, formats.split(",")))


@app.command("diff")
def diff(
    run_a: Annotated[Path, typer.Argument(help="A run folder.")],
    run_b: Annotated[Path, typer.Argument(help="Another: its wins over the first are shown.")],
    metric: Annotated[
        str | None,
        typer.Option("--metric", help="Which metric with values a clip. Default: each, in one line."),
    ] = None,
    most: Annotated[int, typer.Option("--top", min=1, help="How many wins and losses.")] = 10,
    output: Annotated[
        Path | None, typer.Option("--output", help="Write the histogram to OUTPUT.png and OUTPUT.svg.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Compare different signatures.")] = False,
) -> None:
    """Compare two runs clip by clip: biggest wins and losses, with a histogram."""
    from v2abench.cli.differing import show_difference, show_summary
    from v2abench.leaderboards.differences import clip_metrics, difference_of

    first, second = (read_run(folder) for folder in (run_a, run_b))
    names = [metric] if metric else [score.name for score in clip_metrics(first)]
    found = [difference_of(first, second, name, force=force) for name in names]
    if not found:
        raise V2ABenchError(f"{run_a} has no metric with values a clip; evaluate with another protocol")
    if metric is None:
        show_summary(found, results)
    else:
        show_difference(found[0], most, results)
    if output is not None:
        from v2abench.leaderboards import plots

        for item in found:
            place = output if metric else output.with_name(f"{output.name}-{_file_name(item.metric)}")
            _tell(plots.save(plots.gains(item), place, plots.FORMATS))


@app.command("plot")
def plot(
    runs: Runs,
    output: Annotated[Path, typer.Option("--output", help="Folder for the plots.")],
    kind: Annotated[
        list[Plot] | None,
        typer.Option("--kind", help="Which plot; give it again for more. Default: bars, radar."),
    ] = None,
    metrics: Metrics = None,
    sort_by: SortBy = None,
    formats: Annotated[str, typer.Option("--formats", help="Of png, svg, by comma.")] = "png,svg",
    force: Force = False,
) -> None:
    """Draw a board: bars with intervals, a radar, a scatter of two metrics, a distribution over clips."""
    from v2abench.cli.drawing import draw

    written = read_runs(runs)
    kinds = [item.value for item in kind or [Plot.BARS, Plot.RADAR]]
    _tell(draw(written, kinds, output, formats.split(","), _split(metrics), sort_by, force=force))


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


def read_runs(places: list[Path]) -> "list[WrittenRun]":
    """Return the runs among or below `places`, read."""
    return [read_run(folder) for folder in find_runs(places)]


def read_run(folder: Path) -> "WrittenRun":
    """Return the run in `folder`."""
    from v2abench.leaderboards.significance import WrittenRun
    from v2abench.runs.report import read_report

    return WrittenRun(folder, read_report(folder))


def _split(text: str | None) -> list[str] | None:
    return text.split(",") if text else None


def _pairs(option: str, given: list[str] | None) -> dict[str, str]:
    pairs = {}
    for text in given or []:
        name, sign, value = text.partition("=")
        if not (sign and name.strip() and value.strip()):
            raise V2ABenchError(f"{option} {text}: write NAME=VALUE")
        pairs[name.strip()] = value.strip()
    return pairs


def _file_name(metric: str) -> str:
    return "".join(c if c.isalnum() or c in "-_." else "_" for c in metric)


def _tell(paths: "Sequence[Path]") -> None:
    for path in paths:
        messages.print(f"wrote {path}", markup=False, highlight=False, soft_wrap=True)
