"""Generating a dataset's sounds with one model into a folder: what `v2abench generate` does."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Literal

from v2abench import __version__
from v2abench.api import pick_devices
from v2abench.clips import Clip, Dataset
from v2abench.contracts import Request
from v2abench.datasets.opening import DatasetOptions, open_dataset
from v2abench.engines.contract import Engine
from v2abench.engines.opening import EngineName, EngineOptions, open_engine
from v2abench.errors import ClipFault, V2ABenchError
from v2abench.features.contents import Contents, dataset_fingerprint, hash_contents
from v2abench.features.extraction import FACTS, Content, Extractor
from v2abench.features.streams import StreamFeatures
from v2abench.files import strangers, write_error, write_text
from v2abench.home import home
from v2abench.media.probing import probe
from v2abench.media.reading import read_audio
from v2abench.media.writing import mux, write_audio
from v2abench.models import GenerationOptions, ModelContext, NamedModel, clip_seed, open_model
from v2abench.progress import Progress, silent
from v2abench.protocols.schema import Window
from v2abench.runs.generation import CARD, LEDGER, Answers, Place, Suffix, generate, recipe_card
from v2abench.shards import parse_shard
from v2abench.weights.deterministic import Mode, weights_mode

Format = Literal["flac", "wav"]

MUXED = "muxed"

DEFAULT_SECONDS = 8.0


@dataclass(frozen=True)
class SynthesisOptions:
    """How sounds are generated.

    `seconds` are asked for of every clip; None: 8 s, or the length of a clip that is
    shorter. With `mux`, `muxed/<id>.mp4` has each video with its new sound. `workers`
    processes decode. `device`, `engine`, `ray_address`, `ray_gpus` and `shard` are those of
    `v2abench.Options`.
    """

    seconds: float | None = None
    format: Format = "flac"
    mux: bool = False
    seed: int = 0
    device: str = "auto"
    workers: int = 0
    offline: bool = False
    weights: Mode = "official"
    generation: GenerationOptions = field(default_factory=GenerationOptions)
    engine: EngineName = "local"
    ray_address: str | None = None
    ray_gpus: float | None = None
    shard: str | None = None
    progress: Progress = silent


@dataclass(frozen=True)
class Made:
    """How one clip ended: the seconds asked for, its file, and what is wrong.

    A clip is `degraded` where the model adjusted something to get its sound (`adjusted`), where
    that is shorter than was asked for (`short`) or could not be laid under its video
    (`not-muxed`). Of several reasons the code is the first one's, and `detail` tells all.
    """

    id: str
    status: Literal["ok", "degraded", "failed"]
    seconds: float
    seed: int
    file: str | None = None
    code: str | None = None
    detail: str | None = None


def synthesise(
    model: str, dataset: str | Dataset, folder: Path, options: SynthesisOptions | None = None
) -> list[Made]:
    """Generate the sound of every clip of `dataset` into `folder`, and return how each ended.

    `folder` gets `<id>.flac` or `.wav`, and `generation.json` with the ledger; what an
    earlier call with the same options made is kept. A shard makes the sounds of its clips and
    returns these; the ledger is for the call without. Raises `V2ABenchError` for anything the
    caller can mend.
    """
    options = options or SynthesisOptions()
    how = EngineOptions(options.engine, options.device != "cpu", options.ray_address, options.ray_gpus)
    with weights_mode(options.weights), open_engine(how, pick_devices(options.device)) as engine:
        return _synthesise(model, dataset, folder, options, engine)


def _synthesise(
    model: str, dataset: str | Dataset, folder: Path, options: SynthesisOptions, engine: Engine
) -> list[Made]:
    shard = parse_shard(options.shard)
    opened = dataset
    if isinstance(opened, str):
        opened = open_dataset(opened, DatasetOptions(progress=options.progress))
    extractor = _extractor(options, engine)
    context = ModelContext(
        opened, extractor.device, extractor, options.offline, options.progress, options.generation
    )
    named = open_model(model, context)
    _claim(folder, named, opened)
    contents = hash_contents(_paths(opened), options.progress)
    clips = shard.part(opened.clips) if shard else opened.clips
    requests = _requests(clips, contents, extractor, options)
    fingerprint, suffix = dataset_fingerprint(opened, contents), _suffix(options.format)
    recipe = recipe_card(named, fingerprint, _asked(extractor, options), suffix)
    place = Place(folder, suffix, recipe, shared=shard is not None)
    answers = generate(named, requests, place, options.progress, extractor.engine)
    made = _settle(requests, answers, folder, options, extractor.window.tolerance)
    if shard is None:
        _write_ledger(folder, named, opened, made)
    return made


def _extractor(options: SynthesisOptions, engine: Engine) -> Extractor:
    return Extractor(
        home() / "features",
        Window(seconds=DEFAULT_SECONDS if options.seconds is None else options.seconds),
        device=engine.devices[0],
        workers=options.workers,
        progress=options.progress,
        engine=engine,
    )


def _asked(extractor: Extractor, options: SynthesisOptions) -> dict[str, object]:
    """What the sounds depend on beside dataset and model."""
    length = "at_most_s" if options.seconds is None else "seconds"
    return {"seed": options.seed, length: extractor.window.seconds}


def _suffix(form: Format) -> Suffix:
    return ".wav" if form == "wav" else ".flac"


def _claim(folder: Path, named: NamedModel, dataset: Dataset) -> None:
    """Make the folder and mark it as ours; refuse one with files that are not."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        present = {path.name for path in strangers(folder)}
    except OSError as error:
        raise write_error(folder, error) from error
    if present and not present & {CARD, LEDGER}:
        raise V2ABenchError(
            f"{folder} holds files that v2abench did not make; move them, or choose another --out"
        )
    if LEDGER not in present:
        _write_ledger(folder, named, dataset, [])


def _paths(dataset: Dataset) -> list[Path]:
    return [path for clip in dataset.clips for path in (clip.video, clip.reference) if path is not None]


def _requests(
    clips: Sequence[Clip], contents: Contents, extractor: Extractor, options: SynthesisOptions
) -> list[Request]:
    videos = {clip.id: contents[clip.video] for clip in clips}
    seconds = dict.fromkeys(videos, extractor.window.seconds)
    if options.seconds is None:
        usable = [item for item in videos.values() if isinstance(item, Content)]
        extractor.extract({FACTS: usable}, "read lengths")
        streams = StreamFeatures(extractor, {"video": videos})
        for clip_id, longest in seconds.items():
            seconds[clip_id] = min(longest, streams.clip_seconds(clip_id) or longest)
    return [Request(clip, seconds[clip.id], clip_seed(options.seed, clip.id)) for clip in clips]


def _settle(
    requests: Sequence[Request],
    answers: Answers,
    folder: Path,
    options: SynthesisOptions,
    tolerance: float,
) -> list[Made]:
    made = []
    with options.progress("write", len(requests)) as advance:
        for request in requests:
            clip, blank = request.clip, Made(request.clip.id, "failed", request.seconds, request.seed)
            target = folder / f"{clip.id}{_suffix(options.format)}"
            try:
                file = _delivered(answers.files[clip.id], target)
                entry = _noted(replace(blank, status="ok", file=file.name), answers.notes.get(clip.id, ()))
                entry = _measured(entry, target, tolerance)
            except ClipFault as fault:
                entry = replace(blank, code=fault.code, detail=fault.detail)
            made.append(_muxed(entry, clip, target) if options.mux and entry.file else entry)
            advance(1)
    return made


def _delivered(answer: Path | ClipFault, target: Path) -> Path:
    """The file in the folder; an answer that is a file elsewhere is written there in its format."""
    if isinstance(answer, ClipFault):
        raise answer
    if answer.resolve() != target.resolve():
        write_audio(target, read_audio(answer))
    return target


def _noted(entry: Made, notes: Sequence[str]) -> Made:
    return _degraded(entry, "adjusted", "; ".join(notes)) if notes else entry


def _measured(entry: Made, sound: Path, tolerance: float) -> Made:
    seconds = probe(sound).sound_seconds
    if seconds is None or seconds >= entry.seconds - tolerance:
        return entry
    detail = f"{seconds:.2f} s of sound, {entry.seconds:.2f} s were asked for"
    return _degraded(entry, "short", detail)


def _degraded(entry: Made, code: str, detail: str) -> Made:
    told = f"{entry.detail}; {detail}" if entry.detail else detail
    return replace(entry, status="degraded", code=entry.code or code, detail=told)


def _muxed(entry: Made, clip: Clip, sound: Path) -> Made:
    target = sound.parent / MUXED / f"{clip.id}.mp4"
    if target.is_file() and target.stat().st_mtime_ns >= sound.stat().st_mtime_ns:
        return entry
    try:
        mux(clip.video, sound, target)
    except (ClipFault, V2ABenchError) as error:
        return _degraded(entry, "not-muxed", str(error))
    return entry


def _write_ledger(folder: Path, named: NamedModel, dataset: Dataset, made: Sequence[Made]) -> None:
    record = {
        "v2abench": __version__,
        "model": named.spec,
        "recipe": dict(named.model.recipe),
        "dataset": dataset.spec,
        "clips": [{k: v for k, v in asdict(entry).items() if v is not None} for entry in made],
    }
    write_text(folder / LEDGER, json.dumps(record, indent=2, ensure_ascii=False) + "\n")
