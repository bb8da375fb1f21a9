"""MMAudio's smallest variant from a video to a sound file, and a small one through an evaluation."""

import json
from pathlib import Path

import numpy as np
import pytest

from v2abench.api import Options, evaluate
from v2abench.baselines.mmaudio import clip
from v2abench.clips import Dataset
from v2abench.media.probing import probe
from v2abench.media.reading import read_audio
from v2abench.models import GenerationOptions
from v2abench.networks.synchformer import visual
from v2abench.protocols.schema import parse_protocol
from v2abench.synthesis import SynthesisOptions, synthesise

PROTOCOL = """
name: second
version: 1
summary: A level of one second.
window: {seconds: 1.0, minimum: 0.3, tolerance: 0.1}
metrics:
  - {metric: loudness, name: Loudness}
"""


def test_the_smallest_variant_makes_a_sound_of_a_video(
    clips: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # All parts are at full size, but the encoders have one layer each: else a picture costs 1 TFLOP.
    whole, tower = clip.architecture(), visual.VisualEncoder
    shallow = {part: {**whole[part], "layers": 1} for part in ("vision_cfg", "text_cfg")}
    monkeypatch.setattr(clip, "architecture", lambda: {**whole, **shallow})
    monkeypatch.setattr(visual, "VisualEncoder", lambda: tower(depth=1))
    generation = GenerationOptions(steps=1)
    options = SynthesisOptions(seconds=0.64, mux=True, weights="deterministic", generation=generation)
    (made, *_) = synthesise("mmaudio-small-16k", Dataset("one", "one", clips.clips[:1]), tmp_path, options)
    assert (made.status, made.file) == ("ok", "0.flac")
    sound = read_audio(tmp_path / "0.flac")
    assert (sound.sample_rate, sound.samples.shape) == (16000, (1, 10240))
    assert np.abs(sound.samples).max() > 0
    muxed = probe(tmp_path / "muxed/0.mp4")
    assert muxed.video_codec == "h264"
    assert muxed.sound_seconds == pytest.approx(0.64, abs=0.1)
    assert json.loads((tmp_path / "generation.json").read_text())["recipe"]["steps"] == 1


@pytest.mark.usefixtures("small")
def test_an_evaluation_generates_and_scores(clips: Dataset, tmp_path: Path) -> None:
    options = Options(
        output=tmp_path,
        device="cpu",
        weights="deterministic",
        bootstrap=0,
        generation=GenerationOptions(steps=1),
    )
    run = evaluate("mmaudio-small-16k", clips, parse_protocol(PROTOCOL, "second.yaml"), options)
    assert run.report.coverage.ok == 3
    assert run.report.model.recipe["weights mmaudio_small_16k"] == "deterministic"
    (score,) = run.report.scores
    assert score.value is not None
    assert np.isfinite(score.value)
