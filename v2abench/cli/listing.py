"""`v2abench metrics|datasets|protocols list`."""

import json
from collections.abc import Callable, Iterable

import typer
from rich.table import Table
from rich.text import Text

from v2abench.cli.consoles import results
from v2abench.cli.options import AsJson

Rows = Callable[[], Iterable[tuple[str, ...]]]


def _first_line(thing: object) -> str:
    return (thing.__doc__ or "").strip().partition("\n")[0]


def _dataset_rows() -> Iterable[tuple[str, ...]]:
    from v2abench import registry

    return [(name, _first_line(registry.load("datasets", name))) for name in registry.names("datasets")]


def _metric_rows() -> Iterable[tuple[str, ...]]:
    from v2abench import registry

    for name in registry.names("metrics"):
        metric = registry.load("metrics", name)()
        yield name, metric.direction.value, metric.unit, metric.citation


def _protocol_rows() -> Iterable[tuple[str, ...]]:
    from v2abench.protocols.schema import load_protocol, protocol_names

    for name in protocol_names():
        protocol = load_protocol(name)
        yield name, str(protocol.version), protocol.summary, " ".join(e.name for e in protocol.metrics)


def _group(what: str, columns: tuple[str, ...], rows: Rows) -> typer.Typer:
    group = typer.Typer(help=f"What {what} there are.", no_args_is_help=True)

    @group.callback()
    def _start() -> None:
        pass

    @group.command("list", help=f"List the {what}.")
    def _list(as_json: AsJson = False) -> None:
        found = list(rows())
        if as_json:
            print(
                json.dumps(
                    [dict(zip(columns, row, strict=True)) for row in found], ensure_ascii=False, indent=2
                )
            )
            return
        table = Table(*columns)
        for row in found:
            table.add_row(*map(Text, row))
        results.print(table)

    return group


datasets = _group("datasets", ("name", "what it is"), _dataset_rows)
metrics = _group("metrics", ("name", "better", "unit", "source"), _metric_rows)
protocols = _group("protocols", ("name", "version", "what it is", "metrics"), _protocol_rows)
