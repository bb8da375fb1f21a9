"""Work on a Ray cluster, by Ray Data: its scheduling, its backpressure, its retries.

Extraction is one pipeline: tasks open each file once and make the inputs of every network;
then each network has a pool of actors, which load it once, take their column of a batch,
write what it says as one part of the store, and hand the rest on. Networks without
a checkpoint share a pool, for a process costs more than they do. Models are actors too.
All machines must see the same `V2ABENCH_HOME`, media and output folder.
"""

from __future__ import annotations

import logging
import math
import os
import socket
import warnings
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import ray
import ray.data
import ray.exceptions
import ray.util.annotations

from v2abench.contracts import Array, Network
from v2abench.engines.contract import ItemT, ResultT, Surroundings, Work
from v2abench.errors import V2ABenchError
from v2abench.features.extraction import memory, refuse_passing_faults
from v2abench.features.preparing import prepare

if TYPE_CHECKING:
    from v2abench.features.extraction import Extractor, Job

Batch = Mapping[str, Array]

RETRIES: Mapping[str, Any] = {"max_restarts": 3, "max_task_retries": 3}
"""Of an actor that dies, on the whole and for one batch: enough for bad luck, an end for bad input.

Ray Data's own retries never end. From 2.64 on it takes no others, so that `pyproject.toml` stays below.
"""

ITEMS_A_BATCH = 16
"""Clips that a model's actor is given at once, and loses if it dies."""


@dataclass(frozen=True)
class Boxed:
    """A Python object as Ray Data leaves it alone: neither list nor array."""

    content: Any


@dataclass(frozen=True)
class Pool:
    """What each actor of a pool needs, and how many there may be."""

    need: Mapping[str, Any]
    most: int


@dataclass(frozen=True)
class RayEngine:
    """The engine of a cluster with so many CPUs, and GPUs (0: none, or none wanted).

    `share` is what an actor gets of a GPU; None: a whole one for a model, and for networks
    what lets all of a pass be on one.
    """

    devices: tuple[str, ...]
    cpus: float
    gpus: float
    share: float | None = None
    elsewhere: bool = True

    def map(self, work: Work[ItemT, ResultT], items: Sequence[ItemT]) -> Iterator[ResultT]:
        """See `Engine`."""
        pool = self._pool(1)
        size = max(1, min(ITEMS_A_BATCH, math.ceil(len(items) / pool.most)))
        rows = ray.data.from_items(
            [{"item": Boxed(item)} for item in items], override_num_blocks=math.ceil(len(items) / size)
        )
        results = _through(rows, Worker, (work, Surroundings(), self._device), size, pool)
        for batch in _batches(results):
            for boxed in batch["results"]:
                yield from boxed.content

    def extract(self, extractor: Extractor, jobs: Sequence[Job]) -> Iterator[int]:
        """See `Engine`."""
        surroundings, here = Surroundings(), extractor.here(self._device)
        groups = pools_of({network for job in jobs for network in job.networks})
        pool = self._pool(len(groups))
        rows = ray.data.from_items(
            [{"job": Boxed(job)} for job in jobs], override_num_blocks=math.ceil(len(jobs) / 4)
        )
        names = [network.name for group in groups for network in group]
        prepared = partial(_prepared, here, surroundings, names)
        table = rows.map(prepared, num_cpus=min(1, self.cpus / 2))
        for group in groups:
            size = min(extractor.clips_at_once(network) for network in group)
            table = _through(table, NetworkWorker, (here, group, surroundings), size, pool)
        return (len(batch["key"]) for batch in _batches(table))

    @property
    def _device(self) -> str:
        return "cuda" if self.gpus else "cpu"

    def _pool(self, kinds: int) -> Pool:
        """The pool of each kind of actor, where there are so many kinds.

        The least of all kinds together leave half of the CPUs to what opens files.
        """
        if self.gpus:
            share = self.share or math.floor(100 / kinds) / 100
            return Pool({"num_gpus": share}, max(1, math.floor(self.gpus / share)))
        return Pool({"num_cpus": min(1, self.cpus / 2 / kinds)}, max(1, math.floor(self.cpus)))


def _through(
    table: ray.data.Dataset,
    actor: type,
    arguments: tuple[Any, ...],
    size: int,
    pool: Pool,
) -> ray.data.Dataset:
    """Put batches through a pool of actors that grows and shrinks with the load."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ray.util.annotations.RayDeprecationWarning)
        return table.map_batches(
            actor,
            fn_constructor_args=arguments,
            batch_size=size,
            batch_format="numpy",
            compute=ray.data.ActorPoolStrategy(min_size=1, max_size=pool.most),
            **pool.need,
            **RETRIES,
        )


class Worker:
    """An actor that does `Work`; it starts once."""

    def __init__(self, work: Work[Any, Any], surroundings: Surroundings, device: str) -> None:
        self.surroundings = surroundings
        with surroundings.taken_over():
            self.run = work.start(device)

    def __call__(self, batch: Batch) -> dict[str, Array]:
        """Return the results of a batch of items, and what a user can mend."""
        results: list[Any] = []
        with self.surroundings.taken_over():
            error = _mendable(lambda: results.extend(self.run([boxed.content for boxed in batch["item"]])))
        return {"results": _objects([results]), "error": np.array([error])}


class NetworkWorker:
    """An actor of a network, or of several small ones; each is loaded when its first clip comes, and kept."""

    def __init__(self, extractor: Extractor, networks: Sequence[Network], surroundings: Surroundings) -> None:
        self.extractor, self.networks, self.surroundings = extractor, networks, surroundings

    def __call__(self, batch: Batch) -> dict[str, Array]:
        """Store what the networks say of a batch, and return the batch without their columns."""
        with self.surroundings.taken_over():
            errors = [_mendable(partial(self._store, network, batch)) for network in self.networks]
        names = {network.name for network in self.networks}
        rest = {name: values for name, values in batch.items() if name not in names}
        said = next(filter(None, errors), "")
        return {**rest, "error": np.array([earlier or said for earlier in batch["error"]])}

    def _store(self, network: Network, batch: Batch) -> None:
        rows = zip(batch["key"], batch[network.name], strict=True)
        clips = [(str(key), boxed.content) for key, boxed in rows if boxed.content is not None]
        if clips:
            self.extractor.compute(network, clips)


def pools_of(networks: Collection[Network]) -> list[list[Network]]:
    """Return the networks of each pool: those with a checkpoint alone, the others together.

    The largest inputs come first, so that they are handed on least often.
    """
    order = sorted(networks, key=lambda network: (network.modality != "video", network.name))
    large = [network for network in order if network.weights or memory(network)]
    small = [network for network in order if network not in large]
    return [[network] for network in large] + ([small] if small else [])


def _prepared(
    extractor: Extractor, surroundings: Surroundings, names: Sequence[str], row: Mapping[str, Any]
) -> dict[str, Any]:
    """Open one file; a column for each network, empty where it wants nothing of this file."""
    job: Job = row["job"].content
    with surroundings.taken_over():
        results = prepare(job, extractor.window.seconds)
    found = {network.name: result for network, result in zip(job.networks, results, strict=True)}
    if error := _mendable(lambda: refuse_passing_faults(job, results)):
        found = {}
    columns = {name: Boxed(found.get(name)) for name in names}
    return {"key": extractor.key(job.content.hash), "error": error, **columns}


def _mendable(do: Callable[[], None]) -> str:
    """Do it, and return the error that a user can mend, empty if there is none: Ray hides types of errors."""
    try:
        do()
    except V2ABenchError as error:
        return str(error)
    return ""


def _objects(contents: Sequence[Any]) -> Array:
    boxed = np.empty(len(contents), dtype=object)
    boxed[:] = [Boxed(content) for content in contents]
    return boxed


def _batches(table: ray.data.Dataset) -> Iterator[Batch]:
    """Run the pipeline, and yield what comes out; raises `V2ABenchError` for what a user can mend."""
    try:
        for batch in table.iter_batches(batch_size=None, batch_format="numpy", prefetch_batches=0):
            found = cast(Batch, batch)
            if error := next(filter(None, found["error"]), None):
                raise V2ABenchError(str(error))
            yield found
    except (ray.exceptions.RayActorError, ray.exceptions.WorkerCrashedError) as error:
        raise V2ABenchError(
            f"a process of the cluster died again and again ({str(error).splitlines()[0]}); what was done "
            "is kept: look for memory, or a file that kills a network, and run it again"
        ) from None


@contextmanager
def cluster(
    address: str | None, devices: Sequence[str], *, gpus: bool, share: float | None
) -> Iterator[RayEngine]:
    """Connect to the cluster at `address`, or to `RAY_ADDRESS`, or start one here, for the `with`.

    One that this process is connected to already is used, and left. Raises `V2ABenchError` where
    none can be reached.
    """
    connected = ray.is_initialized()
    if not connected:
        _connect(address or os.environ.get("RAY_ADDRESS"))
    try:
        # What goes wrong comes back as an error; the rest is in Ray's own logs.
        logging.getLogger("ray.data").setLevel(logging.CRITICAL)
        ray.data.DataContext.get_current().enable_progress_bars = False
        found = ray.cluster_resources()  # type: ignore[no-untyped-call]
        yield RayEngine(tuple(devices), found.get("CPU", 1), found.get("GPU", 0) if gpus else 0, share)
    finally:
        if not connected:
            ray.shutdown()


def _connect(address: str | None) -> None:
    remedy = "start one with `ray start --head`, or leave --ray-address out to use this machine"
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    if address is None:
        _start(quiet)
        return
    host, _, port = address.rpartition(":")
    try:
        if port.isdecimal():
            socket.create_connection((host, int(port)), timeout=10).close()
        ray.init(address=address, **quiet)
    except (OSError, RuntimeError, ValueError) as error:
        cause = str(error).splitlines()[0]
        raise V2ABenchError(f"--ray-address {address}: no Ray cluster there ({cause}); {remedy}") from error


def _start(quiet: Mapping[str, Any]) -> None:
    """Start a cluster of this machine."""
    try:
        ray.init(include_dashboard=False, **quiet)
    except Exception as error:
        # Ray has no class of its own for a start that takes too long.
        cause = str(error).splitlines()[0]
        raise V2ABenchError(
            f"--engine ray: no cluster could be started on this machine ({cause}); is it very busy? run it "
            "again, or leave --engine out"
        ) from error
