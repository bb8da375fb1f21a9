"""`v2abench impacts`."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from v2abench.cli import options as shared
from v2abench.cli.consoles import messages, results, show_progress
from v2abench.cli.options import AsJson

app = typer.Typer(help="The embedded world: train its networks, ask its oracle.", no_args_is_help=True)


@app.command("train")
def train_command(
    name: Annotated[str, typer.Argument(help="tagger, embedding, sync or tiny-flow.")],
    output: Annotated[Path, typer.Option("--output", help="Folder for weights and cards.")] = Path("trained"),
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of initialisation, batches and noise.")] = 0,
    steps: Annotated[
        int | None, typer.Option("--steps", min=1, help="Default: the recipe's. Of tiny-flow, in each stage.")
    ] = None,
    clips: Annotated[int, typer.Option("--clips", min=1, max=4000, help="Of the training split.")] = 4000,
    held_out: Annotated[int, typer.Option("--held-out", min=16, max=512, help="Of the test split.")] = 512,
    threads: Annotated[
        int | None, typer.Option("--threads", min=1, help="Default: one a core. Results depend on it.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Train a network of the world from rendered scenes; a run that was killed goes on."""
    import torch

    from v2abench.impacts.training.networks import Chosen, train

    if threads is not None:
        torch.set_num_threads(threads)
    card = train(name, output, Chosen(seed, steps, clips, held_out), show_progress)
    if as_json:
        print(json.dumps(card, ensure_ascii=False, indent=1))
        return
    _show_figures(card)
    messages.print(f"wrote {name} to {output}", markup=False, highlight=False, soft_wrap=True)


def _show_figures(card: dict[str, Any]) -> None:
    table = Table("held out", "value")
    for key, value in card.get("held_out", {}).items():
        if not isinstance(value, dict | list):
            table.add_row(key.replace("_", " "), str(value))
    results.print(table)


@app.command("oracle")
def oracle_command(
    folder: Annotated[Path, typer.Argument(help="Sounds named like clips (test-000017.wav), or a run.")],
    as_json: AsJson = False,
) -> None:
    """Grade sounds by what is known of their scenes: onsets, material, level."""
    from v2abench.impacts.grading import grade_folder, summary

    grades, faults = grade_folder(folder, show_progress)
    if as_json:
        rows = {clip: asdict(grade) | {"overall": grade.overall} for clip, grade in grades.items()}
        print(json.dumps({"clips": rows, "faults": faults}, ensure_ascii=False, indent=1))
        return
    table = Table("grade", "mean", "95% interval")
    for line in summary(grades):
        table.add_row(line.name, f"{line.mean:.4g}", f"{line.low:.4g} … {line.high:.4g}")
    results.print(table)
    results.print(f"{len(grades)} clips graded", highlight=False)
    for clip, fault in faults.items():
        results.print(f"  failed {clip}: {fault}", style="red", markup=False, highlight=False)


@app.command("validate")
def validate_command(
    limit: Annotated[int, typer.Option("--limit", min=10, max=512, help="Clips of the test split.")] = 64,
    protocol: shared.Protocol = "impacts",
    output: Annotated[Path, typer.Option("--output", help="Folder for tables, plot and runs.")] = Path(
        "validation"
    ),
    workers: shared.Workers = None,
    resamples: Annotated[int, typer.Option("--resamples", min=1, help="For the intervals.")] = 500,
    seed: Annotated[int, typer.Option("--seed", help="Of corruptions, samples and intervals.")] = 0,
) -> None:
    """Hold every metric against the oracle, over controls, corruptions and tiny-flow's samples."""
    from v2abench.api import Options
    from v2abench.datasets.opening import DatasetOptions, open_dataset
    from v2abench.impacts.validation.conditions import CONDITIONS, GRADES, gather
    from v2abench.impacts.validation.correlation import correlations
    from v2abench.impacts.validation.report import shown, write_validation
    from v2abench.protocols.schema import load_protocol

    processes, chosen = shared.default_workers(workers), load_protocol(protocol)
    dataset = open_dataset("impacts", DatasetOptions(limit=limit, workers=processes, progress=show_progress))
    options = Options(
        output / "runs", workers=processes, seed=seed, bootstrap=0, overwrite=True, progress=show_progress
    )
    evidence = gather(dataset, chosen, CONDITIONS, options)
    found = correlations(evidence, resamples, seed)
    table = Table("metric", "over", *(f"ρ, {grade}" for grade in GRADES))
    for metric, over in dict.fromkeys((one.metric, one.over) for one in found):
        row = [one for one in found if (one.metric, one.over) == (metric, over)]
        table.add_row(metric, over, *(shown(one) for one in row))
    results.print(table)
    for path in write_validation(evidence, found, output):
        messages.print(f"wrote {path}", markup=False, highlight=False, soft_wrap=True)
