"""The command line of `generate`."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from v2abench.synthesis import SynthesisOptions

Run = Callable[..., object]


def test_it_shows_the_counts_and_the_reasons(v2abench: Run, videos: Path, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in/broken.mp4").write_bytes(b"no video")
    (tmp_path / "in/c.mp4").write_bytes((videos / "c.mp4").read_bytes())
    line = ["generate", "--model", "ground-truth", "--dataset", f"folder:{tmp_path / 'in'}", "--workers", 0]
    shown = v2abench(*line, "--out", tmp_path / "out")
    assert shown.code == 0
    assert "1 of 2 clips ok, 0 degraded, 1 failed" in shown.out
    assert "failed broken: unreadable" in shown.out
    assert f"wrote {tmp_path / 'out'}" in shown.err
    assert v2abench(*line, "--out", tmp_path / "out", "--strict").code == 2


def test_every_option_arrives(
    v2abench: Run, videos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[SynthesisOptions] = []

    def synthesise(model: str, dataset: object, folder: Path, options: SynthesisOptions) -> list[object]:
        assert (model, folder) == ("mmaudio", tmp_path)
        given.append(options)
        return []

    monkeypatch.setattr("v2abench.synthesis.synthesise", synthesise)
    line = ["generate", "--model", "mmaudio", "--dataset", f"folder:{videos}", "--out", tmp_path]
    line += ["--steps", 3, "--guidance-scale", 2.5, "--sampler", "heun", "--duration", 4, "--device", "cpu"]
    line += ["--negative-prompt", "music", "--precision", "bfloat16", "--compile", "--batch-size", 2]
    line += [
        "--weights",
        "deterministic",
        "--format",
        "wav",
        "--mux",
        "--seed",
        7,
        "--workers",
        0,
        "--offline",
    ]
    shown = v2abench(*line, "--json")
    assert shown.code == 0
    assert json.loads(shown.out) == []
    (options,) = given
    chosen = options.generation
    assert (chosen.steps, chosen.guidance_scale, chosen.method) == (3, 2.5, "heun")
    assert (chosen.negative_prompt, chosen.precision) == ("music", "bfloat16")
    assert (chosen.compile, chosen.batch_size) == (True, 2)
    assert (options.seconds, options.format, options.mux, options.seed) == (4.0, "wav", True, 7)
    assert (options.weights, options.offline, options.device, options.workers) == (
        "deterministic",
        True,
        "cpu",
        0,
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--model", "mmaudio-smal-16k"], "did you mean 'mmaudio-small-16k'"),
        (["--model", "mmaudio-small-16k", "--offline"], "weights pull mmaudio_small_16k"),
        (["--model", "mmaudio-small-16k:x"], "takes nothing behind a colon"),
        (["--model", "noise", "--device", "tpu"], "no such device"),
    ],
)
def test_mistakes_are_one_line_and_exit_with_two(
    v2abench: Run, videos: Path, tmp_path: Path, arguments: list[str], message: str
) -> None:
    shown = v2abench(
        "generate", *arguments, "--dataset", f"folder:{videos}", "--out", tmp_path / "out", "--workers", 0
    )
    assert shown.code == 2
    assert message in shown.err
    assert len(shown.err.strip().splitlines()) == 1
