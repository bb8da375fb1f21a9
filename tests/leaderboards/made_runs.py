"""Real runs of three models on six clips, as small as a gallery and a test of significance allow."""

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
from knocking import SAMPLE_RATE, knocks

from v2abench.api import Options, evaluate_models
from v2abench.leaderboards.significance import WrittenRun
from v2abench.media.audio import Audio
from v2abench.media.writing import write_audio, write_video

PROTOCOL = """
name: tiny
version: 1
summary: Metrics that need no weights, on two seconds.
window: {seconds: 2.0, minimum: 0.3, tolerance: 0.1}
networks:
  motion: {short_side: 32}
metrics:
  - {metric: frechet_distance, name: FD_levels, options: {embedding: levels.loudness}}
  - {metric: level_difference, name: Level-Diff}
  - {metric: loudness, name: Loudness}
"""

LOST = "clip-5"
"""The clip for which `quiet` has no sound."""

ODD = {"clip-1": "<img src=x onerror=alert(1)>", "clip-2": '"quoted" & <b>bold</b>'}
"""Prompts that would break out of a page that does not escape them."""


@dataclass(frozen=True)
class Made:
    """Where the runs lie, and the runs: `ground-truth`, `good`, `quiet`."""

    folder: Path
    home: Path
    runs: list[WrittenRun]


def make_runs(folder: Path, home: Path) -> Made:
    """Render the clips, make the sounds, evaluate; `home` is the cache."""
    lines = ["video\tid\tprompt\tlabel"]
    for index in range(6):
        name = f"clip-{index}"
        frames, audio = knocks(index)
        write_video(folder / "videos" / f"{name}.mp4", frames, Fraction(25), audio)
        write_audio(folder / "good" / f"{name}.wav", _changed(audio, 0.8, index))
        if name != LOST:
            write_audio(folder / "quiet" / f"{name}.wav", _changed(audio, 0.02, 100 + index))
        prompt = ODD.get(name, f"a block jumps, take {index}")
        lines.append(f"videos/{name}.mp4\t{name}\t{prompt}\t{'wood' if index % 2 else 'metal'}")
    (folder / "clips.tsv").write_text("\n".join(lines) + "\n")
    (folder / "tiny.yaml").write_text(PROTOCOL)
    models = ["ground-truth", f"good=folder:{folder / 'good'}", f"quiet=folder:{folder / 'quiet'}"]
    options = Options(output=folder / "runs", bootstrap=20)
    runs = evaluate_models(models, str(folder / "clips.tsv"), str(folder / "tiny.yaml"), options)
    return Made(folder, home, [WrittenRun(run.folder, run.report) for run in runs])


def _changed(audio: Audio, gain: float, seed: int) -> Audio:
    noise = np.random.default_rng(seed).standard_normal(audio.samples.shape)
    samples = gain * audio.samples + 0.01 * gain * noise
    return Audio(samples.astype(np.float32), SAMPLE_RATE)
