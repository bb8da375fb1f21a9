"""Evaluating models on a dataset under a protocol: from clips to runs.

References and videos are read first, once for all models; then each model is
asked for its audio, that is read, and the metrics are computed from the store.
A shard does the first two for its clips; merging does the last for all.
"""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path

from v2abench import __version__, signature
from v2abench.clips import Clip, Dataset
from v2abench.contracts import Bootstrap, Metric, Network, Request, Stream
from v2abench.errors import UnavailableError, V2ABenchError
from v2abench.features.contents import dataset_fingerprint, hash_contents
from v2abench.features.extraction import FACTS, Content, Extractor
from v2abench.features.plan import Plan, is_media, make_plan, stands_on
from v2abench.features.store import DamagedPartError
from v2abench.features.streams import Side, StreamFeatures
from v2abench.models import NamedModel, clip_seed
from v2abench.progress import Progress, silent
from v2abench.protocols.schema import Protocol
from v2abench.runs.generation import Answers, Notes, Place, generate, recipe_card
from v2abench.runs.inputs import Inputs, record_inputs
from v2abench.runs.judging import MEDIA, judge, note_adjustments
from v2abench.runs.ledger import Ledger
from v2abench.runs.report import DatasetRecord, ModelRecord, ProtocolRecord, Report, ScoreRecord
from v2abench.runs.scoring import Scorer
from v2abench.runs.shard_records import ShardRecord, merge_records, write_record
from v2abench.shards import Shard
from v2abench.weights.deterministic import is_deterministic
from v2abench.weights.fetching import require
from v2abench.weights.registry import WeightsUnavailableError


@dataclass(frozen=True)
class Run:
    """One evaluated model: its report, per-clip values, what went in, and its folder if it was written."""

    report: Report
    per_clip: Mapping[str, Mapping[str, float]]
    folder: Path
    inputs: Inputs

    def require_whole(self) -> None:
        """Raise `V2ABenchError` where any clip is not ok: what `--strict` asks for."""
        wrong = [entry for entry in self.report.ledger if entry.status != "ok"]
        if wrong:
            first = wrong[0]
            why = "; ".join(f"{r.about}: {r.code} ({r.detail})" for r in first.reasons)
            raise V2ABenchError(
                f"--strict: {len(wrong)} of {len(self.report.ledger)} clips of {self.report.model.name} "
                f"are not ok, first {first.id}: {why}; the ledger in {self.folder / 'report.json'} lists all"
            )


@dataclass(frozen=True)
class Settings:
    """What does not belong to the protocol: the seed of generation, and intervals (None: none).

    With a `shard` only its clips are read and asked for; with `merge` nothing is, but read from shards.
    """

    seed: int = 0
    bootstrap: Bootstrap | None = field(default_factory=Bootstrap)
    offline: bool = False
    progress: Progress = silent
    shard: Shard | None = None
    merge: bool = False


@dataclass(frozen=True)
class Sounds:
    """What a model gave: a file or a fault by clip id, what it adjusted, and networks that cannot be used."""

    side: Side
    notes: Notes
    unavailable: Mapping[str, str]


@dataclass
class Evaluation:
    """A dataset under a protocol, for any number of models."""

    dataset: Dataset
    protocol: Protocol
    metrics: Sequence[Metric]
    extractor: Extractor
    settings: Settings
    plan: Plan = field(init=False)
    fingerprint: str = field(init=False)
    _sides: dict[Stream, Side] = field(init=False)

    def __post_init__(self) -> None:
        clips, part = self.dataset.clips, self._part
        paths = [path for clip in clips for path in (clip.video, clip.reference) if path is not None]
        contents = hash_contents(paths, self.settings.progress)
        self.fingerprint = dataset_fingerprint(self.dataset, contents)
        self.plan = make_plan(self.metrics, self.protocol, self.dataset)
        self._sides = {
            "reference": {clip.id: contents[clip.reference] for clip in part if clip.reference is not None},
            "video": {clip.id: contents[clip.video] for clip in part},
            "text": {c.id: Content.of_text(text) for c in part if (text := self.protocol.text_of(c))},
        }

    @property
    def _part(self) -> Sequence[Clip]:
        """The clips that are read and asked for: all, or those of the shard."""
        clips, shard = self.dataset.clips, self.settings.shard
        return shard.part(clips) if shard else clips

    @property
    def signature(self) -> str:
        """The signature of every run of this evaluation."""
        networks = [self.plan.networks[name] for name in sorted(self.plan.networks)]
        return signature.short(self.protocol, networks, self.dataset, self.fingerprint)

    @cached_property
    def _unavailable(self) -> dict[str, str]:
        """Reads the references and videos; what networks cannot be used for them, and why."""
        return self._extract(self._sides, "references")

    def run(self, named: NamedModel, folder: Path) -> Run:
        """Generate, read and score one model, or merge what shards did; `folder` is the run's.

        Where features turn out damaged, they are computed anew, and it starts over.
        """
        while True:
            try:
                return self._run(named, folder)
            except DamagedPartError:
                # Each time a part is gone. What was read of the references may have been in it.
                self.__dict__.pop("_unavailable", None)

    def _run(self, named: NamedModel, folder: Path) -> Run:
        sounds = self._merged(named, folder) if self.settings.merge else self._made(named, folder)[0]
        streams = self._streams(sounds)
        ledger = Ledger([clip.id for clip in self.dataset.clips])
        judge(ledger, streams, self.plan, self.protocol.window)
        note_adjustments(ledger, sounds.notes)
        scorer = Scorer(
            self.dataset,
            self.plan,
            streams,
            ledger,
            self.signature,
            self.settings.bootstrap,
            sounds.unavailable,
            {entry.name: entry.about for entry in self.protocol.metrics},
            stands_on(self.plan, self.protocol),
        )
        scores = []
        with self.settings.progress(f"score {named.info.name}", len(self.metrics)) as advance:
            for metric in self.metrics:
                scores.append(scorer.record(metric))
                advance(1)
        inputs = record_inputs(self.dataset, self.protocol, streams.sides)
        return Run(self._report(named, tuple(scores), ledger), scorer.per_clip, folder, inputs)

    def run_shard(self, named: NamedModel, folder: Path, shard: Shard) -> None:
        """Generate and read the shard's clips, and record that it is done; nothing is scored."""
        sounds, answers = self._made(named, folder)
        streams = self._streams(sounds)
        for name in self.plan.pairs:
            # Scoring says what is not available, and of which metric.
            with suppress(UnavailableError):
                streams.compute_pairs(self.plan, name)
        place = self._place(named, folder)
        write_record(ShardRecord.of(shard, self.signature, place, answers, sounds.unavailable), folder)

    def _streams(self, sounds: Sounds) -> StreamFeatures:
        return StreamFeatures(self.extractor, {"generated": sounds.side, **self._sides})

    def _made(self, named: NamedModel, folder: Path) -> tuple[Sounds, Answers]:
        """Ask the model, and read what it gave."""
        unavailable = dict(self._unavailable)
        answers = self._asked(named, folder)
        side = self._hashed(answers)
        unavailable |= self._extract({"generated": side}, named.info.name)
        return Sounds(side, answers.notes, unavailable), answers

    def _merged(self, named: NamedModel, folder: Path) -> Sounds:
        """Read what the shards gave, and make sure that the store has what they read."""
        answers, unavailable = merge_records(folder, self.signature, self._place(named, folder))
        side = self._hashed(answers)
        wanted = self._wanted({"generated": side, **self._sides})
        self.extractor.extract(
            {n: items for n, items in wanted.items() if n.name not in unavailable}, "merge"
        )
        return Sounds(side, answers.notes, unavailable)

    def _hashed(self, answers: Answers) -> Side:
        files = answers.files
        hashed = hash_contents([a for a in files.values() if isinstance(a, Path)], self.settings.progress)
        return {c.id: hashed[a] if isinstance(a := files[c.id], Path) else a for c in self._part}

    def _asked(self, named: NamedModel, folder: Path) -> Answers:
        seed, seconds = self.settings.seed, self._seconds()
        requests = [Request(clip, seconds[clip.id], clip_seed(seed, clip.id)) for clip in self._part]
        place, progress = self._place(named, folder), self.settings.progress
        return generate(named, requests, place, progress, self.extractor.engine)

    def _seconds(self) -> dict[str, float]:
        """How much sound is asked for: the window, or less where the clip is shorter."""
        streams, longest = StreamFeatures(self.extractor, self._sides), self.protocol.window.seconds
        return {clip.id: min(longest, streams.clip_seconds(clip.id) or longest) for clip in self._part}

    def _place(self, named: NamedModel, folder: Path) -> Place:
        asked = {"seed": self.settings.seed, "at_most_s": self.protocol.window.seconds}
        recipe = recipe_card(named, self.fingerprint, asked, ".flac")
        return Place(folder / "audio", ".flac", recipe, shared=self.settings.shard is not None)

    def _report(self, named: NamedModel, scores: tuple[ScoreRecord, ...], ledger: Ledger) -> Report:
        return Report(
            v2abench=__version__,
            seed=self.settings.seed,
            model=ModelRecord(spec=named.spec, recipe=dict(named.model.recipe), **asdict(named.info)),
            dataset=DatasetRecord(
                name=self.dataset.name,
                spec=self.dataset.spec,
                clips=len(self.dataset.clips),
                fingerprint=self.fingerprint,
                notes=self.dataset.notes,
            ),
            protocol=ProtocolRecord(
                name=self.protocol.name,
                version=self.protocol.version,
                fingerprint=self.protocol.fingerprint,
                seconds=self.protocol.window.seconds,
            ),
            signature=self.signature,
            coverage=ledger.coverage(),
            scores=scores,
            ledger=ledger.entries(),
            extra_files=tuple(getattr(named.model, "extra_files", ())),
        )

    def _extract(self, sides: Mapping[Stream, Side], stage: str) -> dict[str, str]:
        """Read what is not stored yet; return the networks that cannot be used, with the reason."""
        wanted = self._wanted(sides)
        reasons = {network.name: self._reason_against(network, items) for network, items in wanted.items()}
        usable = {network: items for network, items in wanted.items() if reasons[network.name] is None}
        self.extractor.extract(usable, f"read {stage}")
        return {name: reason for name, reason in reasons.items() if reason is not None}

    def _wanted(self, sides: Mapping[Stream, Side]) -> dict[Network, list[Content]]:
        """What each network is to say something of."""
        wanted: dict[Network, list[Content]] = {}
        for stream, side in sides.items():
            contents = {clip_id: item for clip_id, item in side.items() if isinstance(item, Content)}
            if stream in MEDIA:
                wanted.setdefault(FACTS, []).extend(contents.values())
            for name, ids in self.plan.media[stream].items():
                network = self.plan.networks[name]
                if is_media(network):
                    wanted.setdefault(network, []).extend(item for c, item in contents.items() if c in ids)
        return wanted

    def _reason_against(self, network: Network, contents: Sequence[Content]) -> str | None:
        """Why a network cannot be used: its weights, or a package, are needed and cannot be had."""
        keys = [self.extractor.key(content.hash) for content in contents]
        package = getattr(network, "package", None)
        if package and find_spec(package) is None and self.extractor.store(network).missing(keys):
            return f"network {network.name!r} needs the package {package}; run `pip install {package}`"
        if network.weights and not is_deterministic() and self.extractor.store(network).missing(keys):
            try:
                for name in network.weights:
                    require(name, offline=self.settings.offline, progress=self.settings.progress)
            except WeightsUnavailableError as error:
                return str(error)
        return None
