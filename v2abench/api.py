"""The Python API: `evaluate` does what `v2abench eval` does."""

import math
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import psutil
import torch

from v2abench import registry
from v2abench.clips import Dataset
from v2abench.contracts import Bootstrap
from v2abench.datasets.opening import DatasetOptions, open_dataset
from v2abench.engines.contract import Engine
from v2abench.engines.opening import EngineName, EngineOptions, open_engine
from v2abench.errors import UnknownNameError, V2ABenchError
from v2abench.features.extraction import Extractor
from v2abench.files import write_error
from v2abench.home import home
from v2abench.models import GenerationOptions, ModelContext, NamedModel, open_model
from v2abench.progress import Advance, Progress, silent
from v2abench.protocols.schema import MetricEntry, Protocol, load_protocol
from v2abench.runs.evaluation import Evaluation, Run, Settings
from v2abench.runs.report import read_report
from v2abench.runs.writing import run_folder, write_run
from v2abench.shards import parse_shard
from v2abench.weights.deterministic import Mode, weights_mode


@dataclass(frozen=True)
class Options:
    """How an evaluation is done. Only `seed`, `precision` and `weights` change a value,
    `fd_infinity` adds one.

    `device` is `auto`, `cpu`, `cuda` (all GPUs that are visible, a process each), `cuda:1`, `mps`,
    or several with commas between. With `workers` above 0, files are decoded in that many
    processes. Where there are processes, a script needs `if __name__ == "__main__":`.
    `engine` `ray` takes a cluster instead (`ray_address`; by default one on this machine), whose
    actors get `ray_gpus` of a GPU each. With `shard` (`2/3`, `auto`) only a part is generated and
    read, and there is no run; `merge` makes the runs of what shards left, and computes nothing.
    `batch_size` clips go to the device at once, `batch_sizes` gives single networks their own;
    a batch for which the device's memory is too small is halved. Networks whose weights
    exceed `max_memory` bytes together (by default half of the memory that is free) run in
    several passes. `precision` other than float32 is faster on a GPU, and named in the
    signature. `bootstrap` is the number of resamples for intervals, 0 for none. A run of other data or
    another protocol in the same folder is replaced only with `overwrite`. `weights` may be
    `deterministic`, to try everything out without a checkpoint: the signature says so, and
    the numbers mean nothing. `generation` is for models that make sound step by step.
    """

    output: Path | str = "runs"
    device: str = "auto"
    workers: int = 0
    batch_size: int = 16
    batch_sizes: Mapping[str, int] = field(default_factory=dict)
    max_memory: float | None = None
    precision: Literal["float32", "bfloat16", "float16"] = "float32"
    seed: int = 0
    bootstrap: int = 200
    fd_infinity: bool = False
    strict: bool = False
    overwrite: bool = False
    offline: bool = False
    weights: Mode = "official"
    generation: GenerationOptions = field(default_factory=GenerationOptions)
    engine: EngineName = "local"
    ray_address: str | None = None
    ray_gpus: float | None = None
    shard: str | None = None
    merge: bool = False
    progress: Progress = silent


def evaluate(
    model: str, dataset: str | Dataset, protocol: str | Protocol = "light", options: Options | None = None
) -> Run:
    """Evaluate one model, write its run and return it.

    `model` is `folder:DIR`, a control or a registered model, with `LABEL=` before it if it
    should be called otherwise; `dataset` what `open_dataset` takes or returned; `protocol`
    a name or a YAML file. Raises `V2ABenchError` for anything the caller can mend, and,
    with `strict`, where a clip is not ok (after the run was written). With `shard` there is
    no run to return: `evaluate_models` goes with it.
    """
    if options and options.shard:
        raise V2ABenchError("a shard makes no run; call evaluate_models([model], ...) with it")
    return evaluate_models([model], dataset, protocol, options)[0]


def evaluate_models(
    models: Sequence[str],
    dataset: str | Dataset,
    protocol: str | Protocol = "light",
    options: Options | None = None,
) -> list[Run]:
    """Evaluate several models; references and videos are read once for all of them.

    With `shard` nothing is returned: the next call without, or with `merge`, makes the runs.
    """
    options = options or Options()
    if parse_shard(options.shard) and (options.merge or options.strict):
        raise V2ABenchError("--shard goes without --merge and --strict: those are for the run of all clips")
    how = EngineOptions(
        options.engine, options.device != "cpu", options.ray_address, options.ray_gpus, options.merge
    )
    with weights_mode(options.weights), open_engine(how, pick_devices(options.device)) as engine:
        return _evaluate_models(models, dataset, protocol, options, engine)


def _evaluate_models(
    models: Sequence[str],
    dataset: str | Dataset,
    protocol: str | Protocol,
    options: Options,
    engine: Engine,
) -> list[Run]:
    clock = _Clock(options.progress)
    opened = dataset
    if isinstance(opened, str):
        opened = open_dataset(opened, DatasetOptions(progress=clock.progress))
    chosen = load_protocol(protocol) if isinstance(protocol, str) else protocol
    if options.precision != "float32":
        chosen = chosen.model_copy(update={"precision": options.precision})
    extractor = _extractor(chosen, options, clock.progress, engine)
    context = ModelContext(
        opened,
        device=extractor.device,
        extractor=extractor,
        offline=options.offline,
        progress=clock.progress,
        options=options.generation,
    )
    named = [open_model(spec, context) for spec in models]
    folders = _folders(named, opened, chosen, Path(options.output))
    evaluation = _evaluation(opened, chosen, extractor, options)
    for folder in folders:
        _claim(folder, evaluation.signature, options.overwrite)
    runs: list[Run] = []
    for item, folder in zip(named, folders, strict=True):
        if evaluation.settings.shard:
            evaluation.run_shard(item, folder, evaluation.settings.shard)
            continue
        run = evaluation.run(item, folder)
        write_run(run, clock.seconds)
        runs.append(run)
    if options.strict:
        for run in runs:
            run.require_whole()
    return runs


def _folders(named: Sequence[NamedModel], dataset: Dataset, protocol: Protocol, output: Path) -> list[Path]:
    folders = [run_folder(output, dataset.name, protocol.name, item.info.name) for item in named]
    for folder, item in zip(folders, named, strict=True):
        if folders.count(folder) > 1:
            raise V2ABenchError(
                f"--model {item.spec}: another model would be written to {folder} too; give each a label "
                "of its own, as in --model LABEL=SPEC"
            )
    return folders


def _claim(folder: Path, signature: str, overwrite: bool) -> None:
    """Make the run's folder; refuse one that holds a run of other data or another protocol."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise write_error(folder, error) from error
    if not overwrite and (folder / "report.json").is_file() and read_report(folder).signature != signature:
        raise V2ABenchError(
            f"{folder} holds a run of other data, protocol or version; choose another --output or LABEL=, "
            "or let it be replaced with --overwrite"
        )


def _extractor(protocol: Protocol, options: Options, progress: Progress, engine: Engine) -> Extractor:
    if unknown := options.batch_sizes.keys() - set(registry.names("networks")):
        raise UnknownNameError("network", sorted(unknown)[0], registry.names("networks"))
    return Extractor(
        home() / "features",
        protocol.window,
        device=engine.devices[0],
        workers=options.workers,
        batch_size=options.batch_size,
        batch_sizes=options.batch_sizes,
        max_memory=_memory(engine.devices, options) if options.max_memory is None else options.max_memory,
        progress=progress,
        engine=engine,
    )


def _memory(devices: Sequence[str], options: Options) -> float:
    """Half of what is free, for each of the processes on one device; Ray's actors are not here."""
    if options.engine == "ray":
        return math.inf
    return free_memory(devices[0]) / 2 / devices.count(devices[0])


def _evaluation(dataset: Dataset, protocol: Protocol, extractor: Extractor, options: Options) -> Evaluation:
    metrics = protocol.build_metrics()
    if options.fd_infinity:
        metrics += _fd_infinity(protocol).build_metrics()
    bootstrap = Bootstrap(options.bootstrap, seed=options.seed) if options.bootstrap else None
    settings = Settings(
        options.seed,
        bootstrap,
        options.offline,
        extractor.progress,
        parse_shard(options.shard),
        options.merge,
    )
    return Evaluation(dataset, protocol, metrics, extractor, settings)


def _fd_infinity(protocol: Protocol) -> Protocol:
    """Return the protocol with, for each FD, FD extrapolated to infinitely many clips instead."""
    entries = tuple(
        MetricEntry(metric="frechet_distance_infinity", name=f"{entry.name}∞", options=entry.options)
        for entry in protocol.metrics
        if entry.metric == "frechet_distance"
    )
    return protocol.model_copy(update={"metrics": entries})


def pick_devices(names: str) -> tuple[str, ...]:
    """Return the torch devices for `names`, with commas between; `cuda` is every GPU that is visible.

    Raises `V2ABenchError` where one is not there.
    """
    if names == "cuda" and torch.cuda.device_count() > 1:
        return tuple(f"cuda:{index}" for index in range(torch.cuda.device_count()))
    return tuple(pick_device(name.strip()) for name in names.split(","))


def pick_device(name: str) -> str:
    """Return the torch device for `name`; `auto` takes CUDA, then MPS, then the CPU.

    Raises `V2ABenchError` where the device is not there.
    """
    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    remedy = "use auto, cpu, cuda, cuda:N or mps"
    if not re.fullmatch(r"cpu|mps|cuda(:\d+)?", name):
        raise V2ABenchError(f"--device {name}: there is no such device; {remedy}")
    try:
        torch.empty(1, device=name)
    except (RuntimeError, AssertionError) as error:
        raise V2ABenchError(f"--device {name}: {str(error).splitlines()[0]}; {remedy}") from error
    return name


def free_memory(device: str) -> int:
    """Return the bytes that are free on `device`, for weights and what goes with them."""
    if device.startswith("cuda"):
        return int(torch.cuda.mem_get_info(device)[0])
    return int(psutil.virtual_memory().available)


class _Clock:
    """Adds up the seconds of each stage of a progress."""

    def __init__(self, inner: Progress) -> None:
        self.inner = inner
        self.seconds: dict[str, float] = {}

    @contextmanager
    def progress(self, stage: str, total: int) -> Iterator[Advance]:
        start = time.perf_counter()
        with self.inner(stage, total) as advance:
            yield advance
        self.seconds[stage] = self.seconds.get(stage, 0.0) + time.perf_counter() - start
