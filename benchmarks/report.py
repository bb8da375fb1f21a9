"""One report of speed: metrics beside peers, extraction, decoding, store, generation, training, scaling.

    python benchmarks/report.py --output DIR

writes `DIR/report.md` and a CSV for each table in it, section after section, so that what was measured
stays where a later section fails. Ratios stand on turns within one run. Times are of processor, on a CPU;
OMP_NUM_THREADS sets the threads. `--quick` takes sizes that say nothing and shows that all of it runs.

The peers come from an environment of their own:

    python -m venv .venv/peers
    .venv/peers/bin/python -m pip install -r benchmarks/requirements-peers.txt
    python benchmarks/report.py --output DIR --peers .venv/peers/bin/python

Without `--peers`, those that are installed beside v2abench are compared, and the report names the others.
"""

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

from evaluation_scaling import Usage, evaluate
from generation_speed import measure as measure_generation
from machine import described
from metric_mathematics import mathematics
from metric_scaling import scaling
from protocol_throughput import decoding, throughput
from store_speed import store_speed
from tables import Row, Table
from training_step import measure as measure_training
from training_step import recipe_for

from v2abench.baselines.tiny_flow.model import open_tiny_flow
from v2abench.contracts import Request
from v2abench.errors import V2ABenchError
from v2abench.home import home
from v2abench.impacts.datasets import impacts_dataset
from v2abench.models import ModelContext, clip_seed

SECONDS = 4.0
"""Of an impacts clip."""


@dataclass(frozen=True)
class Wanted:
    """How large a report is: small sizes where `quick`, the networks of the papers only where `papers`."""

    quick: bool = False
    papers: bool = False
    peers: Path | None = None

    def sizes(self, quick: Sequence[int], full: Sequence[int]) -> Sequence[int]:
        """Return the sizes to measure."""
        return quick if self.quick else full


def extraction(wanted: Wanted) -> list[Table]:
    """Return extraction by protocol."""
    (count,) = wanted.sizes([2], [16])
    tables = [throughput("impacts", count), throughput("light", count)]
    return [*tables, throughput("mmaudio", 1)] if wanted.papers else tables


def clips(wanted: Wanted) -> list[Table]:
    """Return what `v2abench eval` takes as impacts clips are added, each time with a fresh feature store."""
    counts = wanted.sizes([2, 4], [16, 64, 256])
    impacts_dataset("train", max(counts), cache=home(), distractors=True)
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as folder:
        for count in counts:
            own = Path(folder) / str(count)
            own.mkdir()
            (own / "impacts").symlink_to(home() / "impacts", target_is_directory=True)
            first, second = (_evaluated(count, own) for _ in range(2))
            rows.append(
                {
                    "clips": count,
                    "first, CPU s": first.processor,
                    "CPU s a clip": first.processor / count,
                    "second, CPU s": second.processor,
                    "peak MB": first.peak,
                }
            )
    note = (
        "Ground truth under protocol `impacts`, command included; the second run finds all features stored."
    )
    return [Table("clips", "An evaluation against number of clips", rows, note)]


def _evaluated(count: int, own: Path) -> Usage:
    return evaluate("impacts:train", own, "--protocol", "impacts", "--limit", str(count), "--overwrite")


def generation(wanted: Wanted) -> list[Table]:
    """Return the real-time factors of tiny-flow: seconds of sound a processor second."""
    (count,) = wanted.sizes([2], [16])
    dataset = impacts_dataset("test", count, cache=home())
    requests = [Request(clip, SECONDS, clip_seed(0, clip.id)) for clip in dataset.clips]
    model = open_tiny_flow("", ModelContext(dataset))
    times = measure_generation(model, requests, time.process_time)
    names = ("all", "conditions", "sampling", "decoding")
    row: Row = {name: count * SECONDS / taken for name, taken in zip(names, times, strict=True)}
    return [Table("generation", "tiny-flow, seconds of sound a processor second", [row])]


def training(wanted: Wanted) -> list[Table]:
    """Return steps of Flow-DPO on tiny-flow beside their bare arithmetic."""
    (batch,) = wanted.sizes([2], [16])
    (repeats,) = wanted.sizes([1], [5])
    steps = measure_training("tiny-flow", recipe_for(batch, repeats), SECONDS, repeats)
    row = {
        "pairs": batch,
        "trained M": steps.trained,
        "step, CPU s": statistics.median(steps.ours),
        "bare step, CPU s": statistics.median(steps.bare),
        "ratio": statistics.median(steps.ratios),
        "peak GB": steps.peak_gb,
    }
    return [Table("training", "A training step of tiny-flow", [row])]


SECTIONS: dict[str, Callable[[Wanted], list[Table]]] = {
    "mathematics": lambda wanted: mathematics(wanted.peers, quick=wanted.quick),
    "rows": lambda wanted: scaling(wanted.sizes([20, 40], [100, 1000, 10_000])),
    "store": lambda wanted: store_speed(wanted.sizes([32], [1000, 10_000])),
    "decoding": lambda wanted: decoding(*wanted.sizes([1], [4])),
    "extraction": extraction,
    "clips": clips,
    "generation": generation,
    "training": training,
}


def measure(section: str, wanted: Wanted) -> list[Table]:
    """Measure one section."""
    return SECTIONS[section](wanted)


def measure_alone(section: str, wanted: Wanted) -> list[Table]:
    """Measure one section in a process of its own, so that its peak memory has no other's in it."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(measure, section, wanted).result()


def write_report(folder: Path, tables: Sequence[Table], *, quick: bool) -> None:
    """Write `report.md` over all tables so far."""
    head = ["# Speed, measured\n", f"{described()}.\n"]
    if quick:
        head.append("**Quick: the sizes are too small to conclude anything.**\n")
    text = "\n".join([*head, *(table.markdown() for table in tables)])
    (folder / "report.md").write_text(text, encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--output", type=Path, required=True, metavar="DIR")
    parser.add_argument("--quick", action="store_true", help="sizes that only show that it runs")
    parser.add_argument(
        "--peers", type=Path, metavar="PYTHON", help="interpreter where the peers are installed"
    )
    parser.add_argument("--only", nargs="+", choices=SECTIONS, default=list(SECTIONS), metavar="SECTION")
    parser.add_argument("--papers", action="store_true", help="also time the networks of `mmaudio`: minutes")
    chosen = parser.parse_args()
    chosen.output.mkdir(parents=True, exist_ok=True)
    wanted = Wanted(chosen.quick, chosen.papers, chosen.peers)
    tables: list[Table] = []
    try:
        for name in chosen.only:
            print(f"{name} ...", file=sys.stderr, flush=True)
            new = measure_alone(name, wanted)
            for table in new:
                table.write(chosen.output)
            tables += new
            write_report(chosen.output, tables, quick=chosen.quick)
    except V2ABenchError as error:
        raise SystemExit(str(error)) from error


if __name__ == "__main__":
    main()
