"""`v2abench check`."""

import json
from collections import Counter
from dataclasses import asdict
from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from v2abench.cli import options as shared
from v2abench.cli.consoles import messages, results, show_progress


def check_command(
    dataset: Annotated[str, typer.Argument(help="folder:DIR, a manifest, vggsound, or impacts[:SPLIT].")],
    model: Annotated[
        str | None,
        typer.Option("--model", help="folder:DIR: check its files against the dataset too.", metavar="SPEC"),
    ] = None,
    protocol: shared.Protocol = "light",
    data_root: shared.DataRoot = None,
    reference: shared.Reference = None,
    limit: shared.Limit = None,
    workers: shared.Workers = None,
    strict: Annotated[bool, typer.Option("--strict", help="Exit with 2 where anything is found.")] = False,
    as_json: shared.AsJson = False,
) -> None:
    """Find silent, clipped, short, unreadable, missing and duplicate sound before any network runs."""
    from v2abench.check import check
    from v2abench.datasets.opening import DatasetOptions, open_dataset
    from v2abench.features.extraction import Extractor
    from v2abench.home import home
    from v2abench.models import ModelContext, open_model
    from v2abench.protocols.schema import load_protocol

    processes = shared.default_workers(workers)
    opened = open_dataset(dataset, DatasetOptions(data_root, reference, limit, processes, show_progress))
    extractor = Extractor(
        home() / "features",
        load_protocol(protocol).window,
        workers=processes,
        progress=show_progress,
    )
    findings = check(opened, open_model(model, ModelContext(opened)) if model else None, extractor)
    if as_json:
        print(json.dumps([asdict(finding) for finding in findings], ensure_ascii=False, indent=2))
    elif findings:
        table = Table("clip", "stream", "what", "detail")
        for finding in findings:
            table.add_row(
                *(Text(cell) for cell in (finding.clip, finding.stream, finding.code, finding.detail))
            )
        results.print(table)
    counts = ", ".join(f"{n} {code}" for code, n in sorted(Counter(f.code for f in findings).items()))
    messages.print(f"{len(opened.clips)} clips, {len(findings)} findings{': ' + counts if counts else ''}")
    if strict and findings:
        raise typer.Exit(2)
