"""The gallery: a static page with the clips of a dataset, each with the sound of every model.

Rows are clips, columns are models; a cell plays the clip with that model's sound. The
page is one HTML file with a folder of media beside it; it asks nothing of the network and
works from a disk. What a clip lacks is told with the reason, never left out.
"""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import median

from v2abench.contracts import Direction
from v2abench.errors import ClipFault, UnknownNameError, V2ABenchError
from v2abench.files import write_text
from v2abench.leaderboards.board import ARROWS, Board, build_board, one_line
from v2abench.leaderboards.choice import Choice, Chosen, choose
from v2abench.leaderboards.comparability import refuse_mixture, refuse_twins, standard_signature
from v2abench.leaderboards.gallery_media import Maker
from v2abench.leaderboards.html import render_table
from v2abench.leaderboards.numbers import number_format, ranks, show
from v2abench.leaderboards.pages import asset, environment
from v2abench.leaderboards.significance import WrittenRun
from v2abench.media.probing import probe
from v2abench.progress import Progress, silent
from v2abench.runs.inputs import ClipInputs, FileRecord, Inputs, read_inputs
from v2abench.runs.report import LedgerEntry, ScoreRecord
from v2abench.runs.tables import read_clips

MEDIA = "media"
LIST = "files.txt"
"""The media that a gallery has made: what it may remove when it is made again."""

REFERENCE = "ground truth"
MOST_METRICS = 4
"""Shown under a cell where none are named."""

NARROWEST, WIDEST = 0.75, 16 / 9
"""Aspects between which a cell takes the shape of its video."""


@dataclass(frozen=True)
class ScoreLine:
    """One per-clip score as shown."""

    name: str
    arrow: str
    text: str
    best: bool


@dataclass(frozen=True)
class GalleryCell:
    """One model on one clip: its video and spectrogram, or why there is none; and its scores."""

    model: str
    video: str | None
    spectrogram: str | None
    reason: str
    scores: tuple[ScoreLine, ...]


@dataclass(frozen=True)
class GalleryRow:
    """One clip; `aspect` is width by height, `label` is told where rows are not grouped by it."""

    clip: str
    prompt: str
    group: str
    seconds: float
    aspect: float
    still: str | None
    cells: tuple[GalleryCell, ...]
    label: str = ""


@dataclass(frozen=True)
class Page:
    """What the template shows."""

    title: str
    subtitle: str
    rule: str
    models: tuple[str, ...]
    rows: tuple[GalleryRow, ...]
    board: Board | None = None


@dataclass(frozen=True)
class GalleryOptions:
    """How a gallery is made: the clips, the metrics under a cell, the heading, and whether runs may mix."""

    choice: Choice = field(default_factory=Choice)
    metrics: tuple[str, ...] | None = None
    title: str | None = None
    force: bool = False
    workers: int = 1
    progress: Progress = silent


@dataclass(frozen=True)
class _Column:
    """A model: its name, its sound by clip, what the ledger says, its values by metric and clip."""

    model: str
    control: bool
    sounds: Mapping[str, FileRecord]
    ledger: Mapping[str, LedgerEntry]
    values: Mapping[str, Mapping[str, float]]


def build_gallery(runs: Sequence[WrittenRun], out: Path, options: GalleryOptions | None = None) -> Path:
    """Write `out/index.html` and `out/media/`, and return the page's path.

    The clips' own sound is the first column, unless a run is of it. Raises
    `V2ABenchError` where the runs are of different data, where they are not comparable
    and `force` does not allow it, where nothing fits the choice, and where `out` holds
    files that no gallery made.
    """
    options = options or GalleryOptions()
    _refuse(runs, options.force)
    inputs = [read_inputs(run.folder) for run in runs]
    clips = {clip.id: clip for clip in inputs[0].clips}
    columns = _columns(runs, inputs)
    chosen = _choose(runs, columns, list(clips), options.choice)
    metrics = _metrics(runs, columns, options.metrics)
    made_before = _claim(out)
    maker = Maker(out / MEDIA)
    window = inputs[0].protocol.window.seconds
    with (
        options.progress("gallery", len(chosen.clips)) as advance,
        ThreadPoolExecutor(max(1, options.workers)) as pool,
    ):
        rows = []
        jobs = [pool.submit(_row, maker, clips[name], columns, metrics, window) for name in chosen.clips]
        for job in jobs:
            rows.append(job.result())
            advance(1)
    report = runs[0].report
    page = Page(
        title=options.title or f"{report.dataset.name}: {len(columns)} sounds for every clip",
        subtitle=f"{report.dataset.name}, {len(clips)} clips, protocol {report.protocol.name} version "
        f"{report.protocol.version}",
        rule=f"Shown: {chosen.rule}.",
        models=tuple(column.model for column in columns),
        rows=tuple(_grouped(rows, ordered=options.choice.rule in ("best", "worst", "changed"))),
        board=build_board([run.report for run in runs], force=options.force),
    )
    index = out / "index.html"
    write_text(index, render_page(page))
    _tidy(out, page, made_before)
    return index


def render_page(page: Page) -> str:
    """Return the page; names, prompts and reasons are escaped."""
    groups: dict[str, list[GalleryRow]] = {}
    for row in page.rows:
        groups.setdefault(row.group, []).append(row)
    return (
        environment()
        .get_template("gallery.html.jinja")
        .render(
            page=page,
            groups=groups,
            media=MEDIA,
            board=render_table(page.board) if page.board else None,
            style=asset("page.css") + "\n" + asset("gallery.css"),
            script=asset("sort.js") + "\n" + asset("gallery.js"),
        )
    )


def _refuse(runs: Sequence[WrittenRun], force: bool) -> None:
    if not runs:
        raise V2ABenchError("a gallery needs at least one run; name the folders that `v2abench eval` wrote")
    reports = [run.report for run in runs]
    odd = next((r for r in runs if r.report.dataset.fingerprint != reports[0].dataset.fingerprint), None)
    if odd is not None:
        raise V2ABenchError(
            f"{runs[0].folder} and {odd.folder} are of different data; a gallery shows the same clips in "
            "every column: leave one out, or evaluate it on the same dataset"
        )
    refuse_twins(reports)
    if not force:
        refuse_mixture(reports, standard_signature(reports))


def _columns(runs: Sequence[WrittenRun], inputs: Sequence[Inputs]) -> list[_Column]:
    columns = [
        _Column(
            run.report.model.name,
            run.report.model.control,
            {clip.id: clip.files["generated"] for clip in given.clips if "generated" in clip.files},
            {entry.id: entry for entry in run.report.ledger},
            read_clips(run.folder),
        )
        for run, given in zip(runs, inputs, strict=True)
    ]
    references = {c.id: c.files["reference"] for c in inputs[0].clips if "reference" in c.files}
    hashes = {clip: record.hash for clip, record in references.items()}
    own = [column for column in columns if {c: f.hash for c, f in column.sounds.items()} == hashes]
    if own or not references:
        return [*own, *(column for column in columns if column not in own)]
    return [_Column(REFERENCE, True, references, {}, {}), *columns]


def _choose(
    runs: Sequence[WrittenRun], columns: Sequence[_Column], ids: Sequence[str], choice: Choice
) -> Chosen:
    if choice.metric is None:
        return choose(choice, ids, {}, Direction.NEUTRAL)
    score = _scores(runs).get(choice.metric)
    known = {name for column in columns for name in column.values}
    if score is None or choice.metric not in known:
        raise UnknownNameError("metric with values a clip", choice.metric, known)
    values = {c.model: c.values[choice.metric] for c in columns if choice.metric in c.values}
    return choose(choice, ids, values, Direction(score.direction))


def _scores(runs: Sequence[WrittenRun]) -> dict[str, ScoreRecord]:
    return {score.name: score for run in reversed(runs) for score in run.report.scores}


def _metrics(
    runs: Sequence[WrittenRun], columns: Sequence[_Column], wanted: Sequence[str] | None
) -> list[ScoreRecord]:
    """The metrics under a cell: those `wanted`, else the first with a direction in which models differ."""
    scores = _scores(runs)
    known = [name for name in scores if any(column.values.get(name) for column in columns)]
    for name in wanted or ():
        if name not in known:
            raise UnknownNameError("metric with values a clip", name, known)
    if wanted is not None:
        return [scores[name] for name in wanted]
    directed = [name for name in known if scores[name].direction != Direction.NEUTRAL.value]
    varied = [
        name for name in directed if len({v for c in columns for v in c.values.get(name, {}).values()}) > 1
    ]
    return [scores[name] for name in varied[:MOST_METRICS]]


@dataclass(frozen=True)
class _Pictures:
    """What is seen of a clip: its video, or why there is none; how long and how wide it is; a still."""

    video: FileRecord | None
    seconds: float
    aspect: float = 4 / 3
    still: str | None = None
    fault: str = "the video cannot be read"


def _row(
    maker: Maker, clip: ClipInputs, columns: Sequence[_Column], metrics: Sequence[ScoreRecord], window: float
) -> GalleryRow:
    pictures = _pictures(maker, clip.files.get("video"), window)
    lines = _score_lines(clip.id, columns, metrics)
    cells = [
        _cell(maker, pictures, column, clip.id, scores) for column, scores in zip(columns, lines, strict=True)
    ]
    return GalleryRow(
        clip=clip.id,
        prompt=one_line(clip.prompt or ""),
        group=one_line(clip.label or ""),
        seconds=pictures.seconds,
        aspect=pictures.aspect,
        still=pictures.still,
        cells=tuple(cells),
    )


def _pictures(maker: Maker, video: FileRecord | None, window: float) -> _Pictures:
    if video is None:
        return _Pictures(None, window)
    try:
        info = probe(Path(video.path))
        still = maker.still(video)
    except ClipFault as fault:
        return _Pictures(None, window, fault=f"video: {fault.detail}")
    aspect = info.width / info.height if info.width and info.height else 4 / 3
    shown = min(max(aspect, NARROWEST), WIDEST)
    return _Pictures(video, min(window, info.video_seconds or window), round(shown, 4), still)


def _cell(
    maker: Maker, pictures: _Pictures, column: _Column, clip: str, scores: tuple[ScoreLine, ...]
) -> GalleryCell:
    sound, entry = column.sounds.get(clip), column.ledger.get(clip)
    if sound is None or (entry and entry.status == "failed"):
        reasons = [f"{reason.about}: {reason.detail}" for reason in entry.reasons] if entry else []
        return GalleryCell(column.model, None, None, "; ".join(reasons) or "there is no sound", scores)
    if pictures.video is None:
        return GalleryCell(column.model, None, None, pictures.fault, scores)
    try:
        playable = maker.video(pictures.video, sound, pictures.seconds)
        spectrogram = maker.spectrogram(sound, pictures.seconds)
    except (ClipFault, V2ABenchError) as error:
        detail = error.detail if isinstance(error, ClipFault) else str(error)
        return GalleryCell(column.model, None, None, detail, scores)
    return GalleryCell(column.model, playable, spectrogram, "", scores)


def _score_lines(
    clip: str, columns: Sequence[_Column], metrics: Sequence[ScoreRecord]
) -> list[tuple[ScoreLine, ...]]:
    models = any(not column.control for column in columns)
    by_metric = []
    for metric in metrics:
        direction = Direction(metric.direction)
        values = [column.values.get(metric.name, {}).get(clip) for column in columns]
        spec = _spec([v for column in columns for v in column.values.get(metric.name, {}).values()])
        shown = [
            None if value is None or (models and column.control) else float(show(value, spec))
            for value, column in zip(values, columns, strict=True)
        ]
        best = ranks(shown, direction)
        by_metric.append(
            [
                ScoreLine(metric.name, ARROWS[direction], show(value, spec), rank == 1)
                for value, rank in zip(values, best, strict=True)
            ]
        )
    return list(zip(*by_metric, strict=True)) if by_metric else [()] * len(columns)


def _spec(values: Sequence[float]) -> str:
    """The format of a metric's values: three digits for one of middling size."""
    sizes = [abs(value) for value in values if value != 0]
    return number_format([median(sizes)] if sizes else [])


def _grouped(rows: Sequence[GalleryRow], *, ordered: bool) -> list[GalleryRow]:
    """The rows by label, in order of first appearance; as they are where their order says something."""
    if ordered:
        return [replace(row, group="", label=row.group) for row in rows]
    labels = list(dict.fromkeys(row.group for row in rows))
    return sorted(rows, key=lambda row: labels.index(row.group))


def _claim(out: Path) -> set[str]:
    """Return the media that an earlier gallery left in `out`; refuse a folder of anything else."""
    listed = out / LIST
    if listed.is_file():
        return set(listed.read_text(encoding="utf-8").split())
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise V2ABenchError(f"--out {out} holds files that no gallery made; choose an empty or a new folder")
    write_text(listed, "")
    return set()


def _tidy(out: Path, page: Page, before: set[str]) -> None:
    """List what the page uses, and remove what only an earlier one used."""
    cells = [cell for row in page.rows for cell in row.cells]
    names = [*(row.still for row in page.rows), *(n for c in cells for n in (c.video, c.spectrogram))]
    used = {name for name in names if name is not None}
    write_text(out / LIST, "".join(f"{name}\n" for name in sorted(used)))
    for name in before - used:
        (out / MEDIA / Path(name).name).unlink(missing_ok=True)
