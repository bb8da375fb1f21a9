"""How the benchmarks take times: medians of rounds, of processor time unless told otherwise.

Processor time is what work costs; on a machine that is not quiet it stays where it is,
while the clock on the wall does not. It counts the threads of this process and none of its children.
"""

import statistics
import time
from collections.abc import Callable

Clock = Callable[[], float]

ROUNDS = 3


def seconds_of(work: Callable[[], object], clock: Clock = time.process_time, rounds: int = ROUNDS) -> float:
    """Return the median time that `work` takes."""
    times = []
    for _ in range(rounds):
        start = clock()
        work()
        times.append(clock() - start)
    return statistics.median(times)
