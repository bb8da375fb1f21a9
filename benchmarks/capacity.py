"""What an evaluation of many clips costs under a protocol: floating-point operations, time, storage.

`python benchmarks/capacity.py` takes one clip of ten seconds (360 x 480 H.264 at 25 frames a second, AAC)
through the networks of `--protocol` (default `mmaudio`) and prints Markdown tables:

- of each network: the operations of its device half, the bytes its features take in the store, and, for
  those named by `--time`, processor seconds, with deterministic weights;
- of each stream (generated, reference, video, text): decoding and preparing a file for all its networks;
- what `--clips` clips (default 15 221, the test set of VGGSound) cost for each number of `--models`.

Operations are those of matrix products, convolutions and attention, a multiplication and its addition
counted as two, which is nearly all of them; of audio and video networks they follow from shapes, without
arithmetic. Video, references and texts are done once, whatever the number of models. Hours on a GPU are
computed, not measured: operations over `--peak-tflops` x `--utilisation`.
"""

import argparse
import sys
import tempfile
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar
from unittest.mock import patch

import numpy as np
import torch
from extraction_passes import make_clips
from machine import described
from tables import Table
from timing import seconds_of
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode, sdpa_flop_count

from v2abench.clips import Dataset
from v2abench.contracts import STREAMS, Array, Stream
from v2abench.errors import ClipFault, V2ABenchError
from v2abench.features.extraction import Content, Job
from v2abench.features.plan import AnyNetwork, Plan, is_media, make_plan
from v2abench.features.preparing import prepare
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


@dataclass(frozen=True)
class NetworkCost:
    """What one network costs a clip: operations of its device half, its seconds where timed, bytes stored."""

    network: str
    streams: tuple[str, ...]
    flops: int
    seconds: float | None
    stored: float


@dataclass(frozen=True)
class StreamCost:
    """What a stream costs a clip: opening and preparing it, and all its networks."""

    stream: str
    prepared: float
    flops: int
    stored: float


@dataclass(frozen=True)
class Assumptions:
    """A GPU that nobody measured: its peak in 10^12 operations a second, and the share that is reached."""

    peak_tflops: float
    utilisation: float

    def hours(self, flops: float) -> float:
        """Return the hours that `flops` operations take."""
        return flops / (self.peak_tflops * 1e12 * self.utilisation) / 3600


def counted(work: Callable[[], Result]) -> tuple[Result, int]:
    """Return the result of `work` and the floating-point operations in it."""
    # PyTorch counts attention on GPUs, and leaves out the kernel of CPUs.
    attention = {torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: _attention_flops}
    counter = FlopCounterMode(display=False, custom_mapping=attention)
    fused = torch.backends.mha.get_fastpath_enabled()
    # The fused transformer layer is one operation to the counter, of unknown size.
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with counter:
            result = work()
    finally:
        torch.backends.mha.set_fastpath_enabled(fused)
    return result, counter.get_total_flops()


@contextmanager
def shapes_only() -> Iterator[str]:
    """Yield a device on which tensors have a shape and no values, so that counting takes no arithmetic.

    Inside, deterministic weights are zero, and so is what comes back from the device.
    """

    def no_weights(_name: str, shape: tuple[int, ...], _seed: int = 0) -> Tensor:
        return torch.zeros(shape)

    def back(tensor: Tensor) -> Tensor:
        return torch.zeros(tensor.shape, dtype=tensor.dtype)

    with (
        patch("v2abench.weights.deterministic.values", no_weights),
        patch.object(Tensor, "cpu", back),
    ):
        yield "meta"


def _attention_flops(query: Shape, key: Shape, value: Shape, *_rest: object, **_named: object) -> int:
    return int(sdpa_flop_count(query, key, value))


def network_costs(
    plan: Plan, contents: Mapping[Stream, Content], seconds: float, timed: Collection[str] = ()
) -> Iterator[NetworkCost]:
    """Yield what each network of `plan` costs on its stream's content; only those `timed` really run."""
    outputs: dict[str, Outputs] = {}
    for name, network in sorted(plan.networks.items(), key=lambda item: not is_media(item[1])):
        streams = tuple(s for s in STREAMS if name in plan.media[s]) or ("pair",)
        run = _runner(network, contents, streams[0], seconds, outputs)
        with shapes_only() if _follows_from_shapes(network) else nullcontext("cpu") as device:
            outputs[name], flops = counted(run(device))
        print(f"{name}: {flops / 1e9:.1f} GFLOP", file=sys.stderr, flush=True)
        taken = seconds_of(run("cpu")) if name in timed else None
        yield NetworkCost(name, streams, flops, taken, stored_bytes(network, outputs[name]))


def _follows_from_shapes(network: AnyNetwork) -> bool:
    """Text networks look at their mask, and pair networks have no device; both are small enough to run."""
    return is_media(network) and network.modality != "text"


def _runner(
    network: AnyNetwork,
    contents: Mapping[Stream, Content],
    stream: str,
    seconds: float,
    outputs: Mapping[str, Outputs],
) -> Callable[[str], Callable[[], Outputs]]:
    """Return what loads `network` onto a device and returns its work on one clip."""
    if not is_media(network):
        given = {
            stream: {name: outputs[name.partition(".")[0]][name.partition(".")[2]] for name in names}
            for stream, names in network.needs.items()
        }
        return lambda device: partial(network.load(device), given)
    (prepared,) = prepare(Job(contents[stream], (network,)), seconds)  # type: ignore[index]
    if isinstance(prepared, ClipFault):
        raise V2ABenchError(f"network {network.name!r} cannot use the benchmark's clip: {prepared}")

    def loaded(device: str) -> Callable[[], Outputs]:
        forward = network.load(device)
        return lambda: next(iter(forward([prepared])))

    return loaded


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
        flops, stored = sum(cost.flops for cost in own), sum(cost.stored for cost in own)
        streams.append(StreamCost(stream, prepared, flops, stored))
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
    prepared, flops, stored = (
        clips * sum(times[one.stream] * getattr(one, part) for one in streams)
        for part in ("prepared", "flops", "stored")
    )
    return StreamCost(f"{models}", prepared, int(flops), stored)


def network_table(costs: Sequence[NetworkCost]) -> Table:
    """Return the table of networks."""
    rows = [
        {
            "network": cost.network,
            "on": " and ".join(cost.streams),
            "GFLOP": cost.flops / 1e9,
            "CPU s": "not timed" if cost.seconds is None else cost.seconds,
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
            "store GB": whole.stored / 1e9,
        }
        for one in gpu:
            name = f"GPU h at {one.peak_tflops:g} TFLOPS x {one.utilisation:g}"
            row[name] = one.hours(whole.flops)
        rows.append(row)
    return Table("capacity_totals", f"{clips:,} clips".replace(",", " "), rows)


def measured(protocol: Protocol, timed: Sequence[str] = ()) -> tuple[list[NetworkCost], list[StreamCost]]:
    """Return what one clip costs under `protocol`, by network and by stream."""
    plan = plan_of(protocol)
    if unknown := set(timed) - plan.networks.keys():
        known = ", ".join(plan.networks)
        raise V2ABenchError(f"--time {' '.join(sorted(unknown))}: {protocol.name!r} has {known}")
    with tempfile.TemporaryDirectory() as folder, weights_mode("deterministic"):
        contents = contents_of(Path(folder))
        costs = list(network_costs(plan, contents, protocol.window.seconds, timed))
        return costs, stream_costs(plan, costs, contents, protocol.window.seconds)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--protocol", default="mmaudio")
    parser.add_argument("--time", nargs="+", default=[], metavar="NETWORK", help="run these, for their time")
    parser.add_argument("--clips", type=int, default=CLIPS)
    parser.add_argument("--models", type=int, nargs="+", default=[1, 11], metavar="N")
    parser.add_argument("--peak-tflops", type=float, nargs="+", default=[19.5, 312.0], metavar="TFLOPS")
    parser.add_argument("--utilisation", type=float, default=0.4, help="share of the peak that is reached")
    chosen = parser.parse_args()
    gpu = [Assumptions(peak, chosen.utilisation) for peak in chosen.peak_tflops]
    try:
        costs, streams = measured(load_protocol(chosen.protocol), chosen.time)
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
