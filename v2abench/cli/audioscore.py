"""`v2abench audioscore`."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from v2abench.cli import options as shared
from v2abench.cli.consoles import messages, results
from v2abench.cli.prefs import Components, Fitted, extractor_for

if TYPE_CHECKING:
    from v2abench.finetune.preferences.scoring import Scores
    from v2abench.metrics.audioscore_classifier import Classifier

app = typer.Typer(help="AudioScore: fit it on ratings, grade sounds with it.", no_args_is_help=True)


@app.command("fit")
def fit_command(
    ratings: Annotated[
        list[Path],
        typer.Argument(help="CSV files of ratings: in a sample folder, or with audio and video columns."),
    ],
    output: Annotated[
        Path, typer.Option("--output", help="The fitted AudioScore, a .safetensors file.", metavar="FILE")
    ],
    protocol: shared.GradingProtocol = None,
    components: Components = None,
    seed: Annotated[int, typer.Option("--seed", help="Of the division and of the classifier's start.")] = 0,
    workers: shared.Workers = None,
    device: shared.Device = "auto",
    offline: shared.Offline = False,
    as_json: shared.AsJson = False,
) -> None:
    """Fit AudioScore on ratings, and say how it does on held-out clips."""
    from v2abench.finetune.preferences.fitting import fit_files, read_rated
    from v2abench.finetune.preferences.scoring import components_of, protocol_of

    clips = [sound.clip for path in ratings for sound in read_rated(path).sounds]
    chosen = protocol_of(protocol, clips)
    extractor = extractor_for(chosen, device, workers)
    fitted = fit_files(
        ratings, output, components_of(chosen, components), chosen, extractor, seed=seed, offline=offline
    )
    if as_json:
        print(json.dumps(fitted.card, indent=2))
    else:
        _show_card(fitted.card)
    messages.print(f"wrote {output}", markup=False, highlight=False, soft_wrap=True)


@app.command("score")
def score_command(
    sounds: Annotated[list[Path], typer.Argument(help="Sound files for one video.")],
    video: Annotated[Path, typer.Option("--video", help="The video that they are for.")],
    reference: Annotated[
        Path | None, typer.Option("--reference", help="The true sound. Default: the video's own.")
    ] = None,
    prompt: Annotated[str | None, typer.Option("--prompt", help="The text, if there is one.")] = None,
    speech: Annotated[bool, typer.Option("--speech", help="The clip is human speech only.")] = False,
    protocol: shared.GradingProtocol = None,
    audioscore: Fitted = None,
    components: Components = None,
    device: shared.Device = "auto",
    offline: shared.Offline = False,
    as_json: shared.AsJson = False,
) -> None:
    """Grade sounds of one video, and say why."""
    from v2abench.clips import Clip
    from v2abench.errors import V2ABenchError
    from v2abench.finetune.preferences.scoring import Sound, open_grader, protocol_of, score_sounds

    for path in (*sounds, video, *((reference,) if reference else ())):
        if not path.is_file():
            raise V2ABenchError(f"{path} does not exist; give files that are there")
    clip = Clip(video.stem, video, reference or video, prompt, prompt, speech)
    chosen = protocol_of(protocol, [clip], audioscore)
    classifier, named = open_grader(chosen, audioscore, components)
    if classifier is None and len(sounds) < 2:
        raise V2ABenchError(
            f"protocol {chosen.name!r} has no fitted AudioScore, and the uncalibrated composite only orders "
            "several sounds among themselves; give two or more, or --audioscore FILE"
        )
    scores = score_sounds(
        [Sound(str(path), clip, path) for path in sounds],
        named,
        chosen,
        extractor_for(chosen, device, 0),
        classifier=classifier,
        offline=offline,
    )
    rows = _graded(scores, classifier)
    if as_json:
        print(json.dumps(rows, ensure_ascii=False, indent=2))
        return
    for row in rows:
        _show_grade(row)


@app.command("show")
def show_command(
    fitted: Annotated[str, typer.Argument(help="`impacts`, or a file.")] = "impacts",
    as_json: shared.AsJson = False,
) -> None:
    """Show the card of a fitted AudioScore: what it was fitted on, and how it does on held-out clips."""
    from v2abench.metrics.audioscore import open_audioscore

    card = dict(open_audioscore(fitted).card)
    if as_json:
        print(json.dumps(card, indent=2))
    else:
        _show_card(card)


def _graded(scores: "Scores", classifier: "Classifier | None") -> list[dict[str, Any]]:
    """One entry a sound: probabilities or the composite, and for each component its value and its share."""
    import numpy as np

    from v2abench.finetune.preferences.scoring import PROBABILITIES, scores_table

    reasons = classifier.reasons(scores.values) if classifier else np.full(scores.values.shape, np.nan)
    rows = []
    for number, record in enumerate(scores_table(scores, classifier).to_dict("records")):
        grades = {name: record[name] for name in PROBABILITIES} if classifier else {}
        rows.append(
            {
                "sound": scores.ids[number],
                "unusable": scores.unusable[number],
                **{name: _number(value) for name, value in grades.items()},
                **({} if classifier else {"uncalibrated_composite": _number(record["composite"])}),
                "components": {
                    component.name: {
                        "value": _number(record[component.name]),
                        "better": "higher" if component.sign > 0 else "lower",
                        "raises": _number(reasons[number, k]),
                    }
                    for k, component in enumerate(scores.components)
                },
            }
        )
    return rows


def _number(value: float) -> float | None:
    return None if value != value else float(value)  # noqa: PLR0124 (NaN)


def _show_grade(row: dict[str, Any]) -> None:
    grades = [f"{k} {v:.3f}" for k, v in row.items() if isinstance(v, float)]
    title = f"{row['sound']}: {', '.join(grades) or 'no grade'}"
    if row["unusable"]:
        title += f" ({row['unusable']})"
    table = Table("component", title=title, title_justify="left")
    table.add_column("value", justify="right")
    table.add_column("raises P(Good) - P(Bad) by", justify="right")
    for name, part in row["components"].items():
        arrow = "↑" if part["better"] == "higher" else "↓"
        cells = ["" if v is None else f"{v:.4g}" for v in (part["value"],)]
        raised = "" if part["raises"] is None else f"{part['raises']:+.3f}"
        table.add_row(f"{name} {arrow}", *cells, raised)
    results.print(table)


def _show_card(card: dict[str, Any]) -> None:
    from v2abench.metrics.audioscore_classifier import CLASSES

    rated, held = card["ratings"], card["held_out"]
    alpha = rated["alpha_ordinal"]
    results.print(
        f"{rated['ratings']} ratings by {rated['raters']} raters of {rated['sounds']} sounds of "
        f"{rated['clips']} clips; Krippendorff's alpha {'undefined' if alpha is None else f'{alpha:.3f}'}",
        highlight=False,
    )
    results.print(
        f"held out: {held['sounds']} sounds, accuracy {held['accuracy']:.3f} (the commonest class alone: "
        f"{held['majority']:.3f}), macro-F1 {held['macro_f1']:.3f}, calibration error {held['ece']:.3f}, "
        f"with balanced classes {held['ece_balanced']:.3f}",
        highlight=False,
        soft_wrap=True,
    )
    table = Table("rated \\ said", *CLASSES)
    for name, counts in zip(CLASSES, held["confusion"], strict=True):
        table.add_row(name, *map(str, counts))
    results.print(table)
