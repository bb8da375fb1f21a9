"""Sampling and scoring a folder, pairs of it, and what interrupts, changes or faults do."""

import json
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from made_samples import COMPONENTS, Knocker, named
from safetensors.torch import load_file
from torch import Tensor, nn

from v2abench.clips import Clip, Dataset
from v2abench.contracts import ModelInfo, Request
from v2abench.errors import ClipFault, V2ABenchError
from v2abench.features.extraction import Extractor
from v2abench.finetune.preferences.building import auto_pairs, human_pairs, pair_folders
from v2abench.finetune.preferences.pairs import read_pairs
from v2abench.finetune.preferences.ratings import Rating, comparison_log, rating_log
from v2abench.finetune.preferences.report import write_report
from v2abench.finetune.preferences.rules import RuleOptions
from v2abench.finetune.preferences.samples import SampleFolder, read_samples
from v2abench.finetune.preferences.sampling import SamplingOptions, sample
from v2abench.finetune.preferences.scoring import (
    components_of,
    open_grader,
    protocol_of,
    read_scores,
    score_folder,
    score_sounds,
    sounds_of,
)
from v2abench.flow import Sampling
from v2abench.media.audio import Audio
from v2abench.media.reading import read_audio
from v2abench.metrics.audioscore_classifier import Classifier, as_bytes, of_bytes
from v2abench.metrics.audioscore_fit import Rated, fit
from v2abench.models import NamedModel, clip_seed
from v2abench.protocols.schema import Protocol, load_protocol


@dataclass(frozen=True)
class TinyFlow:
    """A flow whose velocity leads to the condition plus the noise's sign; 10 numbers a clip."""

    info: ModelInfo = field(default_factory=lambda: ModelInfo("flow", 100))
    recipe: dict[str, float] = field(default_factory=dict)
    sampling: Sampling = field(default_factory=lambda: Sampling(steps=3, guidance_scale=0.5))
    network: nn.Module = field(default_factory=nn.Identity)
    told: list[str] = field(default_factory=list)

    def latent_shape(self, seconds: float) -> tuple[int, ...]:
        return (round(5 * seconds),)

    def condition(self, requests: list[Request]) -> list[dict[str, Tensor] | ClipFault]:
        self.told.extend(request.clip.id for request in requests)
        faulty = ClipFault("undefined", "no")
        return [
            faulty if r.clip.id == "e" else {"mean": torch.full((1,), float(len(r.clip.id)))}
            for r in requests
        ]

    def empty(self, conditions: dict[str, Tensor]) -> dict[str, Tensor]:
        return {"mean": torch.zeros_like(conditions["mean"])}

    def embed(self, conditions: dict[str, Tensor]) -> dict[str, Tensor]:
        return conditions

    def velocity(self, x: Tensor, t: Tensor, embedded: dict[str, Tensor]) -> Tensor:
        return embedded["mean"] - x.detach()

    def decode(self, latents: Tensor) -> list[Audio]:
        return [Audio(np.tile(row.numpy() / 20, 20)[None].astype(np.float32), 100) for row in latents]

    def encode(self, audio: list[Audio], seconds: float) -> Tensor:
        raise NotImplementedError

    def generate(self, requests: list[Request]) -> None:
        raise NotImplementedError


@pytest.fixture(scope="module")
def classifier(made_samples: Path, extractor: Extractor, tiny_protocol: Protocol) -> Classifier:
    """Loud is good: fitted on made numbers, for the networks of the tiny protocol."""
    rng = np.random.default_rng(0)
    values = rng.uniform([-60, 0, -40], [-10, 40, 0], size=(200, 3))
    classes = np.digitize(-values[:, 0], [25, 40])
    made = fit(Rated(values, np.eye(3)[classes], [f"c{n}" for n in range(200)]))
    scores = score_sounds(sounds_of(read_samples(made_samples)), COMPONENTS, tiny_protocol, extractor)
    return of_bytes(as_bytes(COMPONENTS, made.arrays, {"stands_on": dict(scores.stands_on)}), "made")


def test_a_folder_says_what_it_holds(folder: SampleFolder) -> None:
    assert folder.card["n"] == 4
    assert [s.sample for s in folder.samples[:5]] == ["-dash#0", "-dash#1", "-dash#2", "-dash#3", "a b+é#0"]
    assert [s.seed for s in folder.samples[:2]] == [clip_seed(0, "-dash#0"), clip_seed(0, "-dash#1")]
    failed = [s for s in folder.samples if s.failed]
    assert {s.clip for s in failed} == {"d"}
    assert failed[0].failed == "undefined: no knocks for this one"
    sounds = [read_audio(folder.audio(s)).samples for s in folder.samples[:2]]
    assert not np.array_equal(*sounds)
    with pytest.raises(V2ABenchError, match="sample d#0 has no sound"):
        folder.audio(failed[0])


def test_sampling_goes_on_where_it_stopped(
    folder: SampleFolder, dataset: Dataset, extractor: Extractor
) -> None:
    before = {s.sample: s.audio_hash for s in folder.samples}
    (folder.path / "audio" / "c" / "2.flac").unlink()
    (folder.path / "samples.parquet").unlink()
    with pytest.raises(V2ABenchError, match="goes on where it was stopped"):
        read_samples(folder.path)
    model = Knocker(faulty=("d",))
    sample(named(model), dataset, folder.path, extractor, SamplingOptions(count=4))
    assert set(model.asked) == {"c", "d"}
    assert {s.sample: s.audio_hash for s in read_samples(folder.path).samples} == before


def test_samples_depend_on_nothing_but_their_seed(
    folder: SampleFolder, dataset: Dataset, extractor: Extractor, tmp_path: Path
) -> None:
    alone = replace(dataset, clips=dataset.clips[2:3])
    sample(named(Knocker()), alone, tmp_path / "one", extractor, SamplingOptions(count=2, batch_size=1))
    found = {s.sample: s.audio_hash for s in read_samples(tmp_path / "one").samples}
    assert found == {name: folder.by_id[name].audio_hash for name in ("c#0", "c#1")}
    sample(named(Knocker()), alone, tmp_path / "two", extractor, SamplingOptions(count=2, seed=1))
    assert not set(found.values()) & {s.audio_hash for s in read_samples(tmp_path / "two").samples}


def test_another_recipe_and_foreign_files_are_refused(
    folder: SampleFolder, dataset: Dataset, extractor: Extractor, tmp_path: Path
) -> None:
    with pytest.raises(V2ABenchError, match="another model, dataset, number or seed"):
        sample(named(Knocker()), dataset, folder.path, extractor, SamplingOptions(count=3))
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").touch()
    with pytest.raises(V2ABenchError, match="files that are no samples"):
        sample(named(Knocker()), dataset, tmp_path / "mine", extractor, SamplingOptions())
    with pytest.raises(V2ABenchError, match="at least 1 sample"):
        sample(named(Knocker()), dataset, tmp_path / "none", extractor, SamplingOptions(count=0))


def test_a_flow_models_latents_are_kept(dataset: Dataset, extractor: Extractor, tmp_path: Path) -> None:
    model = TinyFlow()
    options = SamplingOptions(count=3, batch_size=4)
    sample(NamedModel(model, model.info, "flow"), dataset, tmp_path / "flow", extractor, options)  # type: ignore[arg-type]
    found = read_samples(tmp_path / "flow")
    assert found.card["latents"] is True
    assert sorted(model.told) == sorted(found.clips)
    assert {s.clip for s in found.samples if s.failed} == {"e"}
    chosen = found.by_id["c#1"]
    assert chosen.latent == "latents/c.safetensors#1"
    stored = load_file(tmp_path / "flow" / "latents" / "c.safetensors")
    assert {(name, t.dtype, tuple(t.shape)) for name, t in stored.items()} == {
        (str(k), torch.float16, (10,)) for k in range(3)
    }
    heard = read_audio(found.audio(chosen)).samples[0, :10]
    np.testing.assert_allclose(heard, stored["1"].numpy() / 20, atol=1e-3)
    (tmp_path / "flow" / "latents" / "c.safetensors").write_bytes(b"cut short")
    again = TinyFlow()
    sample(NamedModel(again, again.info, "flow"), dataset, tmp_path / "flow", extractor, options)  # type: ignore[arg-type]
    assert sorted(again.told) == ["c", "e"]
    assert read_samples(tmp_path / "flow").samples == found.samples


def test_scores_are_the_components_and_the_grades(
    folder: SampleFolder, extractor: Extractor, tiny_protocol: Protocol, classifier: Classifier
) -> None:
    score_folder(folder, tiny_protocol, extractor, classifier=classifier, components=COMPONENTS)
    stored = read_scores(folder.path)
    table = stored.table.set_index("sample")
    assert stored.calibrated
    assert stored.components == COMPONENTS
    assert list(table.index) == [s.sample for s in folder.samples]
    grades = table[["p_good", "p_medium", "p_bad"]]
    present = [s.sample for s in folder.samples if s.failed is None]
    np.testing.assert_allclose(grades.loc[present].sum(axis=1), 1)
    assert grades.loc["d#0"].isna().all()
    assert table.loc["d#0", "unusable"] == "missing"
    assert np.corrcoef(table.loc[present, "loud"], table.loc[present, "p_good"])[0, 1] > 0.6
    assert table["peak"].isna().all()


def test_an_audioscore_of_other_networks_is_refused(
    folder: SampleFolder, extractor: Extractor, tiny_protocol: Protocol, classifier: Classifier
) -> None:
    stands_on = {**classifier.stands_on, "levels": "0" * 12}
    other = of_bytes(as_bytes(COMPONENTS, classifier.arrays, {"stands_on": stands_on}), "other")
    with pytest.raises(V2ABenchError, match="was fitted with another levels; fit it anew"):
        score_folder(folder, tiny_protocol, extractor, classifier=other, components=COMPONENTS)
    with pytest.raises(V2ABenchError, match="another set of components"):
        score_folder(folder, tiny_protocol, extractor, classifier=classifier, components=COMPONENTS[:2])


def test_a_protocol_without_components_is_told(tiny_protocol: Protocol) -> None:
    with pytest.raises(V2ABenchError, match="choose one of paper, impacts"):
        components_of(tiny_protocol)
    assert [c.name for c in components_of(load_protocol("mmaudio"))] == [
        "ib",
        "clap",
        "desync",
        "inception",
        "pesq",
    ]


def test_the_protocol_is_that_of_the_clips_unless_one_is_named(
    folder: SampleFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, world = folder.clips["c"], Clip("x", tmp_path / "impacts" / "2" / "train" / "train-000000.mp4")
    assert protocol_of(None, [world]).name == "impacts"
    assert protocol_of(None, [world, real]).name == "mmaudio"
    assert protocol_of("light", [world]).name == "light"
    assert protocol_of(None, [real], "impacts").name == "impacts"
    with pytest.raises(V2ABenchError, match="leave --components paper out"):
        open_grader(load_protocol("impacts"), "impacts", "paper")
    own = SimpleNamespace(card={"protocol": "my:1@0"})
    monkeypatch.setattr("v2abench.finetune.preferences.scoring.open_audioscore", lambda name: own)
    with pytest.raises(V2ABenchError, match=r"fitted under protocol 'my'.*give its file as --protocol"):
        protocol_of(None, [real], "mine.safetensors")


def test_pairs_take_the_best_against_the_worst(
    folder: SampleFolder,
    extractor: Extractor,
    tiny_protocol: Protocol,
    classifier: Classifier,
    tmp_path: Path,
) -> None:
    score_folder(folder, tiny_protocol, extractor, classifier=classifier, components=COMPONENTS)
    card = pair_folders([folder.path], "extremes", RuleOptions(), tmp_path / "pairs.parquet")
    pairs = read_pairs(tmp_path / "pairs.parquet")
    assert pairs.card == {"schema_version": 1, **card}
    assert card["folders"][0]["dropped"]["fewer than two samples are graded"] == 1
    assert len(pairs) + sum(card["folders"][0]["dropped"].values()) == 6
    table = read_scores(folder.path).table.set_index("sample")
    for pair in pairs:
        assert pair.winner_p_good == max(table.loc[[f"{pair.clip}#{k}" for k in range(4)], "p_good"])
        assert pair.loser_p_bad == max(table.loc[[f"{pair.clip}#{k}" for k in range(4)], "p_bad"])
        assert pairs.place(pair, pair.winner_audio).is_file()
        assert pair.winner_hash == folder.by_id[pair.winner].audio_hash
        assert Path(pair.video).is_file()


def test_without_probabilities_only_the_composites_rules_go(
    folder: SampleFolder, extractor: Extractor, tiny_protocol: Protocol, tmp_path: Path
) -> None:
    score_folder(folder, tiny_protocol, extractor, classifier=None, components=COMPONENTS)
    stored = read_scores(folder.path)
    assert stored.about["audioscore"] == "uncalibrated composite"
    with pytest.raises(V2ABenchError, match="uncalibrated composite only"):
        auto_pairs(folder, stored, "extremes", RuleOptions(), tmp_path / "p.parquet")
    built = auto_pairs(folder, stored, "best_worst", RuleOptions(), tmp_path / "p.parquet")
    table = stored.table.set_index("sample")
    assert len(built.pairs) == 5
    for pair in built.pairs:
        among = table.loc[[f"{pair.clip}#{k}" for k in range(4)], "composite"]
        assert (among.idxmax(), among.idxmin()) == (pair.winner, pair.loser)
        assert (pair.complexity, pair.winner_p_good) == (0.0, None)


def test_silent_samples_drop_a_pair(
    folder: SampleFolder,
    extractor: Extractor,
    tiny_protocol: Protocol,
    classifier: Classifier,
    tmp_path: Path,
) -> None:
    score_folder(folder, tiny_protocol, extractor, classifier=classifier, components=COMPONENTS)
    stored = read_scores(folder.path)
    before = auto_pairs(folder, stored, "extremes", RuleOptions(), tmp_path / "p.parquet")
    lost = before.pairs[0].loser
    stored.table.loc[stored.table["sample"] == lost, "unusable"] = "silent"
    after = auto_pairs(folder, stored, "extremes", RuleOptions(), tmp_path / "p.parquet")
    assert len(after.pairs) == len(before.pairs) - 1
    assert after.dropped["a sample is silent"] == 1


def test_pairs_by_people_have_complexity_0_and_take_precedence(
    folder: SampleFolder,
    extractor: Extractor,
    tiny_protocol: Protocol,
    classifier: Classifier,
    tmp_path: Path,
) -> None:
    score_folder(folder, tiny_protocol, extractor, classifier=classifier, components=COMPONENTS)
    path = tmp_path / "pairs.parquet"
    pair_folders([folder.path], "extremes", RuleOptions(), path)
    first = read_pairs(path).pairs[0]
    log = comparison_log(folder.path)
    log.append({"rater": "anna", "first": first.winner, "second": first.loser, "choice": "second"})
    log.append({"rater": "ben", "first": "c#0", "second": "c#1", "choice": "tie"})
    rating_log(folder.path).append(
        {"rater": "anna", "sample": "e#0", "rating": "Bad"},
        {"rater": "anna", "sample": "e#2", "rating": "Medium"},
        {"rater": "anna", "sample": "f#1", "rating": "Good"},
    )
    card = pair_folders([folder.path], "extremes", RuleOptions(), path)
    human = {(p.winner, p.loser): p for p in read_pairs(path) if p.source == "human"}
    assert set(human) == {(first.loser, first.winner), ("e#2", "e#0")}
    assert {p.complexity for p in human.values()} == {0.0}
    assert human["e#2", "e#0"].winner_p_good is not None
    assert card["human_pairs"] == 2
    assert card["folders"][0]["dropped"]["people judged the same pair"] >= 1
    alone = pair_folders([folder.path], None, RuleOptions(), path)
    assert (alone["pairs"], alone["human_pairs"]) == (2, 2)


def test_ratings_of_unknown_samples_are_told(folder: SampleFolder, tmp_path: Path) -> None:
    with pytest.raises(V2ABenchError, match="'x#0' was rated"):
        human_pairs(folder, [("x#0", "c#1")], None, tmp_path / "p.parquet")
    with pytest.raises(V2ABenchError, match="are of two clips"):
        human_pairs(folder, [("c#0", "e#1")], None, tmp_path / "p.parquet")


def test_the_report_shows_components_pairs_and_agreement(
    folder: SampleFolder,
    extractor: Extractor,
    tiny_protocol: Protocol,
    classifier: Classifier,
    tmp_path: Path,
) -> None:
    pytest.importorskip("krippendorff")
    score_folder(folder, tiny_protocol, extractor, classifier=classifier, components=COMPONENTS)
    pair_folders([folder.path], "extremes", RuleOptions(), tmp_path / "pairs.parquet")
    ratings = [Rating(r, s, v) for r in "ab" for s, v in (("c#0", "Good"), ("c#1", "Bad"))]
    rating_log(folder.path).append(
        *({"rater": r.rater, "sample": r.sample, "rating": r.rating} for r in ratings)
    )
    path = write_report(folder.path, tmp_path / "report", tmp_path / "pairs.parquet", None)
    text = path.read_text()
    share = json.loads((tmp_path / "pairs.json").read_text())["stage1_share"]
    assert "24 samples: 4 of each of 6 clips, seed 0; 4 failed." in text
    assert f"{share:.1%} of all" in text
    assert "Krippendorff's alpha: ordinal 1.000" in text
    for name in ("components.png", "complexity.png"):
        assert (path.parent / name).read_bytes().startswith(b"\x89PNG")
        assert f"]({name})" in text


def test_scores_that_are_not_there_are_told(folder: SampleFolder) -> None:
    with pytest.raises(V2ABenchError, match="run `v2abench prefs score"):
        read_scores(folder.path)
    (folder.path / "scores.parquet").write_bytes(b"no")
    with pytest.raises(V2ABenchError, match="holds no scores"):
        read_scores(folder.path)
    pd.DataFrame({"sample": ["a"]}).to_parquet(folder.path / "scores.parquet")
    with pytest.raises(V2ABenchError, match="holds no scores"):
        read_scores(folder.path)
