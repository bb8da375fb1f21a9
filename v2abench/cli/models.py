"""`v2abench models`."""

import json
import os
import shlex
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from v2abench.cli.consoles import messages, results, show_progress
from v2abench.cli.options import AsJson

if TYPE_CHECKING:
    from v2abench.baselines.workers.cards import Card

app = typer.Typer(help="Models: what there is, setting up, adding one's own.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(help="As in `models list`.")]


@app.command("list")
def list_models(as_json: AsJson = False) -> None:
    """List the models: kind, text, licence, and whether they are ready here."""
    from v2abench.baselines.workers.catalogue import describe_all

    found = describe_all()
    if as_json:
        rows = [{"name": name, **asdict(description)} for name, description in found.items()]
        print(json.dumps(rows, ensure_ascii=False, indent=2))
        return
    wide = max(map(len, found))
    for name, said in found.items():
        here = said.state.partition(":")[0]
        results.print(Text(f"{name:{wide}}  {said.kind:8}  text {said.text:8}  {here}", style="bold"))
        for line in (said.summary, f"licence: {said.license}"):
            results.print(Padding(Text(line), (0, 0, 0, 2)))
    _say("what is missing, and the remedy: v2abench models doctor NAME, v2abench weights list, or --json")


@app.command()
def setup(
    name: Name,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be done.")] = False,
    repo: Annotated[
        Path | None, typer.Option("--repo", help="A clone of the upstream repository that exists.")
    ] = None,
    python: Annotated[
        Path | None, typer.Option("--python", help="An interpreter with the packages installed.")
    ] = None,
    weights: Annotated[
        bool, typer.Option("--weights/--no-weights", help="Fetch the checkpoints too.")
    ] = True,
) -> None:
    """Prepare an isolated model: repository, environment, checkpoints. Goes on where it was interrupted."""
    from v2abench.baselines.workers.setting_up import SetupOptions, plan, set_up

    card = _card(name)
    options = SetupOptions(repo, python, weights, _say, show_progress)
    for line in plan(card, options):
        _say(line)
    if dry_run:
        return
    set_up(card, options)
    _say(f"{name} is set up; check it with: v2abench models doctor {name}")


@app.command()
def doctor(name: Name, as_json: AsJson = False) -> None:
    """Check each prerequisite of a model and say the remedy; exit with 2 where one lacks."""
    from v2abench.baselines.workers.examining import examine

    checks = examine(_card(name))
    if as_json:
        print(json.dumps([asdict(check) for check in checks], ensure_ascii=False, indent=2))
    else:
        table = Table("what", "state", "remedy")
        for check in checks:
            style = "red" if check.remedy else "green"
            table.add_row(Text(check.what), Text(check.state, style=style), Text(check.remedy))
        results.print(table)
    if any(check.remedy for check in checks):
        raise typer.Exit(2)


@app.command()
def add(
    name: Annotated[str, typer.Argument(help="What --model shall call it.")],
    worker: Annotated[
        str | None, typer.Option("--worker", help="A command that speaks the worker protocol.", metavar="CMD")
    ] = None,
    command: Annotated[
        str | None,
        typer.Option(
            "--command",
            help="A command run once a clip, with {video} {prompt} {seed} {seconds} {output} {device}.",
            metavar="CMD",
        ),
    ] = None,
    text: Annotated[str, typer.Option("--text", help="none, optional or required.")] = "optional",
    licence: Annotated[
        str | None, typer.Option("--licence", help="Licence of code and weights, for tables.")
    ] = None,
    timeout: Annotated[
        float, typer.Option("--timeout", min=0.1, help="Seconds that one clip may take.")
    ] = 1800.0,
    force: Annotated[bool, typer.Option("--force", help="Replace a model that was added before.")] = False,
) -> None:
    """Add a model of one's own: a worker, or a command line. No shell is involved."""
    from v2abench.baselines.workers.adding import add_model

    path = add_model(
        name,
        worker=_words(worker, "--worker"),
        command=_words(command, "--command"),
        text=text,
        licence=licence,
        timeout=timeout,
        replace=force,
    )
    _say(f"wrote {path}; use it as --model {name}, check it with: v2abench models doctor {name}")


def _words(line: str | None, option: str) -> tuple[str, ...]:
    """Split as a shell would, and make a program that was named by its place absolute."""
    from v2abench.errors import V2ABenchError

    if line is None:
        return ()
    try:
        words = shlex.split(line)
    except ValueError as error:
        raise V2ABenchError(f"{option} {line!r}: {error}; close every quote") from error
    if not words or shutil.which(words[0]) is None:
        program = words[0] if words else ""
        raise V2ABenchError(f"{option}: {program!r} is no program on the PATH; name it with its path")
    program = str(Path(words[0]).absolute()) if os.sep in words[0] else words[0]
    return (program, *words[1:])


def _card(name: str) -> "Card":
    from v2abench import registry
    from v2abench.baselines.workers.cards import built_in_cards, find_card
    from v2abench.errors import UnknownNameError, V2ABenchError
    from v2abench.models import added_models

    cards, registered = [*built_in_cards(), *added_models()], registry.names("models")
    if name in registered and name not in cards:
        raise V2ABenchError(
            f"{name} is part of v2abench and needs no setup; its weights: v2abench weights list; "
            f"models with a setup: {', '.join(built_in_cards())}"
        )
    if name not in cards:
        raise UnknownNameError("model", name, [*registered, *cards])
    return find_card(name)


def _say(message: str) -> None:
    messages.print(message, markup=False, highlight=False, soft_wrap=True)
