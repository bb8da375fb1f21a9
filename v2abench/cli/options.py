"""Options that several commands share."""

import os
from pathlib import Path
from typing import Annotated

import typer

Dataset = Annotated[
    str,
    typer.Option(
        "--dataset",
        help="folder:DIR, a manifest (.tsv, .csv, .jsonl), vggsound, or impacts[:SPLIT].",
        metavar="SPEC",
    ),
]
DataRoot = Annotated[
    Path | None, typer.Option("--data-root", help="Folder with the dataset's media (vggsound, manifests).")
]
Reference = Annotated[
    Path | None,
    typer.Option("--reference", help="Folder with the true sounds, named like the videos (folder datasets)."),
]
Limit = Annotated[int | None, typer.Option("--limit", help="Use the first N clips only.", metavar="N")]
Protocol = Annotated[
    str, typer.Option("--protocol", help="A protocol's name, or a YAML file.", metavar="NAME|FILE")
]
Workers = Annotated[
    int | None,
    typer.Option("--workers", min=0, help="Processes that decode. Default: one per core, at most 8."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")]


def default_workers(workers: int | None) -> int:
    """Return the number of decoding processes."""
    return min(os.cpu_count() or 1, 8) if workers is None else workers
