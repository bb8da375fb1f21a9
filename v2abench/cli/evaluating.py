"""`v2abench eval`."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from v2abench.cli import options as shared
from v2abench.cli.consoles import messages, results, show_progress
from v2abench.cli.quantities import parse_batch_sizes, parse_bytes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from v2abench.runs.evaluation import Run


def evaluate_command(
    model: Annotated[
        list[str],
        typer.Option(
            "--model",
            help="folder:DIR, a name of `models list`, ground-truth, silence, noise, shuffled, "
            "shifted:SECONDS; LABEL= before it renames it. Give it again for further models.",
            metavar="SPEC",
        ),
    ],
    dataset: shared.Dataset,
    protocol: shared.Protocol = "light",
    name: Annotated[
        str | None, typer.Option("--name", help="What the one model is called; the same as LABEL=.")
    ] = None,
    samples: shared.Samples = None,
    data_root: shared.DataRoot = None,
    reference: shared.Reference = None,
    limit: shared.Limit = None,
    output: Annotated[Path, typer.Option("--output", help="Folder for runs.")] = Path("runs"),
    device: shared.Devices = "auto",
    engine: shared.Engine = shared.EngineName.LOCAL,
    ray_address: shared.RayAddress = None,
    ray_gpus: shared.RayGpus = None,
    shard: shared.Shard = None,
    merge: Annotated[
        bool, typer.Option("--merge", help="Make the report of what shards left; compute nothing.")
    ] = False,
    workers: shared.Workers = None,
    batch_size: Annotated[
        list[str] | None,
        typer.Option(
            "--batch-size",
            help="Clips on the device at once (16); NETWORK=N for one network. A batch that does not fit is "
            "halved; on a CPU clips go one by one.",
            metavar="N|NETWORK=N",
        ),
    ] = None,
    max_memory: Annotated[
        str | None,
        typer.Option(
            "--max-memory",
            help="Weights loaded at once, e.g. 6GB; what exceeds it runs in further passes. Default: half of "
            "the memory that is free.",
        ),
    ] = None,
    precision: Annotated[
        shared.Precision,
        typer.Option("--precision", help="Of the networks; signatures name all but float32."),
    ] = shared.Precision.FLOAT32,
    weights: Annotated[
        shared.Weights,
        typer.Option("--weights", help="`deterministic`: no checkpoints, meaningless numbers; to try out."),
    ] = shared.Weights.OFFICIAL,
    seed: Annotated[int, typer.Option("--seed", help="Seed of generation and of intervals.")] = 0,
    steps: shared.Steps = None,
    guidance_scale: shared.GuidanceScale = None,
    sampler: shared.Sampler = None,
    negative_prompt: shared.NegativePrompt = None,
    bootstrap: Annotated[
        int, typer.Option("--bootstrap", min=0, help="Resamples for intervals; 0: none.")
    ] = 200,
    fd_infinity: Annotated[
        bool, typer.Option("--fd-infinity", help="Also extrapolate each FD to infinitely many clips.")
    ] = False,
    strict: shared.Strict = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace a run of other data or another protocol.")
    ] = False,
    offline: shared.Offline = False,
    as_json: shared.AsJson = False,
) -> None:
    """Score one or more models on a dataset under a protocol."""
    from v2abench.api import Options, evaluate_models
    from v2abench.datasets.opening import DatasetOptions, open_dataset
    from v2abench.models import GenerationOptions

    specs = _named(shared.with_samples(model, samples), name)
    processes = shared.default_workers(workers)
    opened = open_dataset(dataset, DatasetOptions(data_root, reference, limit, processes, show_progress))
    sizes = parse_batch_sizes(batch_size or [])
    chosen = Options(
        output=output,
        device=device,
        workers=processes,
        batch_size=sizes.pop("", 16),
        batch_sizes=sizes,
        max_memory=parse_bytes(max_memory) if max_memory else None,
        precision=precision.value,
        weights=weights.value,
        seed=seed,
        bootstrap=bootstrap,
        fd_infinity=fd_infinity,
        overwrite=overwrite,
        offline=offline,
        generation=GenerationOptions(
            steps, guidance_scale, sampler.value if sampler else None, negative_prompt
        ),
        engine=engine.value,
        ray_address=ray_address,
        ray_gpus=ray_gpus,
        shard=shard,
        merge=merge,
        # Of runs, --strict is looked at below, once they are shown.
        strict=strict and shard is not None,
        progress=show_progress,
    )
    runs = evaluate_models(specs, opened, protocol, chosen)
    if shard is not None:
        shared.tell_what_is_next(shard, "with --merge instead of --shard, or with neither, makes the reports")
        return
    _show(runs, as_json)
    if strict:
        for run in runs:
            run.require_whole()


def _named(specs: list[str], name: str | None) -> list[str]:
    """Write --name into the spec itself: `NAME=SPEC`."""
    from v2abench.errors import V2ABenchError

    if name is None:
        return specs
    if len(specs) != 1:
        raise V2ABenchError("--name names one model; with several write --model LABEL=SPEC for each")
    if not name.strip() or "=" in name or ":" in name:
        raise V2ABenchError(f"--name {name!r}: give a name without = and :")
    return [f"{name}={specs[0]}"]


def _show(runs: "Sequence[Run]", as_json: bool) -> None:
    if as_json:
        reports = [run.report.model_dump(mode="json") for run in runs]
        print(json.dumps(reports[0] if len(reports) == 1 else reports, ensure_ascii=False, indent=2))
        return
    from v2abench.cli.display import show_board, show_run

    if len(runs) == 1:
        show_run(runs[0].report, results)
    else:
        show_board([run.report for run in runs], results)
    for run in runs:
        messages.print(f"wrote {run.folder}", markup=False, highlight=False, soft_wrap=True)
