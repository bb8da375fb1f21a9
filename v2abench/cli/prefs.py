"""`v2abench prefs`."""

from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from v2abench.cli import options as shared
from v2abench.cli.consoles import messages, results, show_progress

if TYPE_CHECKING:
    from v2abench.features.extraction import Extractor
    from v2abench.protocols.schema import Protocol

app = typer.Typer(help="Preference data: sample, score, rate, pair.", no_args_is_help=True)

Folder = Annotated[Path, typer.Argument(help="A sample folder, as `prefs sample` wrote it.")]
Fitted = Annotated[
    str | None,
    typer.Option(
        "--audioscore",
        help="A fitted AudioScore: `impacts`, or a file. Default: `impacts` under that protocol, else none: "
        "the uncalibrated composite. Not with --components.",
        metavar="NAME|FILE",
    ),
]
Components = Annotated[
    str | None,
    typer.Option(
        "--components", help="paper or impacts. Default: what the protocol goes with.", metavar="SET"
    ),
]


class RuleName(StrEnum):
    """How pairs are chosen."""

    EXTREMES = "extremes"
    MARGIN = "margin"
    BEST_WORST = "best_worst"
    RANDOM = "random"


@app.command()
def sample(
    model: Annotated[str, typer.Option("--model", help="As for `eval`.", metavar="SPEC")],
    dataset: shared.Dataset,
    output: Annotated[Path, typer.Option("--output", help="The sample folder.", metavar="DIR")],
    count: Annotated[int, typer.Option("--n", min=1, help="Samples a clip.", metavar="N")] = 5,
    protocol: shared.GradingProtocol = None,
    seed: Annotated[int, typer.Option("--seed", help="Seed of the samples.")] = 0,
    steps: Annotated[int | None, typer.Option("--steps", min=1, help="Steps of a flow model.")] = None,
    guidance_scale: Annotated[
        float | None, typer.Option("--guidance-scale", help="Of a flow model.", metavar="W")
    ] = None,
    batch_size: Annotated[
        int, typer.Option("--batch-size", min=1, help="Samples at once; on a CPU one by one.")
    ] = 16,
    data_root: shared.DataRoot = None,
    reference: shared.Reference = None,
    limit: shared.Limit = None,
    workers: shared.Workers = None,
    device: shared.Devices = "auto",
    engine: shared.Engine = shared.EngineName.LOCAL,
    ray_address: shared.RayAddress = None,
    ray_gpus: shared.RayGpus = None,
    shard: shared.Shard = None,
    offline: shared.Offline = False,
) -> None:
    """Draw N sounds a clip from a model, resumably; of a flow model their latents too."""
    from v2abench.api import pick_devices
    from v2abench.datasets.opening import DatasetOptions, open_dataset
    from v2abench.engines.opening import EngineOptions, open_engine
    from v2abench.finetune.preferences import sampling
    from v2abench.finetune.preferences.scoring import protocol_of
    from v2abench.models import GenerationOptions, ModelContext, open_model
    from v2abench.shards import parse_shard

    part, processes, devices = parse_shard(shard), shared.default_workers(workers), pick_devices(device)
    opened = open_dataset(dataset, DatasetOptions(data_root, reference, limit, processes, show_progress))
    generation = GenerationOptions(steps=steps, guidance_scale=guidance_scale, batch_size=batch_size)
    with open_engine(
        EngineOptions(engine.value, device != "cpu", ray_address, ray_gpus), devices
    ) as opened_engine:
        extractor = replace(
            extractor_for(protocol_of(protocol, opened.clips), devices[0], processes), engine=opened_engine
        )
        context = ModelContext(opened, devices[0], extractor, offline, show_progress, generation)
        chosen = sampling.SamplingOptions(count, seed, batch_size, devices[0], show_progress, part)
        sampling.sample(open_model(model, context), opened, output, extractor, chosen)
    if shard is not None:
        shared.tell_what_is_next(shard, "without --shard writes the table of all samples")
    _told(output)


@app.command()
def score(
    folder: Folder,
    protocol: shared.GradingProtocol = None,
    audioscore: Fitted = None,
    components: Components = None,
    workers: shared.Workers = None,
    device: shared.Device = "auto",
    offline: shared.Offline = False,
) -> None:
    """Score every sample: the components, and the grades of a fitted AudioScore."""
    from v2abench.finetune.preferences.samples import read_samples
    from v2abench.finetune.preferences.scoring import SCORES, open_grader, protocol_of, score_folder

    samples = read_samples(folder)
    chosen = protocol_of(protocol, samples.clips.values(), audioscore)
    classifier, named = open_grader(chosen, audioscore, components)
    scores = score_folder(
        samples,
        chosen,
        extractor_for(chosen, device, workers),
        classifier=classifier,
        components=named,
        offline=offline,
    )
    for warning in scores.warnings:
        messages.print(warning, style="yellow", markup=False, highlight=False, soft_wrap=True)
    if classifier is None:
        messages.print("no fitted AudioScore: `composite` is uncalibrated and orders these samples only")
    _told(folder / SCORES)


@app.command()
def pair(
    folders: Annotated[list[Path], typer.Argument(help="Sample folders.")],
    output: Annotated[Path, typer.Option("--output", help="The pairs, a .parquet file.", metavar="FILE")],
    rule: Annotated[
        RuleName, typer.Option("--rule", help="How winner and loser are chosen.")
    ] = RuleName.EXTREMES,
    margin: Annotated[float, typer.Option("--margin", help="Of --rule margin.", min=-1, max=1)] = 0.1,
    seed: Annotated[int, typer.Option("--seed", help="Of --rule random.")] = 0,
    auto: Annotated[
        bool, typer.Option("--auto/--human-only", help="Whether AudioScore's pairs are taken.")
    ] = True,
) -> None:
    """Write preference pairs: AudioScore's by a rule, and those of people who rated in the folders."""
    from v2abench.finetune.preferences.building import pair_folders
    from v2abench.finetune.preferences.rules import RuleOptions

    card = pair_folders(folders, rule.value if auto else None, RuleOptions(margin, seed), output)
    results.print(
        f"{card['pairs']} pairs ({card['human_pairs']} by people), {card['stage1']} of them for stage 1 "
        f"(complexity above {card['stage_threshold']:g})",
        highlight=False,
    )
    for part in card["folders"]:
        for why, count in sorted(part["dropped"].items()):
            results.print(f"{part['folder']}: {count} dropped: {why}", markup=False, highlight=False)
    _told(output)


@app.command()
def report(
    folder: Folder,
    output: Annotated[
        Path, typer.Option("--output", help="Folder for report.md and its plots.", metavar="DIR")
    ],
    pairs: Annotated[
        Path | None, typer.Option("--pairs", help="A pairs file, for its complexity scores.", metavar="FILE")
    ] = None,
    audioscore: Annotated[
        str | None,
        typer.Option(
            "--audioscore", help="`impacts`, or a file: also report on this fit.", metavar="NAME|FILE"
        ),
    ] = None,
) -> None:
    """Write a Markdown report with plots: components, the fit, complexity scores, agreement of raters."""
    from v2abench.finetune.preferences.report import write_report

    _told(write_report(folder, output, pairs, audioscore))


@app.command()
def oracle(
    folder: Folder,
    raters: Annotated[int, typer.Option("--raters", min=1, help="How many are simulated.")] = 3,
    seed: Annotated[int, typer.Option("--seed", help="Of their biases and noise.")] = 0,
) -> None:
    """Rate samples of impacts by its oracle, with noise, in the place of people: to try things out."""
    from v2abench.finetune.preferences.oracle_ratings import Raters, rate_folder
    from v2abench.finetune.preferences.ratings import RATINGS
    from v2abench.finetune.preferences.samples import read_samples

    count = rate_folder(read_samples(folder), Raters(raters, seed=seed), show_progress)
    messages.print(f"{count} ratings of a noisy oracle, not of people", highlight=False)
    _told(folder / RATINGS)


@app.command()
def rate(
    folder: Folder,
    rater: Annotated[str, typer.Option("--rater", help="Who rates; several may, each under a name.")],
    pairwise: Annotated[
        bool, typer.Option("--pairwise", help="Compare two samples (A/B) instead of rating one.")
    ] = False,
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="0: any that is free.")] = 0,
    seed: Annotated[int, typer.Option("--seed", help="Of the order in which samples come.")] = 0,
) -> None:
    """Rate samples on a local web page; each rating is on disk before the page moves on."""
    from v2abench.finetune.preferences.rating_server import serve

    def announce(url: str) -> None:
        results.print(f"open {url}", markup=False, highlight=False, soft_wrap=True)
        messages.print("Ctrl-C ends it; the same command goes on where it stopped")

    serve(folder, rater, pairwise=pairwise, port=port, seed=seed, announce=announce)


def extractor_for(protocol: "Protocol", device: str, workers: int | None) -> "Extractor":
    """Return the extractor of a protocol over the cache's feature store."""
    from v2abench.api import pick_device
    from v2abench.features.extraction import Extractor
    from v2abench.home import home

    return Extractor(
        home() / "features",
        protocol.window,
        device=pick_device(device),
        workers=shared.default_workers(workers),
        progress=show_progress,
    )


def _told(path: Path) -> None:
    messages.print(f"wrote {path}", markup=False, highlight=False, soft_wrap=True)
