"""What does it bring to open a file once for all audio networks of the papers' protocol?

The reference decodes and resamples every file again for each network. `python
benchmarks/extraction_passes.py` makes clips of ten seconds (H.264 and AAC, 44.1 kHz
stereo) and compares, in one process and with the same networks, weights and threads:

- everything: all networks in one pass over the files, against one pass a network;
- preparation: only what a file costs before the networks' weights see it (decoding,
  resampling, spectrograms), in one pass against one a network;
- decoding: only opening, decoding and mixing.

The networks have deterministic weights. `--device` says where their device half runs:
on a CPU it outweighs the rest, on a GPU the rest is what takes the time. It also prints
the processor seconds a clip that each network takes alone.
"""

import argparse
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import torch
from timing import seconds_of

from v2abench import registry
from v2abench.contracts import Network
from v2abench.features.contents import hash_contents
from v2abench.features.extraction import Content, Extractor, Job
from v2abench.features.preparing import prepare
from v2abench.media.audio import Audio
from v2abench.media.reading import read_media
from v2abench.media.writing import write_video
from v2abench.protocols.schema import Window
from v2abench.weights.deterministic import weights_mode

NETWORKS = ("passt", "cnn14", "vggish", "clap_audio", "imagebind_audio", "synchformer_audio")
SECONDS = 8.0
RATE = 44100


@dataclass(frozen=True)
class Timing:
    """Seconds of one way and of the other, medians over the repeats."""

    together: float
    apart: float

    @property
    def ratio(self) -> float:
        """How many times longer apart takes."""
        return self.apart / self.together


def make_clips(folder: Path, count: int, scale: int = 16) -> list[Content]:
    """Write `count` videos of ten seconds, all different: bursts of noise over slow pictures.

    Pictures are 15 x 20 squares of `scale` pixels.
    """
    paths = []
    for index in range(count):
        rng = np.random.default_rng(index)
        loud = np.repeat(rng.uniform(0, 0.3, 50), 10 * RATE // 50)
        samples = (loud * rng.standard_normal((2, 10 * RATE))).astype(np.float32)
        pictures = rng.integers(0, 255, (10, 15, 20, 3), dtype=np.uint8)
        frames = pictures.repeat(25, 0).repeat(scale, 1).repeat(scale, 2)
        path = folder / f"{index:03d}.mp4"
        write_video(path, frames, Fraction(25), Audio(samples, RATE))
        paths.append(path)
    return [content for content in hash_contents(paths).values() if isinstance(content, Content)]


def compared(work: Callable[[Sequence[Network]], None], networks: Sequence[Network], repeats: int) -> Timing:
    """Time `work` for all networks together and for one after the other, in turn."""
    taken: dict[bool, list[float]] = {True: [], False: []}
    for _ in range(repeats):
        for together, groups in ((True, [networks]), (False, [[network] for network in networks])):
            start = time.perf_counter()
            for group in groups:
                work(group)
            taken[together].append(time.perf_counter() - start)
    return Timing(statistics.median(taken[True]), statistics.median(taken[False]))


def everything(extractor: Extractor, networks: Sequence[Network], contents: Sequence[Content]) -> None:
    """Extract all features into a store of its own."""
    with tempfile.TemporaryDirectory() as name:
        replace(extractor, root=Path(name)).extract(dict.fromkeys(networks, contents), "measure")


def alone(extractor: Extractor, network: Network, contents: Sequence[Content]) -> float:
    """Return the processor seconds a content that one network takes by itself, its weights loaded before."""
    everything(extractor, [network], contents[:1])
    return seconds_of(lambda: everything(extractor, [network], contents), rounds=1) / len(contents)


def preparation(networks: Sequence[Network], contents: Sequence[Content]) -> None:
    """Do what workers do: open each file and prepare it for all `networks`."""
    for content in contents:
        prepare(Job(content, tuple(networks)), SECONDS)


def decoding(contents: Sequence[Content]) -> None:
    """Open each file and decode its sound."""
    for content in contents:
        read_media(content.path, seconds=SECONDS, sound=True, frames=[])


def measure(names: Sequence[str], count: int, repeats: int, device: str) -> None:
    networks = [registry.load("networks", name)() for name in names]
    with tempfile.TemporaryDirectory() as name, weights_mode("deterministic"):
        contents = make_clips(Path(name), count)
        extractor = Extractor(Path(name), Window(seconds=SECONDS, minimum=0.5, tolerance=0.1), device=device)
        everything(extractor, networks, contents[:1])
        print("processor seconds a clip, alone:")
        for network in networks:
            print(f"  {network.name}: {alone(extractor, network, contents):.2f}")
        works: dict[str, Callable[[Sequence[Network]], None]] = {
            "decoding": lambda _networks: decoding(contents),
            "preparation": lambda some: preparation(some, contents),
            "everything": lambda some: everything(extractor, some, contents),
        }
        for what, work in works.items():
            report(what, compared(work, networks, repeats), count)


def report(what: str, timing: Timing, count: int) -> None:
    print(
        f"{what}: together {timing.together / count:.2f} s a clip, apart {timing.apart / count:.2f}, "
        f"ratio {timing.ratio:.2f}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--clips", type=int, default=16)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--networks", nargs="+", default=list(NETWORKS), metavar="NAME")
    arguments = parser.parse_args()
    print(
        f"{platform.machine()}, {os.cpu_count()} cores, {torch.get_num_threads()} threads, {arguments.device}"
    )
    print(f"torch {torch.__version__}, {arguments.clips} clips of 10 s, window {SECONDS} s")
    measure(arguments.networks, arguments.clips, arguments.repeats, arguments.device)


if __name__ == "__main__":
    main()
