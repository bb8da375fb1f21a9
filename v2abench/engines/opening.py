"""From what a user chose to an engine that is open, and closed again."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Literal

from v2abench.engines.contract import Engine, InProcess, ReadOnly
from v2abench.errors import V2ABenchError

EngineName = Literal["local", "ray"]


@dataclass(frozen=True)
class EngineOptions:
    """Which engine; the cluster's address and the share of a GPU that each actor gets are Ray's.

    `gpus` says whether GPUs of a cluster may be used.
    """

    name: EngineName = "local"
    gpus: bool = True
    ray_address: str | None = None
    ray_gpus: float | None = None
    merge: bool = False


@contextmanager
def open_engine(options: EngineOptions, devices: Sequence[str]) -> Iterator[Engine]:
    """Open the engine for `devices` (several: a process each), and close it at the end of the `with`.

    Raises `V2ABenchError` for options that do not go together, where Ray is not installed, and
    for a cluster that cannot be reached.
    """
    if options.name == "local" and (options.ray_address, options.ray_gpus) != (None, None):
        raise V2ABenchError("--ray-address and --ray-gpus go with --engine ray")
    if options.merge:
        yield ReadOnly(tuple(devices))
    elif options.name == "ray":
        with _open_ray(options, devices) as engine:
            yield engine
    elif len(devices) > 1:
        from v2abench.engines.processes import Processes  # noqa: PLC0415 (imports the work that it does)

        with closing(Processes(tuple(devices))) as processes:
            yield processes
    else:
        yield InProcess(tuple(devices))


@contextmanager
def _open_ray(options: EngineOptions, devices: Sequence[str]) -> Iterator[Engine]:
    if find_spec("ray") is None:
        raise V2ABenchError('--engine ray needs the extra ray; run `pip install "v2abench[ray]"`')
    from v2abench.engines.ray_cluster import cluster  # noqa: PLC0415 (an extra, and slow to import)

    if options.ray_gpus is not None and options.ray_gpus <= 0:
        raise V2ABenchError(f"--ray-gpus {options.ray_gpus:g}: give a share above 0, or --device cpu")
    where = cluster(options.ray_address, devices, gpus=options.gpus, share=options.ray_gpus)
    with where as engine:
        yield engine
