"""The commands of `v2abench`."""

import logging
from typing import Annotated

import typer
from rich.logging import RichHandler

from v2abench import __version__
from v2abench.cli import (
    boards,
    cache,
    checking,
    environment,
    evaluating,
    generating,
    listing,
    models,
    selftest,
    weights,
)
from v2abench.cli.consoles import messages

app = typer.Typer(
    name="v2abench",
    help="Generate with, evaluate and compare video-to-audio models.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"v2abench {__version__}")
        raise typer.Exit


@app.callback()
def _start(
    version: Annotated[  # noqa: ARG001 (acts in its callback)
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit."),
    ] = False,
) -> None:
    handler = RichHandler(console=messages, show_time=False, show_path=False)
    logging.basicConfig(level=logging.WARNING, format="%(message)s", handlers=[handler])


app.command("eval")(evaluating.evaluate_command)
app.command("generate")(generating.generate_command)
app.command("check")(checking.check_command)
app.command("selftest")(selftest.selftest_command)
app.command("doctor")(environment.doctor_command)
app.add_typer(boards.app, name="leaderboard")
app.add_typer(models.app, name="models")
app.add_typer(listing.metrics, name="metrics")
app.add_typer(listing.datasets, name="datasets")
app.add_typer(listing.protocols, name="protocols")
app.add_typer(weights.app, name="weights")
app.add_typer(cache.app, name="cache")
