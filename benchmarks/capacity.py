"""What an evaluation of many clips costs under a protocol: floating-point operations, time, storage.

`python benchmarks/capacity.py` runs every network of `--protocol` (default `mmaudio`) with deterministic
weights on one clip of ten seconds (360 x 480 H.264 at 25 frames a second, AAC), and prints Markdown tables:

- of each network: the operations of its device half, the processor seconds of that, the bytes its features
  take in the store;
- of each stream (generated, reference, video, text): decoding and preparing a file for all its networks;
- what `--clips` clips (default 15 221, the test set of VGGSound) cost for one model and for `--models`.

Operations are those of matrix products, convolutions and attention, a multiplication and its addition
counted as two, which is nearly all of them. Video, references and texts are done once, whatever the number
of models. Hours on a GPU are computed, not measured: operations over `--peak-tflops` x `--utilisation`.
"""

import argparse
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from extraction_passes import make_clips
from machine import described
from tables import Table
from timing import seconds_of
from torch.utils.flop_counter import FlopCounterMode, sdpa_flop_count

from v2abench.clips import Dataset
from v2abench.contracts import STREAMS, Array, Network, PairNetwork, Stream
from v2abench.errors import ClipFault, V2ABenchError
from v2abench.features.extraction import Content, Job, prepare
from v2abench.features.plan import AnyNetwork, Plan, is_media, make_plan
from v2abench.features.store import Record, Store
from v2abench.protocols.schema import Protocol, load_protocol
from v2abench.weights.deterministic import weights_mode

Result = TypeVar("Result")
Outputs = Mapping[str, Array]
Shape = Sequence[int]

CLIPS = 15_221
TEXT = "A wooden ball strikes a metal plate."
PART = 16
"""Clips in a part of the store."""
LONG = 10.0
"""Seconds after which starting up no longer counts."""


@dataclass(frozen=True)
class NetworkCost:
    """What one network costs a clip: operations and processor seconds of its device half, bytes stored."""

    network: str
    streams: tuple[str, ...]
    flops: int
    seconds: float
    stored: float


@dataclass(frozen=True)
class StreamCost:
    """What a stream costs a clip: opening and preparing, and all its networks."""

    stream: str
    prepared: float
    flops: int
    seconds: float
    stored: float


@dataclass(frozen=True)
class Assumptions:
    """A GPU that nobody measured: its peak in 10^12 operations a second, and the share that is reached."""

    peak_tflops: float
    utilisation: float

    def hours(self, flops: float) -> float:
        """Return the hours that `flops` operations take."""
        return flops / (self.peak_tflops * 1e12 * self.utilisation) / 3600


def counted(work: Callable[[], Result]) -> tuple[Result, int, float]:
    """Return the result of `work`, the floating-point operations in it, and its processor seconds.

    Work that takes less than `LONG` is timed again, warm and uncounted.
    """
    # PyTorch counts attention on GPUs, and leaves out the kernel of CPUs.
    attention = {torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: _attention_flops}
    counter = FlopCounterMode(display=False, custom_mapping=attention)
    fused = torch.backends.mha.get_fastpath_enabled()
    # The fused transformer layer is one operation to the counter, of unknown size.
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with counter:
            start = time.process_time()
            result = work()
            seconds = time.process_time() - start
    finally:
        torch.backends.mha.set_fastpath_enabled(fused)
    if seconds < LONG:
        seconds = seconds_of(work)
    return result, counter.get_total_flops(), seconds


def _attention_flops(query: Shape, key: Shape, value: Shape, *_rest: object, **_named: object) -> int:
    return int(sdpa_flop_count(query, key, value))


def network_costs(
    plan: Plan, contents: Mapping[Stream, Content], seconds: float, only: Sequence[str] = ()
) -> Iterator[NetworkCost]:
    """Yield the costs of the networks of `plan`, or of `only` some, each run once on its stream's content.

    A network over two streams comes last, and is left out where one that it stands on is.
    """
    outputs: dict[str, Outputs] = {}
    for name, network in sorted(plan.networks.items(), key=lambda item: not is_media(item[1])):
        if only and name not in only:
            continue
        streams = tuple(s for s in STREAMS if name in plan.media[s]) or ("pair",)
        if is_media(network):
            outputs[name], flops, taken = _run(network, contents[streams[0]], seconds)  # type: ignore[index]
        elif _beneath(network) <= outputs.keys():
            outputs[name], flops, taken = _run_pair(network, outputs)
        else:
            continue
        yield NetworkCost(name, streams, flops, taken, stored_bytes(network, outputs[name]))


def _run(network: Network, content: Content, seconds: float) -> tuple[Outputs, int, float]:
    (given,) = prepare(Job(content, (network,)), seconds)
    if isinstance(given, ClipFault):
        raise V2ABenchError(f"network {network.name!r} cannot use the benchmark's clip: {given}")
    forward = network.load("cpu")
    (outputs,), flops, taken = counted(lambda: forward([given]))
    return outputs, flops, taken


def _run_pair(network: PairNetwork, outputs: Mapping[str, Outputs]) -> tuple[Outputs, int, float]:
    inputs = {
        stream: {name: outputs[name.partition(".")[0]][name.partition(".")[2]] for name in names}
        for stream, names in network.needs.items()
    }
    network.compute(inputs)  # Loads its weights.
    return counted(lambda: network.compute(inputs))


def _beneath(network: PairNetwork) -> set[str]:
    return {name.partition(".")[0] for names in network.needs.values() for name in names}


def stored_bytes(network: AnyNetwork, outputs: Outputs) -> float:
    """Return the bytes a clip that features like `outputs` take in the store, as noise: the most."""
    rng = np.random.default_rng(0)
    noise = [
        {name: rng.standard_normal(array.shape).astype(array.dtype) for name, array in outputs.items()}
        for _ in range(PART)
    ]
    records = [Record(f"{index:064x}:8.0", features) for index, features in enumerate(noise)]
    with tempfile.TemporaryDirectory() as folder:
        store = Store(Path(folder), network.features)
        store.write(records, {})
        return sum(part.stat().st_size for part in store.parts()) / PART


def stream_costs(
    plan: Plan, costs: Sequence[NetworkCost], contents: Mapping[Stream, Content], seconds: float
) -> list[StreamCost]:
    """Return the costs of the streams that `plan` uses, and of its pairs."""
    streams = []
    for stream in (*STREAMS, "pair"):
        own = [cost for cost in costs if stream in cost.streams]
        networks = tuple(n for n in map(plan.networks.__getitem__, (c.network for c in own)) if is_media(n))
        if not own:
            continue
        prepared = 0.0
        if networks:
            job = Job(contents[stream], networks)  # type: ignore[index]
            prepared = seconds_of(lambda job=job: prepare(job, seconds))
        flops, taken = sum(cost.flops for cost in own), sum(cost.seconds for cost in own)
        streams.append(StreamCost(stream, prepared, flops, taken, sum(cost.stored for cost in own)))
    return streams


def contents_of(folder: Path) -> dict[Stream, Content]:
    """Return a clip of ten seconds as content of all streams."""
    (clip,) = make_clips(folder, 1, scale=24)
    return {"generated": clip, "reference": clip, "video": clip, "text": Content.of_text(TEXT)}


def plan_of(protocol: Protocol) -> Plan:
    """Return the networks and streams of a protocol, whatever the clips."""
    return make_plan(protocol.build_metrics(), protocol, Dataset("none", "none", ()))


def totals(streams: Sequence[StreamCost], clips: int, models: int) -> StreamCost:
    """Return what `clips` clips cost for `models` models: the generated sounds of each, all else once."""
    times = {one.stream: models if one.stream in {"generated", "pair"} else 1 for one in streams}
    prepared, flops, seconds, stored = (
        clips * sum(times[one.stream] * getattr(one, part) for one in streams)
        for part in ("prepared", "flops", "seconds", "stored")
    )
    return StreamCost(f"{models}", prepared, int(flops), seconds, stored)


def network_table(costs: Sequence[NetworkCost]) -> Table:
    """Return the table of networks."""
    rows = [
        {
            "network": cost.network,
            "on": " and ".join(cost.streams),
            "GFLOP": cost.flops / 1e9,
            "CPU s": cost.seconds,
            "GFLOP/s": cost.flops / 1e9 / cost.seconds if cost.seconds else 0.0,
            "store kB": cost.stored / 1e3,
        }
        for cost in costs
    ]
    return Table("capacity_networks", "A clip, network by network", rows)


def stream_table(streams: Sequence[StreamCost]) -> Table:
    """Return the table of streams."""
    rows = [
        {
            "stream": one.stream,
            "decode and prepare, CPU s": one.prepared,
            "networks, TFLOP": one.flops / 1e12,
            "networks, CPU s": one.seconds,
            "store kB": one.stored / 1e3,
        }
        for one in streams
    ]
    return Table("capacity_streams", "A clip, stream by stream", rows)


def total_table(
    streams: Sequence[StreamCost], clips: int, models: Sequence[int], gpu: Sequence[Assumptions]
) -> Table:
    """Return the table of totals; hours on a GPU are computed from the assumptions."""
    rows = []
    for whole in (totals(streams, clips, count) for count in models):
        row: dict[str, object] = {
            "models": whole.stream,
            "decode and prepare, CPU h": whole.prepared / 3600,
            "networks, PFLOP": whole.flops / 1e15,
            "networks on one core, CPU h": whole.seconds / 3600,
            "store GB": whole.stored / 1e9,
        }
        for one in gpu:
            name = f"GPU h at {one.peak_tflops:g} TFLOPS x {one.utilisation:g}"
            row[name] = one.hours(whole.flops)
        rows.append(row)
    return Table("capacity_totals", f"{clips:,} clips".replace(",", " "), rows)


def measured(protocol: Protocol, only: Sequence[str] = ()) -> tuple[list[NetworkCost], list[StreamCost]]:
    """Run the networks of `protocol` on one clip; return the costs by network and by stream."""
    plan = plan_of(protocol)
    if unknown := set(only) - plan.networks.keys():
        known = ", ".join(plan.networks)
        raise V2ABenchError(f"--networks {' '.join(sorted(unknown))}: {protocol.name!r} has {known}")
    with tempfile.TemporaryDirectory() as folder, weights_mode("deterministic"):
        contents = contents_of(Path(folder))
        costs = list(network_costs(plan, contents, protocol.window.seconds, only))
        return costs, stream_costs(plan, costs, contents, protocol.window.seconds)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--protocol", default="mmaudio")
    parser.add_argument("--networks", nargs="+", default=[], metavar="NAME", help="only these")
    parser.add_argument("--clips", type=int, default=CLIPS)
    parser.add_argument("--models", type=int, nargs="+", default=[1, 11], metavar="N")
    parser.add_argument("--peak-tflops", type=float, nargs="+", default=[19.5, 312.0], metavar="TFLOPS")
    parser.add_argument("--utilisation", type=float, default=0.4, help="share of the peak that is reached")
    chosen = parser.parse_args()
    gpu = [Assumptions(peak, chosen.utilisation) for peak in chosen.peak_tflops]
    try:
        costs, streams = measured(load_protocol(chosen.protocol), chosen.networks)
    except V2ABenchError as error:
        raise SystemExit(str(error)) from error
    print(described())
    for table in (
        network_table(costs),
        stream_table(streams),
        total_table(streams, chosen.clips, chosen.models, gpu),
    ):
        print(table.markdown())


if __name__ == "__main__":
    main()
