"""Does the memory of a set metric stay bounded as clips are added?

`python benchmarks/set_metric_memory.py` stores random features of 2048 dimensions for
both sides, reads them back and computes FD with an interval of two resamples, in processes of
their own, and prints for each number of clips the seconds and the most memory that was
the process's own: what is mapped from disk can be taken back by the system, and is not
counted. Linux only.

`--metric KAD` or `IS` takes another metric, `--clips` other numbers, `--bootstrap` other resamples.
"""

import argparse
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np

from v2abench.contracts import Bootstrap, Features, Stream
from v2abench.features.store import Record, Store
from v2abench.metrics.frechet import FrechetDistance
from v2abench.metrics.inception import InceptionScore
from v2abench.metrics.kernel import KernelAudioDistance

METRICS = {
    "FD": FrechetDistance("FD", "e"),
    "IS": InceptionScore("IS", "e"),
    "KAD": KernelAudioDistance("KAD", "e"),
}
SIDES: tuple[Stream, ...] = ("generated", "reference")
DIMENSIONS, BATCH = 2048, 16


def fill(folder: Path, clips: int) -> None:
    """Store both sides as an evaluation does, a part for each batch."""
    for seed, side in enumerate(SIDES):
        rng = np.random.default_rng(seed)
        for start in range(0, clips, BATCH):
            rows = rng.standard_normal((min(BATCH, clips - start), DIMENSIONS), np.float32)
            records = [Record(f"{start + n:06d}", {"e": row}) for n, row in enumerate(rows)]
            Store(folder / side, ("e",)).write(records, {})


def own_megabytes() -> float:
    """The memory of this process that no file stands behind."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) / 1024
    raise SystemExit("this system does not say which memory is a process's own")


def measure(folder: Path, clips: int, metric: str, resamples: int) -> None:
    """Read and compute, watching the memory; print a row."""
    peak = before = own_megabytes()

    def watch() -> None:
        nonlocal peak
        while True:
            peak = max(peak, own_megabytes())
            time.sleep(0.02)

    threading.Thread(target=watch, daemon=True).start()
    start = time.perf_counter()
    keys = [f"{n:06d}" for n in range(clips)]
    features: Features = {
        side: {"e": {k: r.features["e"] for k, r in Store(folder / side, ("e",)).read(keys).items()}}
        for side in SIDES
    }
    METRICS[metric].compute(features, Bootstrap(resamples) if resamples else None)
    seconds = time.perf_counter() - start
    print(f"| {clips} | {metric} | {seconds:.0f} | {before:.0f} | {peak:.0f} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--clips", type=int, nargs="+", default=[5000, 15_000, 30_000])
    parser.add_argument("--metric", choices=sorted(METRICS), default="FD")
    parser.add_argument("--bootstrap", type=int, default=2)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.folder:
        measure(given.folder, given.clips[0], given.metric, given.bootstrap)
        return
    print(
        "| clips | metric | seconds | MB before | MB at most |\n| --- | --- | --- | --- | --- |", flush=True
    )
    for clips in given.clips:
        with tempfile.TemporaryDirectory() as name:
            fill(Path(name), clips)
            again = [sys.executable, __file__, "--folder", name, "--clips", str(clips)]
            again += ["--metric", given.metric, "--bootstrap", str(given.bootstrap)]
            subprocess.run(again, check=True)


if __name__ == "__main__":
    main()
