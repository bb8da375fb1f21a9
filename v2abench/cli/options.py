"""Options that several commands share."""

import os
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer


class SamplerName(StrEnum):
    """Solvers of a flow model's equation."""

    EULER = "euler"
    HEUN = "heun"


class Precision(StrEnum):
    """Of networks on the device."""

    FLOAT32 = "float32"
    BFLOAT16 = "bfloat16"
    FLOAT16 = "float16"


class EngineName(StrEnum):
    """Where work is done."""

    LOCAL = "local"
    RAY = "ray"


class Weights(StrEnum):
    """Where weights come from."""

    OFFICIAL = "official"
    DETERMINISTIC = "deterministic"


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
GradingProtocol = Annotated[
    str | None,
    typer.Option(
        "--protocol",
        help="A protocol's name, or a YAML file: networks and length. Default: that of the AudioScore that "
        "is named, else `impacts` for clips of impacts, and `mmaudio` for all others.",
        metavar="NAME|FILE",
    ),
]
Workers = Annotated[
    int | None,
    typer.Option("--workers", min=0, help="Processes that decode. Default: one per core, at most 8."),
]
Steps = Annotated[
    int | None, typer.Option("--steps", min=1, help="Steps of a flow model's sampling. Default: the model's.")
]
GuidanceScale = Annotated[
    float | None,
    typer.Option(
        "--guidance-scale", min=0, help="Of classifier-free guidance; below 1: none. Default: the model's."
    ),
]
Sampler = Annotated[
    SamplerName | None, typer.Option("--sampler", help="Solver of a flow model. Default: the model's.")
]
NegativePrompt = Annotated[
    str | None, typer.Option("--negative-prompt", help="Text that guidance leads away from.", metavar="TEXT")
]
Samples = Annotated[
    Path | None, typer.Option("--samples", help="Folder with the published samples (v2a-mapper).")
]
Device = Annotated[str, typer.Option("--device", help="auto, cpu, cuda, cuda:N or mps.")]
Devices = Annotated[
    str,
    typer.Option(
        "--device",
        help="auto, cpu, mps, cuda (all visible GPUs), cuda:N, or several with commas: a process each.",
    ),
]
Engine = Annotated[
    EngineName, typer.Option("--engine", help="local, or ray (extra `ray`): a cluster; docs/clusters.md.")
]
RayAddress = Annotated[
    str | None,
    typer.Option(
        "--ray-address",
        help="Of a Ray cluster: auto, HOST:PORT. Default: RAY_ADDRESS, else this machine.",
        metavar="ADDRESS",
    ),
]
RayGpus = Annotated[
    float | None,
    typer.Option(
        "--ray-gpus",
        help="Share of a GPU for each of Ray's actors, e.g. 0.25. Default: a pass's networks share one.",
        metavar="SHARE",
    ),
]
Shard = Annotated[
    str | None,
    typer.Option(
        "--shard",
        help="Do part i of n only (1/3, 2/3, 3/3), or auto: from Slurm or torchrun. The same command without "
        "it ends what shards began.",
        metavar="I/N|auto",
    ),
]
Offline = Annotated[bool, typer.Option("--offline", help="Never fetch weights.")]
Strict = Annotated[bool, typer.Option("--strict", help="Exit with 2 unless every clip is ok.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")]


def default_workers(workers: int | None) -> int:
    """Return the number of decoding processes."""
    return min(os.cpu_count() or 1, 8) if workers is None else workers


def tell_what_is_next(shard: str, what: str) -> None:
    """Say that a shard is done, and what the same command does in the end."""
    from v2abench.cli.consoles import messages
    from v2abench.shards import parse_shard

    text = f"shard {parse_shard(shard)} is done; once all are, the same command {what}"
    messages.print(text, markup=False, highlight=False, soft_wrap=True)


def with_samples(models: list[str], samples: Path | None) -> list[str]:
    """Write --samples into the specs: `v2a-mapper:DIR`; raises `V2ABenchError` where none takes it."""
    from v2abench.baselines.workers.cards import built_in_card, built_in_cards
    from v2abench.errors import V2ABenchError

    if samples is None:
        return models
    published = [card for card in built_in_cards() if built_in_card(card).kind == "samples"]
    specs = [f"{m}:{samples}" if m.rpartition("=")[2] in published else m for m in models]
    if specs == models:
        raise V2ABenchError(f"--samples goes with --model {' or '.join(published)}")
    return specs
