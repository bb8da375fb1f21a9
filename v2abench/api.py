"""The Python API: `evaluate` does what `v2abench eval` does."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch

from v2abench.clips import Dataset
from v2abench.contracts import Bootstrap
from v2abench.datasets.opening import DatasetOptions, open_dataset
from v2abench.errors import V2ABenchError
from v2abench.features.extraction import Extractor
from v2abench.home import home
from v2abench.models import NamedModel, open_model
from v2abench.progress import Advance, Progress, silent
from v2abench.protocols.schema import MetricEntry, Protocol, load_protocol
from v2abench.runs.evaluation import Evaluation, Run, Settings
from v2abench.runs.writing import run_folder, write_run


@dataclass(frozen=True)
class Options:
    """How an evaluation is done; none of these changes a value but `seed`.

    `device` is `auto`, `cpu`, `cuda`, `cuda:1`, `mps`. With `workers` above 0, files are
    decoded in that many processes: a script then needs `if __name__ == "__main__":`.
    `bootstrap` is the number of resamples for intervals, 0 for none.
    """

    output: Path = Path("runs")
    device: str = "auto"
    workers: int = 0
    batch_size: int = 16
    seed: int = 0
    bootstrap: int = 200
    fd_infinity: bool = False
    strict: bool = False
    offline: bool = False
    progress: Progress = silent


def evaluate(
    model: str, dataset: str | Dataset, protocol: str | Protocol = "light", options: Options | None = None
) -> Run:
    """Evaluate one model, write its run and return it.

    `model` is `folder:DIR`, a control or a registered model, with `LABEL=` before it if it
    should be called otherwise; `dataset` what `open_dataset` takes or returned; `protocol`
    a name or a YAML file. Raises `V2ABenchError` for anything the caller can mend, and,
    with `strict`, where a clip is not ok (after the run was written).
    """
    return evaluate_models([model], dataset, protocol, options)[0]


def evaluate_models(
    models: Sequence[str],
    dataset: str | Dataset,
    protocol: str | Protocol = "light",
    options: Options | None = None,
) -> list[Run]:
    """Evaluate several models; references and videos are read once for all of them."""
    options = options or Options()
    clock = _Clock(options.progress)
    opened = dataset
    if isinstance(opened, str):
        opened = open_dataset(opened, DatasetOptions(progress=clock.progress))
    chosen = load_protocol(protocol) if isinstance(protocol, str) else protocol
    if options.fd_infinity:
        chosen = with_fd_infinity(chosen)
    named = [open_model(spec, opened) for spec in models]
    folders = _folders(named, opened, chosen, options.output)
    evaluation = _evaluation(opened, chosen, options, clock.progress)
    runs = []
    for item, folder in zip(named, folders, strict=True):
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
            label = item.info.name
            raise V2ABenchError(
                f"--model {item.spec}: another model is called {label!r} too; write LABEL={item.spec}"
            )
    return folders


def _evaluation(dataset: Dataset, protocol: Protocol, options: Options, progress: Progress) -> Evaluation:
    extractor = Extractor(
        home() / "features",
        protocol.window,
        device=pick_device(options.device),
        workers=options.workers,
        batch_size=options.batch_size,
        progress=progress,
    )
    bootstrap = Bootstrap(options.bootstrap, seed=options.seed) if options.bootstrap else None
    settings = Settings(options.seed, bootstrap, options.offline, progress)
    return Evaluation(dataset, protocol, protocol.build_metrics(), extractor, settings)


def with_fd_infinity(protocol: Protocol) -> Protocol:
    """Return the protocol with FD extrapolated to infinitely many clips beside each FD."""
    extra = tuple(
        MetricEntry(metric="frechet_distance_infinity", name=f"{entry.name}∞", options=entry.options)
        for entry in protocol.metrics
        if entry.metric == "frechet_distance"
    )
    return protocol.model_copy(update={"metrics": protocol.metrics + extra})


def pick_device(name: str) -> str:
    """Return the torch device for `name`; `auto` takes CUDA, then MPS, then the CPU.

    Raises `V2ABenchError` where the device is not there.
    """
    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        torch.empty(1, device=name)
    except (RuntimeError, AssertionError) as error:
        raise V2ABenchError(
            f"--device {name}: {str(error).splitlines()[0]}; use auto, cpu, cuda, cuda:N or mps"
        ) from error
    return name


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
