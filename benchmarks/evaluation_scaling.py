"""Does memory stay flat as clips are added, and is a second evaluation free?

`python benchmarks/evaluation_scaling.py` makes short clips, evaluates them in
processes of their own, and prints:

- the peak memory of evaluating many clips over that of few (aim: within 1.10);
- the seconds of the second evaluation of the same run beyond start-up (aim: under 2 s
  for 500 clips), and the ratio to the first.

`--quick` uses fewer clips.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np

from v2abench.media.audio import Audio
from v2abench.media.writing import write_video

EVALUATE = "from v2abench.cli import main; main()"
START_UP = """
import v2abench.api, v2abench.cli.display
from v2abench.protocols.schema import load_protocol
protocol = load_protocol("light")
protocol.build_metrics()
for name in ("aisfx", "onsets", "motion", "levels", "speech", "pesq"):
    protocol.build_network(name)
"""
"""What any evaluation imports and builds before it looks at a clip."""


def make_clips(folder: Path, count: int) -> Path:
    """Write `count` videos of one second with noise as sound, all different."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    for index in range(count):
        frames = rng.integers(0, 255, (1, 8, 8, 3), dtype=np.uint8).repeat(25, 0).repeat(8, 1).repeat(8, 2)
        samples = (0.1 * rng.standard_normal((1, 16000))).astype(np.float32)
        write_video(folder / f"{index:05d}.mp4", frames, Fraction(25), Audio(samples, 16000))
    return folder


@dataclass(frozen=True)
class Usage:
    """What a process took: seconds on the wall, of processor with its children, peak memory in MB."""

    seconds: float
    processor: float
    peak: float


def run(code: str, home: Path, *arguments: str) -> Usage:
    """Run Python code in a process of its own, with its cache in `home`."""
    before = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-c", code, *arguments],
        env=os.environ | {"V2ABENCH_HOME": str(home)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        message = process.stderr.read().decode() if process.stderr else ""
        raise SystemExit(message)
    peak = usage.ru_maxrss / (1024 if sys.platform != "darwin" else 1024**2)
    return Usage(time.perf_counter() - before, usage.ru_utime + usage.ru_stime, peak)


def evaluate(dataset: str, home: Path, *options: str) -> Usage:
    """Evaluate the ground truth of `dataset` in this process's child, decoding there too."""
    fixed = ["--workers", "0", "--bootstrap", "0", "--output", str(home / "runs")]
    return run(EVALUATE, home, "eval", "--model", "ground-truth", "--dataset", dataset, *fixed, *options)


def evaluate_light(clips: Path, home: Path) -> Usage:
    """Evaluate a folder of clips under `light`."""
    return evaluate(f"folder:{clips}", home, "--protocol", "light")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="fewer clips")
    quick = parser.parse_args().quick
    few, many, again = (20, 200, 50) if quick else (200, 2000, 500)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        sets = {count: make_clips(folder / str(count), count) for count in sorted({few, many, again})}
        peaks = {count: evaluate_light(sets[count], folder / f"home{count}").peak for count in (few, many)}
        first = evaluate_light(sets[again], folder / "home").seconds
        second = evaluate_light(sets[again], folder / "home").seconds
        start = run(START_UP, folder / "home").seconds
    print(f"peak memory: {few} clips {peaks[few]:.0f} MB, {many} clips {peaks[many]:.0f} MB, ", end="")
    print(f"ratio {peaks[many] / peaks[few]:.3f}")
    print(f"{again} clips: first evaluation {first:.1f} s, second {second:.1f} s, ratio {first / second:.1f}")
    print(f"the second's start-up takes {start:.1f} s of that, what is beyond {second - start:.2f} s")


if __name__ == "__main__":
    main()
