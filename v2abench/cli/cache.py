"""`v2abench cache`."""

import json
from dataclasses import asdict
from typing import Annotated

import typer
from rich.table import Table

from v2abench.cli.consoles import messages, results
from v2abench.cli.options import AsJson

app = typer.Typer(help="The cache of weights, features and rendered clips.", no_args_is_help=True)


@app.command()
def info(as_json: AsJson = False) -> None:
    """Show where the cache is and what it holds."""
    from v2abench.features.upkeep import usage
    from v2abench.home import home

    found = usage(home())
    if as_json:
        print(json.dumps({"cache": str(home()), "folders": [asdict(item) for item in found]}, indent=2))
        return
    table = Table("folder", "files", "MB")
    for item in found:
        table.add_row(item.name, str(item.files), f"{item.bytes / 1e6:.1f}")
    results.print(table)
    results.print(f"{sum(i.bytes for i in found) / 1e6:.1f} MB in {home()}", highlight=False, soft_wrap=True)


@app.command()
def verify() -> None:
    """Read every stored feature part and hash every checkpoint; exit with 2 where one is damaged."""
    from v2abench.features.store import damaged_parts
    from v2abench.home import home
    from v2abench.weights import registry

    damaged = damaged_parts(home() / "features")
    damaged += [
        registry.local_path(name)
        for name in registry.registry()
        if registry.state(name, rehash=True) == "damaged"
    ]
    for path in damaged:
        results.print(f"damaged: {path}", markup=False, highlight=False, soft_wrap=True)
    messages.print(
        f"{len(damaged)} damaged files" + ("; `v2abench cache gc` removes feature parts" if damaged else "")
    )
    if damaged:
        raise typer.Exit(2)


@app.command()
def gc(
    older_than: Annotated[
        float | None,
        typer.Option("--older-than", min=0, help="Also remove features this many days old.", metavar="DAYS"),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what would go.")] = False,
) -> None:
    """Remove damaged parts and what killed processes left; weights and rendered clips stay."""
    from v2abench.features.upkeep import collect, removable
    from v2abench.home import home

    if dry_run:
        for path, reason in removable(home(), older_than):
            results.print(f"{reason}: {path}", markup=False, highlight=False, soft_wrap=True)
        return
    count, size = collect(home(), older_than)
    messages.print(f"removed {count} files, {size / 1e6:.1f} MB", highlight=False)
