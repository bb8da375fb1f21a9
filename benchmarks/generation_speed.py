"""How fast does tiny-flow make sound?

`python benchmarks/generation_speed.py` renders test clips of impacts, generates their sound at the
default sampling, clip by clip as on every CPU, with one thread and with two, and prints the real-time factor
(seconds of sound a second of work) as a Markdown table: of all, and of its three parts: conditions
(decoding the video and the video encoder), sampling (the flow), and decoding (the spectrogram and
Griffin-Lim). Each is the median of three rounds. `--processor-time` counts the seconds of processor instead,
one thread only: for machines that are not quiet.
"""

import argparse
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import torch
from timing import Clock, seconds_of

from v2abench.baselines.tiny_flow.model import TinyFlow, open_tiny_flow
from v2abench.contracts import Request
from v2abench.errors import ClipFault
from v2abench.impacts.datasets import impacts_dataset
from v2abench.models import ModelContext, clip_seed
from v2abench.sampling import noise_for, sample_latents, stack


def measure(model: TinyFlow, requests: Sequence[Request], clock: Clock) -> list[float]:
    """Return the seconds of everything, conditions, sampling and decoding, for all requests."""
    batches = [[request] for request in requests]
    told = [[c for c in model.condition(b) if not isinstance(c, ClipFault)] for b in batches]
    shape = model.latent_shape(requests[0].seconds)
    starts = [torch.stack([noise_for(r.seed, shape) for r in batch]) for batch in batches]

    def sample() -> list[torch.Tensor]:
        return [sample_latents(model, stack(c, "cpu"), x) for c, x in zip(told, starts, strict=True)]

    latents = sample()
    return [
        seconds_of(lambda: list(model.generate(requests)), clock),
        seconds_of(lambda: [model.condition(batch) for batch in batches], clock),
        seconds_of(sample, clock),
        seconds_of(lambda: [model.decode(one) for one in latents], clock),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--clips", type=int, default=16)
    parser.add_argument("--processor-time", action="store_true")
    arguments = parser.parse_args()
    clock = time.process_time if arguments.processor_time else time.perf_counter
    with tempfile.TemporaryDirectory() as folder:
        dataset = impacts_dataset("test", arguments.clips, cache=Path(folder))
        requests = [Request(clip, 4.0, clip_seed(0, clip.id)) for clip in dataset.clips]
        model = open_tiny_flow("", ModelContext(dataset))
        sound = sum(request.seconds for request in requests)
        print("| threads | all | conditions | sampling | decoding |")
        print("| --- | --- | --- | --- | --- |")
        for threads in (1,) if arguments.processor_time else (1, 2):
            torch.set_num_threads(threads)
            factors = " | ".join(f"{sound / one:.1f}×" for one in measure(model, requests, clock))
            print(f"| {threads} | {factors} |", flush=True)


if __name__ == "__main__":
    main()
