"""What an environment offers: versions, codecs, device, cache, extras, weights."""

import os
import platform
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, requires, version
from importlib.util import find_spec

import av
import torch
from packaging.requirements import Requirement

from v2abench.home import home
from v2abench.weights import registry

EXTRAS = {"speech": "pesq"}
MINIMUM_FREE_GB = 1.0


@dataclass(frozen=True)
class Finding:
    """One line of the doctor's: `ok` is None where nothing can be wrong."""

    what: str
    state: str
    ok: bool | None


def examine() -> list[Finding]:
    """Return the findings, most basic first."""
    return [
        Finding("python", platform.python_version(), True),
        Finding("v2abench", version("v2abench"), True),
        *_packages(),
        *_codecs(),
        Finding("device", _device(), None),
        Finding("cores", str(os.cpu_count()), None),
        *_cache(),
        *_extras(),
        *(
            Finding(f"weights {n}", s, s != "damaged")
            for n in registry.registry()
            for s in [registry.state(n)]
        ),
    ]


def _packages() -> Iterator[Finding]:
    for line in requires("v2abench") or ():
        requirement = Requirement(line)
        if requirement.marker is not None:
            continue
        try:
            found = version(requirement.name)
        except PackageNotFoundError:
            yield Finding(requirement.name, "not installed", False)
        else:
            yield Finding(requirement.name, found, requirement.specifier.contains(found, prereleases=True))


def _codecs() -> Iterator[Finding]:
    for name in ("libx264", "aac", "flac"):
        there = name in av.codecs_available
        yield Finding(f"encoder {name}", "there" if there else "missing from PyAV's FFmpeg", there)


def _device() -> str:
    if torch.cuda.is_available():
        return f"cuda: {torch.cuda.get_device_name()}"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def _cache() -> Iterator[Finding]:
    place = home()
    try:
        place.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=place):
            pass
    except OSError as error:
        yield Finding("cache", f"{place} cannot be written: {error.strerror}; set V2ABENCH_HOME", False)
    else:
        free = shutil.disk_usage(place).free / 1e9
        yield Finding("cache", f"{place}, {free:.1f} GB free", free > MINIMUM_FREE_GB)


def _extras() -> Iterator[Finding]:
    for extra, module in EXTRAS.items():
        there = find_spec(module) is not None
        yield Finding(f"extra {extra}", "there" if there else f'pip install "v2abench[{extra}]"', None)
