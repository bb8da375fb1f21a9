"""One pass over media: every file is opened once, whatever is wanted of it.

The streams of a file fan out to every network's `prepare` in worker processes,
the device sees full batches, and each batch goes to the store as one part. On a CPU
networks take one clip at a time: there a batch brings little, and moves the last bits.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch.utils.data import DataLoader

from v2abench.contracts import Array, Forward, Network, PairForward, PairNetwork, Prepared, Stream
from v2abench.engines.contract import Engine, InProcess
from v2abench.errors import ClipFault, V2ABenchError
from v2abench.features.preparing import JobDataset
from v2abench.features.store import Record, Store
from v2abench.media.resampling import RESAMPLER
from v2abench.networks.facts import Facts
from v2abench.progress import Progress, silent
from v2abench.protocols.schema import Window
from v2abench.weights.registry import identity

FACTS = Facts()


@dataclass(frozen=True)
class Content:
    """A media file by what is in it: its path now, and the hash of its bytes; or a `text`."""

    path: Path
    hash: str
    text: str | None = None

    @classmethod
    def of_text(cls, text: str) -> Content:
        """Return the content that a text is."""
        return cls(Path(), hashlib.sha256(text.encode()).hexdigest(), text)


@dataclass(frozen=True)
class Job:
    """One file to open, and the networks that want something of it."""

    content: Content
    networks: tuple[Network, ...]


@dataclass(frozen=True)
class Extractor:
    """Fills the feature store at `root` for one window.

    `batch_size` clips go to the device at once, or `batch_sizes[name]` of them for a
    single network, fewer where the device's memory is too small; `workers` processes
    decode (0: this one). Networks whose weights together exceed `max_memory` bytes take
    several passes. The `engine` may do all this elsewhere. None of it changes a value.
    """

    root: Path
    window: Window
    device: str = "cpu"
    workers: int = 0
    batch_size: int = 16
    batch_sizes: Mapping[str, int] = field(default_factory=dict)
    max_memory: float = math.inf
    progress: Progress = silent
    engine: Engine = field(default_factory=InProcess)
    _loaded: dict[Network, Forward] = field(default_factory=dict)
    _loaded_pairs: dict[PairNetwork, PairForward] = field(default_factory=dict)

    def store(self, network: Network | PairNetwork) -> Store:
        """Return the store of `network` with its present parameters and weights."""
        return Store(self.root / f"{network.name}-{fingerprint(network)}", network.features)

    def key(self, content: str) -> str:
        """Return the key of a content in this window."""
        return f"{content}:{self.window.key}"

    def extract(self, wanted: Mapping[Network, Sequence[Content]], stage: str) -> None:
        """Compute and store what is missing of each network on each content.

        Each file is opened once a pass, and one pass is all it takes where the networks
        fit into `max_memory` together.
        """
        missing = {network: self._missing(network, contents) for network, contents in wanted.items()}
        groups = fit_together([network for network, contents in missing.items() if contents], self.max_memory)
        for number, group in enumerate(groups, start=1):
            name = f"{stage} ({number} of {len(groups)})" if len(groups) > 1 else stage
            self._pass({network: missing[network] for network in group}, name)

    def _missing(self, network: Network, contents: Sequence[Content]) -> list[Content]:
        """The contents, each once, that `network` has not seen yet."""
        by_key = {self.key(content.hash): content for content in contents}
        return [by_key[key] for key in self.store(network).missing(list(by_key))]

    def _make_room(self, group: Sequence[Network]) -> None:
        """Unload networks that `group` does not need, if both do not fit."""
        together = {*self._loaded, *group}
        if sum(memory(network) for network in together) > self.max_memory:
            for network in self._loaded.keys() - set(group):
                del self._loaded[network]
            if self.device.startswith("cuda"):
                torch.cuda.empty_cache()

    def _pass(self, wanted: Mapping[Network, Sequence[Content]], stage: str) -> None:
        jobs = _jobs(wanted)
        with self.progress(stage, len(jobs)) as advance:
            for done in self.engine.extract(self, jobs):
                advance(done)

    def here(self, device: str, loaded: dict[Network, Forward] | None = None) -> Extractor:
        """Return this extractor for one device of this process; `loaded` networks are used and added to."""
        kept = {} if loaded is None else loaded
        engine = InProcess((device,))
        return replace(self, device=device, engine=engine, progress=silent, _loaded=kept, _loaded_pairs={})

    def work_off(self, jobs: Sequence[Job]) -> Iterator[int]:
        """Do `jobs` in this process and on its device; yield how many files are done."""
        self._make_room(list(dict.fromkeys(network for job in jobs for network in job.networks)))
        buffers: dict[Network, list[tuple[str, Prepared | ClipFault]]] = {}
        for job, results in zip(jobs, self._prepared(jobs), strict=True):
            refuse_passing_faults(job, results)
            for network, result in zip(job.networks, results, strict=True):
                buffer = buffers.setdefault(network, [])
                buffer.append((self.key(job.content.hash), result))
                if len(buffer) == self.clips_at_once(network):
                    self._flush(network, buffer)
            yield 1
        for network, buffer in buffers.items():
            if buffer:
                self._flush(network, buffer)

    def clips_at_once(self, network: Network) -> int:
        """Return how many clips go to the device, and into one part of the store, together."""
        most: int = getattr(network, "most_at_once", self.batch_size)
        return self.batch_sizes.get(network.name, min(self.batch_size, most))

    def _prepared(self, jobs: Sequence[Job]) -> Iterator[list[Prepared | ClipFault]]:
        workers = min(self.workers, len(jobs) // 4)
        loader: DataLoader[list[Prepared | ClipFault]] = DataLoader(
            JobDataset(jobs, self.window.seconds),  # type: ignore[arg-type]
            batch_size=None,
            num_workers=workers,
            multiprocessing_context=start_method() if workers else None,
            collate_fn=_as_it_is,
        )
        try:
            yield from loader
        except RuntimeError as error:
            if "DataLoader worker" not in str(error):
                raise
            raise V2ABenchError(
                "a process that decodes died: it ran out of memory, or your script lacks "
                "`if __name__ == '__main__':`; use fewer workers, or 0 to decode in this process"
            ) from error

    def _flush(self, network: Network, buffer: list[tuple[str, Prepared | ClipFault]]) -> None:
        self.compute(network, buffer)
        buffer.clear()

    def compute(self, network: Network, clips: Sequence[tuple[str, Prepared | ClipFault]]) -> None:
        """Store what `network` says of `clips`, by their keys, as one part."""
        prepared = [result for _, result in clips if isinstance(result, Prepared)]
        forward = self._loaded.get(network)
        if forward is None and prepared:
            forward = self._loaded[network] = network.load(self.device)
        with torch.inference_mode(), exact_arithmetic():
            outputs = iter(self._outputs(forward, prepared, network.name) if forward and prepared else ())
        records = [
            Record(key, fault=result)
            if isinstance(result, ClipFault)
            else _record(key, next(outputs), result.notes)
            for key, result in clips
        ]
        self.store(network).write(records, description(network))

    def compare(
        self, network: PairNetwork, inputs: Mapping[Stream, Mapping[str, Array]]
    ) -> Mapping[str, Array] | ClipFault:
        """Return what `network` says of one clip's features by stream.

        Raises `UnavailableError` where the network cannot be had.
        """
        forward = self._loaded_pairs.get(network)
        if forward is None:
            forward = self._loaded_pairs[network] = network.load(self.device)
        with torch.inference_mode(), exact_arithmetic():
            try:
                return forward(inputs)
            except ClipFault as fault:
                return fault

    def _outputs(self, forward: Forward, clips: Sequence[Prepared], name: str) -> list[Mapping[str, Array]]:
        if self.device == "cpu":
            return [output for clip in clips for output in _in_parts(forward, [clip], name)]
        return _in_parts(forward, clips, name)


def exact_arithmetic() -> AbstractContextManager[None]:
    """TensorFloat-32 convolutions would move GPU values away from the CPU's: not inside of this."""
    flags: AbstractContextManager[None] = torch.backends.cudnn.flags(
        enabled=True, deterministic=True, allow_tf32=False
    )
    return flags


def _jobs(wanted: Mapping[Network, Sequence[Content]]) -> list[Job]:
    """One job a content, for all networks that want it."""
    contents: dict[str, Content] = {}
    networks: dict[str, list[Network]] = {}
    for network, items in wanted.items():
        for item in items:
            contents.setdefault(item.hash, item)
            networks.setdefault(item.hash, []).append(network)
    return [Job(contents[name], tuple(networks[name])) for name in contents]


def _in_parts(forward: Forward, batch: Sequence[Prepared], name: str) -> list[Mapping[str, Array]]:
    """The outputs for `batch`, which is halved for as long as the device's memory is too small."""
    try:
        return list(forward(batch))
    except torch.OutOfMemoryError as error:
        if len(batch) == 1:
            raise V2ABenchError(
                f"network {name!r} does not fit into the device's memory even with one clip; "
                "use --max-memory to load fewer networks at once, or --device cpu"
            ) from error
    torch.cuda.empty_cache()
    half = len(batch) // 2
    return _in_parts(forward, batch[:half], name) + _in_parts(forward, batch[half:], name)


def memory(network: Network) -> int:
    """Return the bytes that the weights of `network` take once loaded, 0 where it does not say."""
    return int(getattr(network, "memory", 0))


def fit_together(networks: Sequence[Network], budget: float) -> list[list[Network]]:
    """Divide `networks` into few groups whose weights fit into `budget` bytes, the largest first.

    One that is larger than the budget gets a group of its own.
    """
    groups: list[list[Network]] = []
    for network in sorted(networks, key=lambda n: (-memory(n), n.name)):
        for group in groups:
            if sum(map(memory, group)) + memory(network) <= budget:
                group.append(network)
                break
        else:
            groups.append([network])
    return groups


def _record(key: str, features: Mapping[str, Array], notes: tuple[str, ...]) -> Record:
    """A record; one with a value that is not finite becomes a fault, so that no score can stand on it."""
    wrong = [name for name, array in features.items() if not np.isfinite(array).all()]
    if wrong:
        return Record(
            key, fault=ClipFault("not-finite", f"the network gave NaN or infinity in {', '.join(wrong)}")
        )
    return Record(key, features, notes=notes)


def refuse_passing_faults(job: Job, results: Sequence[Prepared | ClipFault]) -> None:
    """Stop where a file cannot be got at just now: that must not be stored as a property of its content."""
    for result in results:
        if isinstance(result, ClipFault) and result.code in {"missing", "unreachable"}:
            raise V2ABenchError(
                f"{job.content.path} cannot be read just now ({result.detail}); run the command again"
            )


def fingerprint(network: Network | PairNetwork) -> str:
    """Return 12 hexadecimal digits that change with code version, weights or parameters."""
    text = json.dumps(description(network), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def description(network: Network | PairNetwork) -> dict[str, object]:
    """Return what a network's values depend on, beside the media."""
    weights = getattr(network, "weights", ())
    return {
        "network": network.name,
        "version": network.version,
        "parameters": dict(network.parameters),
        "weights": {name: identity(name) for name in weights},
        "resampler": RESAMPLER,
        "store": 1,
    }


def _as_it_is(item: list[Prepared | ClipFault]) -> list[Prepared | ClipFault]:
    return item


def start_method() -> Literal["forkserver", "spawn"]:
    """Return how worker processes start: never by fork, which threads do not survive."""
    return "forkserver" if "forkserver" in torch.multiprocessing.get_all_start_methods() else "spawn"
