"""Sampling N sounds a clip of any model, resumably; of flow models their latents too.

The seed of a sample is that of its id, `CLIP#K`, so that a sound never depends on the order,
on the batch, on how many others there are, or on who else samples into the folder.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TypeGuard, TypeVar

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from v2abench import __version__
from v2abench.clips import Clip, Dataset
from v2abench.contracts import Generated, Model, Request
from v2abench.engines.contract import Engine
from v2abench.errors import ClipFault, V2ABenchError
from v2abench.features.contents import dataset_fingerprint, hash_contents
from v2abench.features.extraction import FACTS, Content, Extractor
from v2abench.features.streams import StreamFeatures
from v2abench.files import atomic, content_hash, strangers, write_text
from v2abench.finetune.preferences.samples import (
    CARD,
    SAMPLES,
    SCHEMA_VERSION,
    Sample,
    sample_id,
    write_clips,
    write_samples,
)
from v2abench.flow import Conditions, FlowModel
from v2abench.media.reading import read_audio
from v2abench.media.writing import write_audio
from v2abench.models import ModelContext, NamedModel, clip_seed, open_model
from v2abench.progress import Progress, silent
from v2abench.sampling import at_once, noise_for, sample_latents, stack
from v2abench.shards import Shard

Item = TypeVar("Item")


@dataclass(frozen=True)
class SamplingOptions:
    """`count` sounds a clip, from `seed`; `batch_size` at once where the model is a flow model.

    With a `shard` only its clips are sampled, and the table of all is left to the call without.
    """

    count: int = 5
    seed: int = 0
    batch_size: int = 16
    device: str = "cpu"
    progress: Progress = silent
    shard: Shard | None = None


@dataclass(frozen=True)
class Drawing:
    """The work of sampling a model, which is opened where the work is."""

    spec: str
    context: ModelContext
    folder: Path
    options: SamplingOptions

    def start(self, device: str) -> Callable[[Sequence[Request]], Iterator[tuple[str, str | None]]]:
        """Open the model on `device`."""
        named = open_model(self.spec, self.context.on(device))
        return partial(_draw, named.model, self.folder, replace(self.options, device=device))


def sample(
    named: NamedModel,
    dataset: Dataset,
    folder: Path,
    extractor: Extractor,
    options: SamplingOptions,
) -> None:
    """Fill the sample folder; what is there of the same recipe is kept.

    A clip that the model cannot do fails with its reason. Raises `V2ABenchError` where `folder`
    holds samples of another recipe, or files that are not ours.
    """
    if options.count < 1:
        raise V2ABenchError(f"--n {options.count}: give at least 1 sample a clip")
    clips = options.shard.part(dataset.clips) if options.shard else dataset.clips
    seconds = _seconds(clips, extractor)
    card = _card(named, dataset, extractor.window.seconds, options)
    _claim(folder, card)
    write_clips(folder, dataset.clips)
    latents = is_flow(named.model)
    missing = [clip for clip in clips if not _is_done(folder, clip.id, options.count, latents)]
    faults: dict[str, str] = {}
    with options.progress(f"sample {named.info.name}", len(missing)) as advance:
        requests = [Request(clip, seconds[clip.id], 0) for clip in missing]
        for clip_id, fault in _drawn(named, requests, folder, extractor.engine, options):
            if fault is not None:
                faults[clip_id] = fault
            advance(1)
    if options.shard is None:
        write_text(folder / CARD, _text({**card, "seconds": sorted(set(seconds.values()))}))
        rows = [s for clip in clips for s in _rows(folder, clip.id, faults, latents, options)]
        write_samples(folder, rows)


def _drawn(
    named: NamedModel, requests: Sequence[Request], folder: Path, engine: Engine, options: SamplingOptions
) -> Iterator[tuple[str, str | None]]:
    if not requests or named.context is None or not engine.elsewhere:
        return _draw(named.model, folder, options, requests)
    # The engine and the progress of this process do not travel.
    work = Drawing(named.spec, named.context.on("cpu"), folder, replace(options, progress=silent))
    return engine.map(work, requests)


def _draw(
    model: Model, folder: Path, options: SamplingOptions, requests: Sequence[Request]
) -> Iterator[tuple[str, str | None]]:
    """Sample `requests` in this process; yield each clip's id, and its fault if it failed."""
    for group in _parts(requests, max(1, options.batch_size // options.count)):
        faults = _sample_group(model, group, folder, options)
        yield from ((request.clip.id, faults.get(request.clip.id)) for request in group)


def is_flow(model: Model) -> TypeGuard[FlowModel]:
    """Say whether a model exposes latents, conditions, velocity and decoding."""
    return all(hasattr(model, name) for name in ("latent_shape", "condition", "embed", "velocity", "decode"))


def _sample_group(
    model: Model, requests: Sequence[Request], folder: Path, options: SamplingOptions
) -> dict[str, str]:
    """Write the sounds of a few clips; return the fault by clip id of those that failed."""
    if is_flow(model):
        return _sample_flow(model, requests, folder, options)
    wanted = [
        Request(r.clip, r.seconds, clip_seed(options.seed, sample_id(r.clip.id, k)))
        for r in requests
        for k in range(options.count)
    ]
    faults: dict[str, str] = {}
    for number, answer in enumerate(model.generate(wanted)):
        clip, k = wanted[number].clip, number % options.count
        try:
            _write_answer(answer, _audio(folder, clip.id, k))
        except ClipFault as fault:
            faults[clip.id] = str(fault)
    return faults


def _write_answer(answer: Generated, path: Path) -> None:
    if answer.fault is not None:
        raise answer.fault
    sound = read_audio(answer.path) if answer.path is not None else answer.audio
    if sound is None:
        raise ClipFault("missing", "the model gave neither sound nor a reason")
    path.parent.mkdir(parents=True, exist_ok=True)
    write_audio(path, sound)


def _sample_flow(
    model: FlowModel, requests: Sequence[Request], folder: Path, options: SamplingOptions
) -> dict[str, str]:
    """Clips of one length go through together; each is conditioned once for all its samples."""
    faults: dict[str, str] = {}
    for seconds in dict.fromkeys(request.seconds for request in requests):
        alike = [request for request in requests if request.seconds == seconds]
        told = list(zip(alike, model.condition(alike), strict=True))
        faults |= {r.clip.id: str(given) for r, given in told if isinstance(given, ClipFault)}
        usable = [(r.clip, given) for r, given in told if not isinstance(given, ClipFault)]
        for clip, latents in _flow_latents(model, usable, seconds, options):
            try:
                _write_flow(model, clip, latents, folder, options)
            except ClipFault as fault:
                faults[clip.id] = str(fault)
    return faults


@torch.inference_mode()
def _flow_latents(
    model: FlowModel, usable: Sequence[tuple[Clip, Conditions]], seconds: float, options: SamplingOptions
) -> Iterator[tuple[Clip, Tensor]]:
    """Yield each clip with its (count, *latent_shape) latents on the model's device."""
    shape = model.latent_shape(seconds)
    rows = [
        (noise_for(clip_seed(options.seed, sample_id(clip.id, k)), shape), given)
        for clip, given in usable
        for k in range(options.count)
    ]
    parts = [
        sample_latents(
            model,
            stack([given for _, given in part], options.device),
            torch.stack([noise for noise, _ in part]).to(options.device),
        )
        for part in _parts(rows, at_once(options.device, options.batch_size))
    ]
    if parts:
        for (clip, _), latents in zip(usable, torch.split(torch.cat(parts), options.count), strict=True):
            yield clip, latents


def _write_flow(
    model: FlowModel, clip: Clip, latents: Tensor, folder: Path, options: SamplingOptions
) -> None:
    """Write the sounds, then the latents, whose file says that the clip is done."""
    with torch.inference_mode():
        parts = torch.split(latents, at_once(options.device, len(latents)))
        sounds = [sound for part in parts for sound in model.decode(part)]
    for k, sound in enumerate(sounds):
        path = _audio(folder, clip.id, k)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_audio(path, sound)
    stored = {str(k): latent.half().cpu().contiguous().clone() for k, latent in enumerate(latents)}
    with atomic(_latents(folder, clip.id)) as temporary:
        save_file(stored, temporary)


def _rows(
    folder: Path, clip_id: str, faults: Mapping[str, str], latents: bool, options: SamplingOptions
) -> Iterator[Sample]:
    for k in range(options.count):
        name, path = sample_id(clip_id, k), _audio(folder, clip_id, k)
        failed = faults.get(clip_id)
        yield Sample(
            sample=name,
            clip=clip_id,
            index=k,
            seed=clip_seed(options.seed, name),
            audio=None if failed else path.relative_to(folder).as_posix(),
            audio_hash=None if failed else content_hash(path),
            latent=f"{_latents(folder, clip_id).relative_to(folder).as_posix()}#{k}"
            if latents and not failed
            else None,
            failed=failed,
        )


def _audio(folder: Path, clip_id: str, index: int) -> Path:
    return folder / "audio" / clip_id / f"{index}.flac"


def _latents(folder: Path, clip_id: str) -> Path:
    return folder / "latents" / f"{clip_id}.safetensors"


def _is_done(folder: Path, clip_id: str, count: int, latents: bool) -> bool:
    if not all(_audio(folder, clip_id, k).is_file() for k in range(count)):
        return False
    if not latents:
        return True
    try:
        with safe_open(_latents(folder, clip_id), "pt") as stored:
            return set(stored.keys()) == {str(k) for k in range(count)}
    except (OSError, SafetensorError):
        return False


def _parts(items: Sequence[Item], size: int) -> Iterator[Sequence[Item]]:
    return (items[start : start + size] for start in range(0, len(items), size))


def _seconds(clips: Sequence[Clip], extractor: Extractor) -> dict[str, float]:
    """How much sound is asked for: the window, or less where the clip is shorter."""
    side = hash_contents([clip.video for clip in clips], extractor.progress)
    extractor.extract({FACTS: [c for c in side.values() if isinstance(c, Content)]}, "read videos")
    streams = StreamFeatures(extractor, {"video": {clip.id: side[clip.video] for clip in clips}})
    longest = extractor.window.seconds
    return {clip.id: min(longest, streams.clip_seconds(clip.id) or longest) for clip in clips}


def _card(named: NamedModel, dataset: Dataset, longest: float, options: SamplingOptions) -> dict[str, object]:
    """What the samples depend on; the lengths that come out are added once all are known."""
    paths = [path for clip in dataset.clips for path in (clip.video, clip.reference) if path is not None]
    return {
        "schema_version": SCHEMA_VERSION,
        "model": {"spec": named.spec, "name": named.info.name, "recipe": dict(named.model.recipe)},
        "dataset": {
            "spec": dataset.spec,
            "name": dataset.name,
            "clips": len(dataset.clips),
            "fingerprint": dataset_fingerprint(dataset, hash_contents(paths)),
        },
        "n": options.count,
        "seed": options.seed,
        "at_most_s": longest,
        "latents": is_flow(named.model),
        "v2abench": __version__,
    }


def _text(card: Mapping[str, object]) -> str:
    return json.dumps(card, indent=2, sort_keys=True) + "\n"


def _claim(folder: Path, card: Mapping[str, object]) -> None:
    """Make the folder ours; refuse one of another recipe, or with files that are not ours."""
    path = folder / CARD
    if not path.is_file() and strangers(folder) and not path.is_file():
        raise V2ABenchError(f"{folder} holds files that are no samples; choose another --output")
    if not path.is_file():
        write_text(path, _text(card))
    elif not _is_card(path, card):
        raise V2ABenchError(
            f"{folder} holds samples of another model, dataset, number or seed (see {path}); "
            "choose another --output"
        )
    else:
        (folder / SAMPLES).unlink(missing_ok=True)


def _is_card(path: Path, card: Mapping[str, object]) -> bool:
    """Say whether `path` holds this card, whatever lengths came out."""
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        return False
    return isinstance(stored, dict) and {k: v for k, v in stored.items() if k != "seconds"} == card
