"""`v2abench gallery`."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from v2abench.cli import options as shared
from v2abench.cli.boards import Force, Runs, read_runs
from v2abench.cli.consoles import results, show_progress
from v2abench.errors import V2ABenchError


class Rule(StrEnum):
    """How clips are chosen."""

    ALL = "all"
    RANDOM = "random"
    BEST = "best"
    WORST = "worst"
    CHANGED = "changed"


def gallery_command(
    runs: Runs,
    out: Annotated[Path, typer.Option("--out", help="Folder for the page and its media.")] = Path("site"),
    rule: Annotated[Rule, typer.Option("--choose", help="Which clips to show.")] = Rule.RANDOM,
    number: Annotated[int, typer.Option("--number", min=1, help="How many clips.")] = 12,
    seed: Annotated[int, typer.Option("--seed", help="Of --choose random.")] = 0,
    by: Annotated[
        str | None, typer.Option("--by", help="Metric with values a clip, for best, worst, changed.")
    ] = None,
    of: Annotated[str | None, typer.Option("--of", help="The model for --choose best and worst.")] = None,
    between: Annotated[
        str | None, typer.Option("--between", help="The two models for --choose changed, by comma.")
    ] = None,
    clips: Annotated[
        str | None,
        typer.Option("--clips", help="Ids by comma, or @FILE with one a line; instead of --choose."),
    ] = None,
    metrics: Annotated[
        str | None, typer.Option("--metrics", help="Scores under a clip, by comma. Default: the first four.")
    ] = None,
    title: Annotated[str | None, typer.Option("--title", help="Heading of the page.")] = None,
    workers: shared.Workers = None,
    force: Force = False,
) -> None:
    """Write a page that plays every clip with the sound of every model, side by side."""
    from v2abench.leaderboards.choice import Choice
    from v2abench.leaderboards.gallery import GalleryOptions, build_gallery

    models = tuple(name.strip() for name in (between or of or "").split(",") if name.strip())
    choice = Choice(rule.value, number, seed, by, models, _ids(clips) if clips else ())
    options = GalleryOptions(
        choice,
        tuple(metrics.split(",")) if metrics else None,
        title,
        force,
        max(1, shared.default_workers(workers)),
        show_progress,
    )
    page = build_gallery(read_runs(runs), out, options)
    results.print(str(page), markup=False, highlight=False, soft_wrap=True)


def _ids(text: str) -> tuple[str, ...]:
    if not text.startswith("@"):
        return tuple(name.strip() for name in text.split(",") if name.strip())
    file = Path(text[1:])
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise V2ABenchError(
            f"--clips {text}: {file} cannot be read as text; give a file with one id a line"
        ) from error
    found = tuple(line.strip() for line in lines if line.strip())
    if not found:
        raise V2ABenchError(f"--clips {text}: the file names no clip")
    return found
