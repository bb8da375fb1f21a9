"""Scoring sounds: the components of AudioScore through the protocol's feature store, and the grades.

Every sample is a clip of its own to the harness (`CLIP#K`, with the clip's video and reference),
so that decoding, batching, caching and the ledger are those of `v2abench eval`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from v2abench.clips import Clip, Dataset
from v2abench.contracts import Generated, ModelInfo, Request
from v2abench.errors import ClipFault, UnknownNameError, V2ABenchError
from v2abench.features.extraction import Extractor
from v2abench.features.plan import stands_on
from v2abench.files import atomic
from v2abench.finetune.preferences.samples import SampleFolder
from v2abench.impacts.datasets import is_of_impacts
from v2abench.metrics.audioscore import SHIPPED, open_audioscore
from v2abench.metrics.audioscore_classifier import Classifier, composite
from v2abench.metrics.audioscore_components import SETS, Component, ComponentScore
from v2abench.metrics.samples import Floats
from v2abench.models import NamedModel
from v2abench.protocols.schema import Protocol, load_protocol
from v2abench.runs.evaluation import Evaluation, Run, Settings

SCORES = "scores.parquet"
UNCALIBRATED = "uncalibrated composite"
PROBABILITIES = ("p_good", "p_medium", "p_bad")


@dataclass(frozen=True)
class Sound:
    """One sound to be scored, under an id of its own, for a clip."""

    id: str
    clip: Clip
    audio: Path | ClipFault


@dataclass(frozen=True, eq=False)
class Scores:
    """`values` (n, k), NaN where missing, of the sounds `ids`; `unusable` says why one cannot be heard.

    `stands_on` is what the components were made with, `priors` p̄ of inception terms, `warnings`
    name what could not be computed at all.
    """

    ids: tuple[str, ...]
    components: tuple[Component, ...]
    values: Floats
    unusable: tuple[str | None, ...]
    stands_on: Mapping[str, str]
    priors: Mapping[str, Floats]
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Sounds:
    """The sounds as a model, so that the harness can read them."""

    sounds: Mapping[str, Path | ClipFault]
    info: ModelInfo = field(default_factory=lambda: ModelInfo("sounds"))
    recipe: Mapping[str, Any] = field(default_factory=dict)

    def generate(self, requests: Sequence[Request]) -> Iterator[Generated]:
        for request in requests:
            sound = self.sounds[request.clip.id]
            if isinstance(sound, Path):
                yield Generated(request.clip.id, path=sound)
            else:
                yield Generated(request.clip.id, fault=sound)


def protocol_of(name: str | None, clips: Iterable[Clip], audioscore: str | None = None) -> Protocol:
    """Return the protocol under which sounds of `clips` are graded.

    The named one; else the one that the fitted `audioscore` belongs to; else `impacts` for the clips of
    that world, and the papers' `mmaudio` for all others, of which its networks know nothing. Raises
    `V2ABenchError`.
    """
    if name is not None:
        return load_protocol(name)
    if audioscore is not None:
        fitted = str(open_audioscore(audioscore).card["protocol"]).partition(":")[0]
        try:
            return load_protocol(fitted)
        except UnknownNameError as error:
            raise V2ABenchError(
                f"--audioscore {audioscore} was fitted under protocol {fitted!r}, which does not come with "
                "the package; give its file as --protocol"
            ) from error
    return load_protocol("impacts" if all(is_of_impacts(clip.video) for clip in clips) else "mmaudio")


def components_of(protocol: Protocol, name: str | None = None) -> tuple[Component, ...]:
    """Return the component set `name`, or the one that goes with a protocol; raises `V2ABenchError`."""
    chosen = name or ("impacts" if protocol.name == "impacts" else "paper" if protocol.text else None)
    if chosen is None or chosen not in SETS:
        raise V2ABenchError(
            f"--components {name or 'not given'}: protocol {protocol.name!r} has none of its own; "
            f"choose one of {', '.join(SETS)}, or --protocol mmaudio or impacts"
        )
    return SETS[chosen]


def open_grader(
    protocol: Protocol, audioscore: str | None, components: str | None
) -> tuple[Classifier | None, tuple[Component, ...]]:
    """Return the fitted AudioScore, or None for the uncalibrated composite, and the components to compute.

    Without a name it is the shipped one of the protocol's name, if there is one and no component set is
    named. Raises `V2ABenchError`, also where both are named.
    """
    if audioscore is not None and components is not None:
        raise V2ABenchError(
            f"--audioscore {audioscore} has components of its own; leave --components {components} out"
        )
    name = audioscore or (protocol.name if protocol.name in SHIPPED and components is None else None)
    if name is None:
        return None, components_of(protocol, components)
    classifier = open_audioscore(name)
    return classifier, classifier.components


def score_sounds(
    sounds: Sequence[Sound],
    components: Sequence[Component],
    protocol: Protocol,
    extractor: Extractor,
    *,
    classifier: Classifier | None = None,
    offline: bool = False,
) -> Scores:
    """Return the components of each sound.

    p̄ is that of `classifier`, else of the clips' references. Raises `V2ABenchError`, before anything
    is read, where `classifier` was fitted on other components, networks, window or texts.
    """
    known = priors_of(classifier)
    metrics = [ComponentScore(c, _as_tuple(known.get(c.name))) for c in components]
    dataset = Dataset("sounds", "sounds", tuple(replace(s.clip, id=s.id) for s in sounds))
    settings = Settings(bootstrap=None, offline=offline, progress=extractor.progress)
    evaluation = Evaluation(dataset, protocol, metrics, extractor, settings)
    here = stands_on(evaluation.plan, protocol)
    if classifier is not None:
        _refuse_other(classifier, tuple(components), here)
    model = _Sounds({sound.id: sound.audio for sound in sounds})
    run = evaluation.run(NamedModel(model, model.info, "sounds"), Path("sounds"))
    ids = tuple(sound.id for sound in sounds)
    return Scores(
        ids=ids,
        components=tuple(components),
        values=_values(run, ids, components),
        unusable=_unusable(run),
        stands_on=here,
        priors={**_found_priors(run), **known},
        warnings=tuple(f"{score.name}: {why}" for score in run.report.scores for why in score.warnings),
    )


def _refuse_other(classifier: Classifier, components: Sequence[Component], here: Mapping[str, str]) -> None:
    """Refuse to grade components that are not those that an AudioScore was fitted with."""
    fitted = classifier.stands_on
    other = sorted(k for k in fitted.keys() | here.keys() if fitted.get(k) != here.get(k))
    if classifier.components != components:
        other = [*other, "set of components"]
    if other:
        raise V2ABenchError(
            f"this AudioScore ({classifier.digest}) was fitted with another {', '.join(other)}; "
            "fit it anew with this protocol"
        )


def score_folder(
    folder: SampleFolder,
    protocol: Protocol,
    extractor: Extractor,
    *,
    classifier: Classifier | None,
    components: Sequence[Component],
    offline: bool = False,
) -> Scores:
    """Score every sample and write `scores.parquet`: see `scores_table`."""
    scores = score_sounds(
        sounds_of(folder),
        components,
        protocol,
        extractor,
        classifier=classifier,
        offline=offline,
    )
    table = scores_table(scores, classifier)
    about = {
        "audioscore": classifier.digest if classifier else UNCALIBRATED,
        "protocol": f"{protocol.name}:{protocol.version}@{protocol.fingerprint}",
        "components": json.dumps([component.as_data() for component in components]),
        "stands_on": json.dumps(dict(scores.stands_on), sort_keys=True),
        "priors": json.dumps({name: list(prior) for name, prior in scores.priors.items()}),
    }
    with atomic(folder.path / SCORES) as temporary:
        written = pa.Table.from_pandas(table, preserve_index=False)
        pq.write_table(
            written.replace_schema_metadata({**(written.schema.metadata or {}), **about}), temporary
        )
    return scores


def sounds_of(folder: SampleFolder) -> list[Sound]:
    """Return the samples of a folder as sounds; one that failed is its fault."""
    return [
        Sound(
            sample.sample,
            folder.clips[sample.clip],
            folder.audio(sample) if sample.failed is None else ClipFault("missing", sample.failed),
        )
        for sample in folder.samples
    ]


def scores_table(scores: Scores, classifier: Classifier | None) -> pd.DataFrame:
    """Return one row a sound: `sample`, the components, the probabilities, `composite` and `unusable`.

    The probabilities are null without a fitted AudioScore and for a sound without any component;
    `composite`, which is not calibrated, is of this set of sounds only.
    """
    table = pd.DataFrame({"sample": scores.ids})
    for number, component in enumerate(scores.components):
        table[component.name] = scores.values[:, number]
    gradable = ~np.isnan(scores.values).all(axis=1)
    probabilities = np.full((len(scores.ids), 3), np.nan)
    if classifier is not None and gradable.any():
        probabilities[gradable] = classifier.probabilities(scores.values[gradable])
    for number, name in enumerate(PROBABILITIES):
        table[name] = probabilities[:, number]
    table["composite"] = np.where(gradable, composite(scores.values, scores.components), np.nan)
    table["unusable"] = pd.Series(scores.unusable, dtype=object)
    return table


@dataclass(frozen=True, eq=False)
class StoredScores:
    """`scores.parquet`, read: the table, and what is said of it."""

    table: pd.DataFrame
    about: Mapping[str, str]

    @property
    def calibrated(self) -> bool:
        """Whether a fitted AudioScore graded the sounds."""
        return self.about["audioscore"] != UNCALIBRATED

    @property
    def components(self) -> tuple[Component, ...]:
        """The components, in the order of the columns."""
        return tuple(Component.of_data(data) for data in json.loads(self.about["components"]))

    def values(self, samples: Sequence[str]) -> Floats:
        """Return the (n, k) components of `samples`."""
        names = [component.name for component in self.components]
        return self.table.set_index("sample").loc[list(samples), names].to_numpy(dtype=np.float64)


def read_scores(folder: Path) -> StoredScores:
    """Read the scores of a sample folder; raises `V2ABenchError` where there are none."""
    path = folder / SCORES
    if not path.is_file():
        raise V2ABenchError(f"{folder} has no {SCORES}; run `v2abench prefs score {folder}` first")
    try:
        table = pq.read_table(path)
        about = {k.decode(): v.decode() for k, v in (table.schema.metadata or {}).items() if k != b"pandas"}
        about["audioscore"], about["components"]
    except (pa.ArrowException, OSError, KeyError) as error:
        raise V2ABenchError(f"{path} holds no scores: {error!r}; score the samples anew") from error
    return StoredScores(table.to_pandas(), about)


def priors_of(classifier: Classifier | None) -> dict[str, Floats]:
    """Return p̄ by component of a fitted AudioScore, nothing without one."""
    if classifier is None:
        return {}
    found = {c.name: classifier.prior(c) for c in classifier.components}
    return {name: prior for name, prior in found.items() if prior is not None}


def _as_tuple(prior: Floats | None) -> tuple[float, ...] | None:
    return None if prior is None else tuple(prior.tolist())


def _values(run: Run, ids: Sequence[str], components: Sequence[Component]) -> Floats:
    columns = [run.per_clip.get(component.name, {}) for component in components]
    rows = [[column.get(name, np.nan) for column in columns] for name in ids]
    return np.array(rows, dtype=np.float64).reshape(len(ids), len(components))


def _unusable(run: Run) -> tuple[str | None, ...]:
    """Why a sound cannot be heard: it failed, or it is silent."""
    reasons = []
    for entry in run.report.ledger:
        grave = [
            r
            for r in entry.reasons
            if r.about == "generated" and (entry.status == "failed" or r.code == "silent")
        ]
        reasons.append(grave[0].code if grave else None)
    return tuple(reasons)


def _found_priors(run: Run) -> dict[str, Floats]:
    found = {}
    for score in run.report.scores:
        shares = [v for k, v in score.details.items() if k.startswith("prior.")]
        if shares:
            found[score.name] = np.array(shares)
    return found
