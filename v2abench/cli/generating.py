"""`v2abench generate`."""

import json
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from v2abench.cli import options as shared
from v2abench.cli.consoles import messages, results, show_progress

if TYPE_CHECKING:
    from collections.abc import Sequence

    from v2abench.synthesis import Made


class Format(StrEnum):
    """Of sound files, 16 bits each."""

    FLAC = "flac"
    WAV = "wav"


def generate_command(
    model: Annotated[str, typer.Option("--model", help="As in `v2abench models list`.", metavar="SPEC")],
    dataset: shared.Dataset,
    output: Annotated[Path, typer.Option("--out", "--output", help="Folder for the sounds.")],
    samples: shared.Samples = None,
    data_root: shared.DataRoot = None,
    reference: shared.Reference = None,
    limit: shared.Limit = None,
    duration: Annotated[
        float | None,
        typer.Option("--duration", min=0.1, help="Seconds of sound. Default: 8, or a shorter clip's length."),
    ] = None,
    steps: shared.Steps = None,
    guidance_scale: shared.GuidanceScale = None,
    sampler: shared.Sampler = None,
    negative_prompt: shared.NegativePrompt = None,
    precision: Annotated[
        shared.Precision, typer.Option("--precision", help="Of the flow network.")
    ] = shared.Precision.FLOAT32,
    compiled: Annotated[bool, typer.Option("--compile", help="Compile the flow network first.")] = False,
    batch_size: Annotated[
        int, typer.Option("--batch-size", min=1, help="Clips sampled at once; on a CPU one by one.")
    ] = 4,
    seed: Annotated[int, typer.Option("--seed", help="From which each clip's own seed comes.")] = 0,
    weights: Annotated[
        shared.Weights,
        typer.Option("--weights", help="`deterministic`: no checkpoints, and only noise; to try out."),
    ] = shared.Weights.OFFICIAL,
    device: shared.Devices = "auto",
    engine: shared.Engine = shared.EngineName.LOCAL,
    ray_address: shared.RayAddress = None,
    ray_gpus: shared.RayGpus = None,
    shard: shared.Shard = None,
    workers: shared.Workers = None,
    audio_format: Annotated[Format, typer.Option("--format", help="Of the sounds.")] = Format.FLAC,
    mux: Annotated[
        bool, typer.Option("--mux", help="Also write muxed/<id>.mp4, the video with the new sound.")
    ] = False,
    strict: shared.Strict = False,
    offline: shared.Offline = False,
    as_json: shared.AsJson = False,
) -> None:
    """Generate the sound of every clip of a dataset; goes on where it was stopped."""
    from v2abench.datasets.opening import DatasetOptions, open_dataset
    from v2abench.models import GenerationOptions
    from v2abench.synthesis import SynthesisOptions, synthesise

    (spec,) = shared.with_samples([model], samples)
    processes = shared.default_workers(workers)
    opened = open_dataset(dataset, DatasetOptions(data_root, reference, limit, processes, show_progress))
    options = SynthesisOptions(
        seconds=duration,
        format=audio_format.value,
        mux=mux,
        seed=seed,
        device=device,
        workers=processes,
        offline=offline,
        weights=weights.value,
        generation=GenerationOptions(
            steps=steps,
            guidance_scale=guidance_scale,
            method=sampler.value if sampler else None,
            negative_prompt=negative_prompt,
            precision=precision.value,
            compile=compiled,
            batch_size=batch_size,
        ),
        engine=engine.value,
        ray_address=ray_address,
        ray_gpus=ray_gpus,
        shard=shard,
        progress=show_progress,
    )
    made = synthesise(spec, opened, output, options)
    if as_json:
        print(json.dumps([asdict(entry) for entry in made], ensure_ascii=False, indent=2))
    else:
        _show(made, output)
    if shard is not None:
        shared.tell_what_is_next(shard, "without --shard writes the ledger of all clips")
    if strict and any(entry.status != "ok" for entry in made):
        raise typer.Exit(2)


def _show(made: "Sequence[Made]", output: Path) -> None:
    counts = {status: sum(e.status == status for e in made) for status in ("ok", "degraded", "failed")}
    results.print(
        f"{counts['ok']} of {len(made)} clips ok, {counts['degraded']} degraded, {counts['failed']} failed",
        highlight=False,
    )
    for entry in made:
        if entry.status != "ok":
            line = f"  {entry.status} {entry.id}: {entry.code}: {entry.detail}"
            results.print(line, markup=False, highlight=False, soft_wrap=True)
    messages.print(f"wrote {output}", markup=False, highlight=False, soft_wrap=True)
