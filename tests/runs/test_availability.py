"""What cannot be computed here is said, and the rest goes on; speech metrics keep to speech."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from v2abench.api import Options, evaluate
from v2abench.datasets.opening import DatasetOptions, open_dataset
from v2abench.errors import UnavailableError
from v2abench.media.audio import Audio
from v2abench.media.writing import write_audio
from v2abench.networks import pesq
from v2abench.protocols.schema import Protocol, parse_protocol
from v2abench.runs.report import Report

SPEECH = """
name: speech
version: 1
summary: PESQ beside a metric for all clips.
window: {seconds: 2.0}
metrics:
  - {metric: pesq, name: PESQ}
  - {metric: loudness, name: Loudness}
"""


def voice(seed: int) -> Audio:
    """Harmonics in bursts, as PESQ wants them, (1, 32000) at 16 kHz."""
    rng = np.random.default_rng(seed)
    t = np.arange(32000) / 16000
    pitch = rng.uniform(100, 200)
    tones = sum(np.sin(2 * np.pi * pitch * k * t + rng.uniform(0, 6)) / k for k in range(1, 20))
    bursts = np.clip(np.sin(2 * np.pi * 1.5 * t), 0, 1)
    return Audio((0.1 * tones * bursts).astype(np.float32)[None], 16000)


@pytest.fixture
def manifest(videos: Path, tmp_path: Path) -> Path:
    """Three clips with references of their own, of which two are speech, one of them with a silent answer."""
    names = [path.stem for path in sorted(videos.iterdir())[2:5]]
    for folder in ("reference", "model"):
        (tmp_path / folder).mkdir()
        for seed, name in enumerate(names):
            write_audio(tmp_path / folder / f"{name}.wav", voice(seed))
    write_audio(tmp_path / "model" / f"{names[1]}.wav", Audio(np.zeros((1, 32000), np.float32), 16000))
    rows = [
        f"{videos / n}.mp4\t{n}\t{tmp_path}/reference/{n}.wav\t{s}"
        for n, s in zip(names, ("yes", "yes", "no"), strict=True)
    ]
    path = tmp_path / "clips.tsv"
    path.write_text("\n".join(["video\tid\treference\tspeech", *rows]))
    return path


@pytest.fixture
def speech() -> Protocol:
    return parse_protocol(SPEECH, "speech.yaml")


def run(manifest: Path, protocol: Protocol) -> Report:
    model = f"folder:{manifest.parent / 'model'}"
    dataset = open_dataset(str(manifest), DatasetOptions(data_root=Path("/")))
    return evaluate(model, dataset, protocol, Options(output=manifest.parent / "runs")).report


def test_pesq_keeps_to_speech_and_an_undefined_clip_goes_to_the_ledger(
    manifest: Path, speech: Protocol
) -> None:
    report = run(manifest, speech)
    score = report.score("PESQ")
    assert score.value == pytest.approx(4.64, abs=0.01)
    assert (score.used, score.expected, report.score("Loudness").expected) == (1, 2, 3)
    assert [(missing.about, missing.code) for missing in score.missing] == [("d", "undefined")]
    reasons = {(r.about, r.code) for entry in report.ledger if entry.id == "d" for r in entry.reasons}
    assert reasons == {("generated", "silent"), ("pesq", "undefined")}


def test_pesq_is_computed_once(manifest: Path, speech: Protocol, monkeypatch: pytest.MonkeyPatch) -> None:
    first = run(manifest, speech)
    monkeypatch.setattr(pesq.PESQWideband, "load", None)
    assert run(manifest, speech) == first


def test_without_the_package_the_run_goes_on_and_says_so(
    manifest: Path, speech: Protocol, monkeypatch: pytest.MonkeyPatch
) -> None:
    def absent() -> None:
        raise UnavailableError('PESQ needs the package pesq: pip install "v2abench[speech]"')

    monkeypatch.setattr(pesq, "_package", absent)
    report = run(manifest, speech)
    assert report.score("PESQ").value is None
    assert 'pip install "v2abench[speech]"' in report.score("PESQ").warnings[0]
    assert report.score("Loudness").value is not None


def test_without_the_weights_the_light_protocol_goes_on_and_says_so(
    videos: Path, generated: Path, tmp_path: Path
) -> None:
    model = f"folder:{generated}"
    report = evaluate(model, f"folder:{videos}", "light", Options(output=tmp_path, offline=True)).report
    for score in report.scores:
        if "aiSFX" in score.name:
            assert score.value is None
            assert "weights pull aisfx" in score.warnings[0]
            assert score.used == 0
    assert report.score("AV-Align").used == 6
    assert report.score("PESQ").warnings == ("no clip of this dataset is marked as speech",)


def test_light_scores_a_users_own_files(
    videos: Path, generated: Path, tmp_path: Path, cache: Path, aisfx_checkpoint: Path
) -> None:
    (cache / "weights").mkdir()
    shutil.copy(aisfx_checkpoint, cache / "weights")
    report = evaluate(f"folder:{generated}", f"folder:{videos}", "light", Options(output=tmp_path)).report
    assert {entry.reasons[0].code for entry in report.ledger} == {"adjusted"}
    values = {score.name: score.value for score in report.scores}
    assert values.pop("PESQ") is None
    assert values.pop("IS_aiSFX") is None
    assert all(np.isfinite(value) for value in values.values())
    assert values["FD_aiSFX"] > 0
    assert "6 samples in 512 dimensions" in report.score("FD_aiSFX").warnings[0]
