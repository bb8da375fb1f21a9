"""One guided denoising step of MMAudio small-16k, beside two plain passes of the same network.

The plain way runs the network once with the conditions and once with the empty ones;
ours runs it once on both. Batch of 4 clips of 8 s, deterministic weights, conditions
embedded beforehand for both. The two take turns in one process; medians of `--repeats`
count, of processor time on the CPU, which other work on the machine does not change, and
the values are compared. `--precision bfloat16` runs both under autocast. Run as

    OMP_NUM_THREADS=2 python benchmarks/denoising_step.py
"""

import argparse
import platform
import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor

from v2abench.baselines.mmaudio.model import MMAudio
from v2abench.baselines.mmaudio.variants import VARIANTS
from v2abench.clips import Dataset
from v2abench.models import GenerationOptions, ModelContext
from v2abench.sampling import guided
from v2abench.weights.deterministic import weights_mode

SECONDS = 8.0
SCALE = 4.5

Step = Callable[[Tensor, Tensor], Tensor]


def conditions(batch: int, seed: int = 0) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    shapes = {"clip": (64, 1024), "sync": (192, 768), "text": (77, 1024)}
    return {name: torch.randn(batch, *shape, generator=generator) for name, shape in shapes.items()}


def plain(model: MMAudio, given: dict[str, Tensor]) -> Step:
    """Two passes a step, as a straightforward sampler makes them."""
    told, empty = model.embed(given), model.embed(model.empty(given))

    def step(x: Tensor, t: Tensor) -> Tensor:
        without = model.velocity(x, t, empty)
        return without + SCALE * (model.velocity(x, t, told) - without)

    return step


def timed(step: Step, x: Tensor, t: Tensor) -> tuple[float, Tensor]:
    clock = time.perf_counter if x.is_cuda else time.process_time
    start = clock()
    velocity = step(x, t)
    if x.is_cuda:
        torch.cuda.synchronize()
    return clock() - start, velocity


@torch.inference_mode()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--precision", default="float32", choices=["float32", "bfloat16", "float16"])
    parser.add_argument("--quick", action="store_true", help="one clip, one repeat")
    chosen = parser.parse_args()
    batch, repeats = (1, 1) if chosen.quick else (chosen.batch, chosen.repeats)
    options = GenerationOptions(precision=chosen.precision)
    with weights_mode("deterministic"):
        model = MMAudio(
            VARIANTS["mmaudio-small-16k"],
            ModelContext(Dataset("none", "none", ()), chosen.device, options=options),
        )
        given = {name: tensor.to(chosen.device) for name, tensor in conditions(batch).items()}
        steps = {"ours": guided(model, given, SCALE), "plain": plain(model, given)}
    x = torch.randn(batch, *model.latent_shape(SECONDS), generator=torch.Generator().manual_seed(1))
    x, t = x.to(chosen.device), torch.full((batch,), 0.37, device=chosen.device)
    values = {name: timed(step, x, t)[1] for name, step in steps.items()}
    times: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(repeats):
        for name, step in steps.items():
            times[name].append(timed(step, x, t)[0])
    medians = {name: statistics.median(found) for name, found in times.items()}
    ratios = [b / a for a, b in zip(times["ours"], times["plain"], strict=True)]
    difference = (values["ours"] - values["plain"]).abs().max() / values["plain"].abs().max()
    print(
        f"{platform.machine()}, {chosen.device}, {torch.get_num_threads()} threads, torch {torch.__version__}"
    )
    print(f"batch {batch}, {chosen.precision}: ours {medians['ours']:.3f} s, plain {medians['plain']:.3f} s")
    print(
        f"plain / ours: {statistics.median(ratios):.2f} (each turn: {', '.join(f'{r:.2f}' for r in ratios)})"
    )
    print(f"largest difference of velocities: {difference:.1e} of the largest")


if __name__ == "__main__":
    main()
