"""Values and times of FD, KID, IS and KL beside SciPy, torchmetrics and torch-fidelity.

All get the same float64 arrays and take turns within one run, with as many threads each; times are
medians of processor time. Draws are the same or there are none: torch-fidelity draws as we do; torchmetrics
draws as it likes, and gets whole sets as its one subset (KID) and as its one split (IS). SciPy stands for the
field's usual lines: `sqrtm` of the product of covariances for FD, `scipy.stats.entropy` for KL.
torchmetrics and torch-fidelity run in an interpreter of their own, `peers.py`.
"""

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import scipy.special
import scipy.stats
from frechet_speed import Floats, distance_by_sqrtm, samples
from tables import Row, Table

from v2abench.errors import V2ABenchError
from v2abench.metrics.frechet import frechet_distance
from v2abench.metrics.inception import inception_score
from v2abench.metrics.kernel import kernel_inception_distance
from v2abench.metrics.kl import softmax_divergences

CLASSES = 527
NOTE = (
    "Processor seconds, medians of turns within one run; `ratio` is peer / ours, above 1 where ours is "
    "faster; `difference` is relative, of values."
)

Options = Mapping[str, int]
Sides = tuple[Floats, Floats]
Timed = tuple[float, float]
"""Value and processor seconds."""


@dataclass(frozen=True)
class Case:
    """One comparison: `n` samples a side in `d` dimensions."""

    metric: str
    peer: str
    n: int
    d: int
    options: Options


def cases(*, quick: bool) -> list[Case]:
    """Return the comparisons, small ones where `quick`."""
    found = []
    for n, d in [(200, 64)] if quick else [(2000, 512), (4000, 2048)]:
        found += [Case("FD", peer, n, d, {}) for peer in ("scipy", "torchmetrics", "torch-fidelity")]
    for n, d in [(200, 64)] if quick else [(2000, 512)]:
        subset = n // 2
        found.append(Case("KID", "torchmetrics", n, d, {"subsets": 1, "subset_size": n}))
        found.append(Case("KID", "torch-fidelity", n, d, {"subsets": 10, "subset_size": subset}))
        found.append(
            Case("KID", "torch-fidelity", n, d, {"subsets": 5 if quick else 100, "subset_size": subset})
        )
    for n in [200] if quick else [10_000]:
        found.append(Case("IS", "torchmetrics", n, CLASSES, {"splits": 1}))
        found.append(Case("IS", "torch-fidelity", n, CLASSES, {"splits": 10}))
        found += [Case("KL", peer, n, CLASSES, {}) for peer in ("scipy", "torchmetrics")]
    return found


def sides_of(case: Case) -> Sides:
    """Return the generated and the reference side: embeddings, or logits."""
    if case.metric in {"FD", "KID"}:
        return samples(case.n, case.d, steep=False)
    rng = np.random.default_rng([case.n, case.d])
    return 2 * rng.standard_normal((case.n, case.d)), 2 * rng.standard_normal((case.n, case.d))


def ours(metric: str, sides: Sides, options: Options) -> float:
    """Return our value."""
    generated, reference = sides
    if metric == "FD":
        return frechet_distance(generated, reference)
    if metric == "KID":
        return kernel_inception_distance(generated, reference, **options)[0]
    if metric == "IS":
        return inception_score(generated, **options)[0]
    return float(softmax_divergences(reference, generated).mean())


def by_scipy(metric: str, sides: Sides) -> float:
    """Return the value of the field's usual lines of SciPy."""
    generated, reference = sides
    if metric == "FD":
        return distance_by_sqrtm(generated, reference)
    p, q = (scipy.special.softmax(side, axis=1) for side in (reference, generated))
    return float(scipy.stats.entropy(p, q, axis=1).mean())


def timed(work: Callable[[], float]) -> Timed:
    start = time.process_time()
    value = work()
    return value, time.process_time() - start


@dataclass(frozen=True)
class PeerProcess:
    """The running `peers.py`, and the versions of what is installed beside it."""

    process: subprocess.Popen[str]
    versions: Mapping[str, str | None]
    folder: Path

    def ask(self, case: Case, sides: Sides) -> Timed:
        """Return the peer's value and its processor seconds."""
        arrays = self.folder / "arrays.npz"
        np.savez(arrays, generated=sides[0], reference=sides[1])
        request = {"peer": case.peer, "metric": case.metric, "arrays": str(arrays)}
        reply = _exchange(self.process, json.dumps({**request, "options": dict(case.options)}))
        return reply["value"], reply["seconds"]


@contextmanager
def peer_process(interpreter: Path | None) -> Iterator[PeerProcess]:
    """Start `peers.py` in `interpreter`, or in this one.

    Raises `V2ABenchError` where an interpreter that was named does not start or lacks a peer.
    """
    script = Path(__file__).with_name("peers.py")
    command = [str(interpreter or sys.executable), str(script)]
    try:
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=os.environ
        )
    except OSError as error:
        raise V2ABenchError(f"--peers {interpreter}: {error.strerror}; name a Python interpreter") from error
    with TemporaryDirectory() as folder, process:
        versions = _exchange(process)
        missing = [peer for peer, found in versions.items() if not found]
        if interpreter and missing:
            process.kill()
            raise V2ABenchError(
                f"--peers {interpreter}: {', '.join(missing)} not installed there; "
                "install benchmarks/requirements-peers.txt"
            )
        yield PeerProcess(process, versions, Path(folder))
        if process.stdin:
            process.stdin.close()


def _exchange(process: subprocess.Popen[str], request: str = "") -> dict[str, Any]:
    if not process.stdin or not process.stdout:
        raise ValueError("the process of the peers has no pipes")
    if request:
        print(request, file=process.stdin, flush=True)
    line = process.stdout.readline()
    if not line:
        raise V2ABenchError("the process of the peers ended; what it wrote before says why")
    answer: dict[str, Any] = json.loads(line)
    return answer


def compared(case: Case, peers: PeerProcess, rounds: int) -> Row:
    """Return one row: ours and the peer's in turn, after one round that does not count."""
    sides = sides_of(case)
    mine, theirs = [], []
    for _ in range(rounds + 1):
        mine.append(timed(lambda: ours(case.metric, sides, case.options)))
        by_peer = (
            timed(lambda: by_scipy(case.metric, sides)) if case.peer == "scipy" else peers.ask(case, sides)
        )
        theirs.append(by_peer)
    value, peer_value = mine[0][0], theirs[0][0]
    seconds, peer_seconds = (statistics.median(t for _, t in side[1:]) for side in (mine, theirs))
    return {
        "metric": case.metric,
        "peer": case.peer,
        "n": case.n,
        "d": case.d,
        "options": ", ".join(f"{name} {number}" for name, number in case.options.items()) or "none",
        "ours": value,
        "theirs": peer_value,
        "difference": abs(value - peer_value) / abs(peer_value),
        "ours s": seconds,
        "theirs s": peer_seconds,
        "ratio": peer_seconds / seconds,
    }


def mathematics(interpreter: Path | None, *, quick: bool) -> list[Table]:
    """Return the table of comparisons; peers that are not installed are named in its note."""
    with peer_process(interpreter) as peers:
        versions = {"scipy": scipy.__version__, **peers.versions}
        wanted = [case for case in cases(quick=quick) if versions[case.peer]]
        rows = [compared(case, peers, 1 if quick else 3) for case in wanted]
    return [Table("mathematics", "Metric mathematics beside peers", rows, f"{NOTE} {_said(versions)}")]


def _said(versions: Mapping[str, str | None]) -> str:
    missing: Sequence[str] = [peer for peer, found in versions.items() if not found]
    there = ", ".join(f"{peer} {found}" for peer, found in versions.items() if found)
    without = f" Not installed and so not compared: {', '.join(missing)} (`--peers`)." if missing else ""
    return f"Peers: {there}.{without}"
