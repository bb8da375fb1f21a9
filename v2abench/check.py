"""Looking at media before any network runs: what is silent, clipped, short, unreadable, missing or double."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from v2abench.clips import Dataset
from v2abench.contracts import Network, Request, Stream
from v2abench.errors import ClipFault, V2ABenchError
from v2abench.features.contents import hash_contents
from v2abench.features.extraction import FACTS, Content, Extractor
from v2abench.features.plan import Plan
from v2abench.features.streams import Side, StreamFeatures
from v2abench.models import NamedModel
from v2abench.networks.levels import Levels
from v2abench.runs.judging import judge
from v2abench.runs.ledger import Ledger

CLIPPED_SHARE = 0.001


@dataclass(frozen=True)
class Finding:
    """Something about one clip that a user should know before an evaluation."""

    clip: str
    stream: str
    code: str
    detail: str


def check(dataset: Dataset, named: NamedModel | None, extractor: Extractor) -> list[Finding]:
    """Return what is wrong with the media of `dataset`, and of the model's files if given.

    Models are asked for files only: nothing is generated. Findings are in the order of the
    dataset; files that belong to no clip come last.
    """
    sides = _sides(dataset, named, extractor)
    levels = Levels()
    contents = [item for side in sides.values() for item in side.values() if isinstance(item, Content)]
    wanted: Mapping[Network, Sequence[Content]] = {FACTS: contents, levels: contents}
    extractor.extract(wanted, "check")
    streams = StreamFeatures(extractor, sides)
    ledger = Ledger([clip.id for clip in dataset.clips])
    judge(ledger, streams, Plan({}, {}, {}), extractor.window)
    findings = [Finding(e.id, r.about, r.code, r.detail) for e in ledger.entries() for r in e.reasons]
    for stream in ("generated", "reference"):
        findings += _clipped(streams, levels, stream)
        findings += _doubles(sides.get(stream, {}), stream)
    findings += _copies(sides)
    order = {clip.id: place for place, clip in enumerate(dataset.clips)}
    findings.sort(key=lambda finding: order[finding.clip])
    extra = getattr(named.model, "extra_files", ()) if named else ()
    return findings + [Finding("-", "generated", "extra", f"{name} belongs to no clip") for name in extra]


def _sides(dataset: Dataset, named: NamedModel | None, extractor: Extractor) -> dict[Stream, Side]:
    paths = {
        "reference": {clip.id: clip.reference for clip in dataset.clips if clip.reference is not None},
        "video": {clip.id: clip.video for clip in dataset.clips},
    }
    hashed = hash_contents([p for side in paths.values() for p in side.values()], extractor.progress)
    sides: dict[Stream, Side] = {
        "reference": {clip_id: hashed[path] for clip_id, path in paths["reference"].items()},
        "video": {clip_id: hashed[path] for clip_id, path in paths["video"].items()},
    }
    if named is not None:
        sides["generated"] = _answers(dataset, named, extractor)
    return sides


def _answers(dataset: Dataset, named: NamedModel, extractor: Extractor) -> Side:
    answers = []
    for answer in named.model.generate(
        [Request(clip, extractor.window.seconds, 0) for clip in dataset.clips]
    ):
        if answer.audio is not None:
            raise V2ABenchError(
                f"--model {named.spec} makes its sound when asked; check looks at files: folder:DIR"
            )
        answers.append(answer)
    hashed = hash_contents([answer.path for answer in answers if answer.path], extractor.progress)
    side: dict[str, Content | ClipFault] = {}
    for answer in answers:
        if answer.path is not None:
            side[answer.clip_id] = hashed[answer.path]
        elif answer.fault is not None:
            side[answer.clip_id] = answer.fault
    return side


def _clipped(streams: StreamFeatures, levels: Levels, stream: Stream) -> list[Finding]:
    found = []
    for clip_id, value in streams.features(stream, levels, "clipping_share").items():
        share = float(value)
        if share > CLIPPED_SHARE:
            found.append(
                Finding(clip_id, stream, "clipped", f"{share:.1%} of the samples stand at full scale")
            )
    return found


def _doubles(side: Side, stream: Stream) -> list[Finding]:
    same: dict[str, list[str]] = defaultdict(list)
    for clip_id, item in side.items():
        if isinstance(item, Content):
            same[item.hash].append(clip_id)
    return [
        Finding(clip_id, stream, "duplicate", f"the same file as for {ids[0]}")
        for ids in same.values()
        for clip_id in ids[1:]
    ]


def _copies(sides: Mapping[Stream, Side]) -> list[Finding]:
    references = sides.get("reference", {})
    return [
        Finding(clip_id, "generated", "copy", "the generated file is the reference itself")
        for clip_id, item in sides.get("generated", {}).items()
        if isinstance(item, Content)
        and isinstance(reference := references.get(clip_id), Content)
        and item.hash == reference.hash
    ]
