"""How fast our Fréchet distance is beside the usual one, which takes scipy.linalg.sqrtm.

Both get the same samples and the same threads, in turn, in one process; the best
of `--repeats` counts. `white` samples have equal variances, where eigenvalues may
stand in for singular values; the variances of `steep` ones fall as 1/i², where
they may not. Run as

    OMP_NUM_THREADS=1 python benchmarks/frechet_speed.py
"""

import argparse
import contextlib
import io
import os
import platform
import time
from collections.abc import Callable

import numpy as np
import scipy
import scipy.linalg
from numpy.typing import NDArray

from v2abench.metrics.frechet import frechet_distance
from v2abench.metrics.frechet_statistics import FrechetStatistics

Floats = NDArray[np.float64]

FULL = ((2000, 2048), (4000, 2048), (2000, 768))
QUICK = ((200, 256), (400, 256), (200, 96))


def distance_by_sqrtm(generated: Floats, reference: Floats) -> float:
    """The field's way: covariances, matrix square root, real part of its trace."""
    offset = generated.mean(axis=0) - reference.mean(axis=0)
    first, second = np.cov(generated, rowvar=False), np.cov(reference, rowvar=False)
    # Before 1.18, SciPy prints where a matrix is singular.
    with contextlib.redirect_stdout(io.StringIO()):
        root = scipy.linalg.sqrtm(first @ second)
        if not np.isfinite(root).all():
            ridge = 1e-6 * np.eye(len(first))
            root = scipy.linalg.sqrtm((first + ridge) @ (second + ridge))
    return float(offset @ offset + np.trace(first) + np.trace(second) - 2 * np.trace(root).real)


def timed(function: Callable[[], float]) -> tuple[float, float]:
    start = time.perf_counter()
    value = function()
    return time.perf_counter() - start, value


def samples(n: int, d: int, *, steep: bool) -> tuple[Floats, Floats]:
    rng = np.random.default_rng([n, d])
    scale = 1 / np.arange(1, d + 1) if steep else np.ones(d)
    return rng.standard_normal((n, d)) * scale, (1.1 * rng.standard_normal((n, d)) + 0.05) * scale


def row(n: int, d: int, repeats: int, *, steep: bool) -> str:
    generated, reference = samples(n, d, steep=steep)
    ours, peers = [], []
    for _ in range(repeats):
        ours.append(timed(lambda: frechet_distance(generated, reference)))
        peers.append(timed(lambda: distance_by_sqrtm(generated, reference)))
    statistics = FrechetStatistics.of(generated, reference)
    counts = np.bincount(np.random.default_rng(0).integers(n, size=n), minlength=n).astype(float)
    statistics.distance(counts, counts, replicate=True)
    replicate = timed(lambda: statistics.distance(counts, counts, replicate=True))[0]
    (our_time, value), (peer_time, peer_value) = min(ours), min(peers)
    difference = abs(value - peer_value) / abs(peer_value)
    spectrum = "steep" if steep else "white"
    return (
        f"{n:>5} {d:>5}  {spectrum}  {our_time:>8.3f}  {peer_time:>8.3f}  {peer_time / our_time:>5.1f}x"
        f"  {difference:>10.1e}  {replicate:>9.3f}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="small sizes, a second in all")
    parser.add_argument("--repeats", type=int, default=2, help="the best of so many runs counts (default 2)")
    options = parser.parse_args()
    threads = os.environ.get("OMP_NUM_THREADS", f"all of {os.cpu_count()}")
    print(f"{platform.machine()}, {threads} threads, NumPy {np.__version__}, SciPy {scipy.__version__}")
    print("    n     d  values     ours s   sqrtm s   ratio  difference  replicate s", flush=True)
    for steep in (False, True):
        for n, d in QUICK if options.quick else FULL:
            print(row(n, d, options.repeats, steep=steep), flush=True)


if __name__ == "__main__":
    main()
