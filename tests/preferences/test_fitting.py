"""Fitting on ratings files, AudioScore as a metric of a run and as a reward, and the commands."""

import csv
import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from made_samples import COMPONENTS, PROTOCOL, Knocker, named
from typer.testing import CliRunner

from v2abench.cli.app import app
from v2abench.clips import Dataset
from v2abench.errors import V2ABenchError
from v2abench.features.extraction import Extractor
from v2abench.finetune.preferences.fitting import fit_files, read_rated
from v2abench.finetune.preferences.ratings import rating_log
from v2abench.finetune.preferences.report import write_report
from v2abench.finetune.preferences.reward import AudioScoreReward
from v2abench.finetune.preferences.samples import SampleFolder, read_samples
from v2abench.finetune.preferences.sampling import SamplingOptions, sample
from v2abench.finetune.preferences.scoring import score_sounds, sounds_of
from v2abench.media.audio import Audio
from v2abench.media.reading import read_audio
from v2abench.metrics.audioscore import AudioScore
from v2abench.metrics.audioscore_classifier import read_classifier
from v2abench.protocols.schema import Protocol
from v2abench.runs.evaluation import Evaluation, Settings


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory, dataset: Dataset, extractor: Extractor) -> Path:
    """Samples of ten clips (four videos twice), rated by how loud they are."""
    twice = [replace(clip, id=f"{clip.id}-again") for clip in dataset.clips[:4]]
    more = replace(dataset, clips=(*dataset.clips, *twice))
    folder = tmp_path_factory.mktemp("many") / "samples"
    sample(named(Knocker()), more, folder, extractor, SamplingOptions(count=5))
    read = read_samples(folder)
    levels = {s.sample: float(np.abs(read_audio(read.audio(s)).samples).max()) for s in read.samples}
    low, high = np.quantile(list(levels.values()), [0.3, 0.7])
    said = [(s, "Good" if v > high else "Bad" if v < low else "Medium") for s, v in levels.items()]
    rating_log(folder).append(
        *({"rater": rater, "sample": s, "rating": v} for s, v in said for rater in ("a", "b"))
    )
    return folder


@pytest.fixture(scope="module")
def fitted(
    many: Path, tmp_path_factory: pytest.TempPathFactory, extractor: Extractor, tiny_protocol: Protocol
) -> Path:
    output = tmp_path_factory.mktemp("fit") / "loud.safetensors"
    fit_files([many / "ratings.csv"], output, COMPONENTS, tiny_protocol, extractor)
    return output


def test_a_fit_on_a_sample_folder_tells_what_it_is(fitted: Path, many: Path, tiny_protocol: Protocol) -> None:
    classifier = read_classifier(fitted)
    card = classifier.card
    assert card["ratings"] | {"sha256": ""} == {
        "sha256": "",
        "files": 1,
        "raters": 2,
        "ratings": 100,
        "sounds": 50,
        "clips": 10,
        "alpha_ordinal": 1.0,
    }
    assert card["held_out"]["sounds"] == 10
    assert set(classifier.stands_on) == {"levels", "window", "text"}
    loud, quiet = classifier.probabilities(np.array([[-12.0, 5.0, np.nan], [-50.0, 30.0, np.nan]]))
    assert loud[0] > 0.5 > loud[2]
    assert quiet[2] > 0.5 > quiet[0]


def test_ratings_may_name_files(
    many: Path, tmp_path: Path, extractor: Extractor, tiny_protocol: Protocol
) -> None:
    read = read_samples(many)
    rows = [
        {"audio": str(read.audio(s)), "video": str(read.clips[s.clip].video), "rating": "Good"}
        for s in read.samples[:3]
    ]
    path = tmp_path / "mine.csv"
    with path.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    found = read_rated(path)
    assert [rating.sample for rating in found.ratings] == [sound.id for sound in found.sounds]
    here = score_sounds(found.sounds, COMPONENTS, tiny_protocol, extractor)
    there = score_sounds(sounds_of(read)[:3], COMPONENTS, tiny_protocol, extractor)
    np.testing.assert_array_equal(here.values, there.values)
    path.write_text(f"audio,video,rating\nnone.wav,{read.clips['c'].video},Good\n")
    with pytest.raises(V2ABenchError, match=r"audio none\.wav does not exist"):
        read_rated(path)


def test_ratings_that_name_nothing_are_told(folder: SampleFolder, tmp_path: Path) -> None:
    (folder.path / "ratings.csv").write_text("sample,rating\nz#9,Good\n")
    with pytest.raises(V2ABenchError, match=r"rates 'z#9'"):
        read_rated(folder.path / "ratings.csv")
    (tmp_path / "ratings.csv").write_text("sample,rating\nc#0,Good\n")
    with pytest.raises(V2ABenchError, match="does not lie in a sample folder"):
        read_rated(tmp_path / "ratings.csv")


def test_the_metric_of_a_run_is_the_mean_of_the_samples_grades(
    fitted: Path, many: Path, dataset: Dataset, extractor: Extractor, tiny_protocol: Protocol, tmp_path: Path
) -> None:
    metric = AudioScore(fitted=str(fitted))
    settings = Settings(bootstrap=None)
    evaluation = Evaluation(dataset, tiny_protocol, [metric], extractor, settings)
    run = evaluation.run(named(Knocker()), tmp_path / "run")
    grades = run.per_clip["AudioScore"]
    scores = score_sounds(
        sounds_of(read_samples(many))[:1], COMPONENTS, tiny_protocol, extractor, classifier=metric.classifier
    )
    assert run.report.score("AudioScore").value == pytest.approx(np.mean(list(grades.values())))
    assert run.report.score("AudioScore").details.keys() == {"share_good", "share_medium", "share_bad"}
    assert len(scores.ids) == 1


def test_a_run_with_other_networks_has_no_audioscore(
    fitted: Path, dataset: Dataset, tiny_protocol: Protocol, tmp_path: Path
) -> None:
    longer = tiny_protocol.model_copy(
        update={"window": tiny_protocol.window.model_copy(update={"seconds": 1.5})}
    )
    extractor = Extractor(tmp_path / "features", longer.window)
    metric = AudioScore(fitted=str(fitted))
    run = Evaluation(dataset, longer, [metric], extractor, Settings(bootstrap=None)).run(
        named(Knocker()), tmp_path / "run"
    )
    score = run.report.score("AudioScore")
    assert score.value is None
    assert score.warnings == ("was fitted with another window; fit it anew with this protocol",)


def test_the_reward_is_the_grade_of_the_same_sound_in_a_file(
    fitted: Path, many: Path, extractor: Extractor, tiny_protocol: Protocol
) -> None:
    read = read_samples(many)
    chosen = [read.samples[n] for n in (0, 7, 8)]
    reward = AudioScoreReward(tiny_protocol, extractor, str(fitted))
    clips, sounds = [read.clips[s.clip] for s in chosen], [read_audio(read.audio(s)) for s in chosen]
    found = reward(clips, sounds)
    classifier = read_classifier(fitted)
    scores = score_sounds(sounds_of(read), COMPONENTS, tiny_protocol, extractor, classifier=classifier)
    rows = [scores.ids.index(s.sample) for s in chosen]
    np.testing.assert_allclose(found.numpy(), classifier.probabilities(scores.values[rows]), atol=1e-6)
    lost = Audio(np.full((1, 800), np.nan, np.float32), 16000)
    again = reward([clips[0], clips[0]], [lost, sounds[0]])
    assert again[0].tolist() == [0.0, 0.0, 1.0]
    np.testing.assert_allclose(again[1], found[0])


@pytest.fixture
def protocol_path(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.yaml"
    path.write_text(PROTOCOL)
    return path


def ran(*words: object) -> str:
    result = CliRunner().invoke(app, [str(word) for word in words], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


def test_the_commands_from_samples_to_report(
    videos: Path, fitted: Path, many: Path, protocol_path: Path, tmp_path: Path
) -> None:
    common = ("--protocol", protocol_path, "--device", "cpu", "--workers", 0)
    samples = tmp_path / "samples"
    ran(
        "prefs",
        "sample",
        "--model",
        "noise",
        "--dataset",
        f"folder:{videos}",
        "--n",
        2,
        "--output",
        samples,
        *common,
    )
    ran("prefs", "score", samples, "--audioscore", fitted, *common)
    said = ran("prefs", "pair", samples, "--output", tmp_path / "pairs.parquet", "--rule", "random")
    assert "pairs (0 by people)" in said
    ran("prefs", "report", samples, "--output", tmp_path / "report", "--pairs", tmp_path / "pairs.parquet")
    assert "# Preference data of noise on videos" in (tmp_path / "report" / "report.md").read_text()
    video = videos / "c.mp4"
    command = (
        "audioscore",
        "score",
        samples / "audio" / "c" / "0.flac",
        "--video",
        video,
        "--audioscore",
        fitted,
    )
    [graded] = json.loads(ran(*command, *common[:4], "--json"))
    assert graded["p_good"] + graded["p_medium"] + graded["p_bad"] == pytest.approx(1)
    assert graded["components"]["loud"]["better"] == "higher"
    assert graded["components"]["peak"] == {"value": None, "better": "higher", "raises": 0.0}
    assert "raises P(Good)" in ran(*command, *common[:4])
    assert "held out: 10 sounds" in ran("audioscore", "show", fitted)


def test_the_report_has_the_fits_figures(folder: SampleFolder, fitted: Path, tmp_path: Path) -> None:
    text = write_report(folder.path, tmp_path / "report", None, str(fitted)).read_text()
    held = read_classifier(fitted).card["held_out"]
    assert f"accuracy {held['accuracy']:.3f}" in text
    assert (tmp_path / "report" / "confusion.png").is_file()
    assert (tmp_path / "report" / "calibration.png").is_file()


def test_an_uncalibrated_grade_needs_company_and_its_name(videos: Path, many: Path, tmp_path: Path) -> None:
    sound = read_samples(many).path / "audio" / "c" / "0.flac"
    shutil.copy(sound, tmp_path / "a.flac")
    with pytest.raises(V2ABenchError, match="uncalibrated composite only orders several sounds"):
        ran(
            "audioscore",
            "score",
            sound,
            "--video",
            videos / "c.mp4",
            "--protocol",
            "mmaudio",
            "--device",
            "cpu",
        )
