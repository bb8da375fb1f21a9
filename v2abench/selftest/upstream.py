"""The live oracle: our networks against the public packages, on the same weights, on this machine.

The packages cannot share an environment with current NumPy and setuptools, or are not
maintained any more, so they get an environment of their own in the cache.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from v2abench.contracts import Array
from v2abench.errors import V2ABenchError
from v2abench.home import home
from v2abench.networks.clap.audio import ClapAudio, embed
from v2abench.networks.clap.checkpoint import audio_half, convert, load_entries, read_checkpoint
from v2abench.networks.cnn14 import Cnn14
from v2abench.networks.imagebind import TowerSize, audio_tower, vision_tower
from v2abench.networks.passt import PaSST
from v2abench.selftest import oracle, signals
from v2abench.selftest.checks import laion_entries, window
from v2abench.selftest.signals import wave
from v2abench.weights import deterministic, reading
from v2abench.weights.deterministic import fill_, values, weights_mode
from v2abench.weights.registry import local_path, state

MINUTES = 20
NEWEST = (3, 13)
"""From this Python on, there is no NumPy 1."""

BASE = ("numpy==1.26.4", "setuptools<81", "torch==2.9.1", "torchvision==0.24.1", "torchaudio==2.9.1")
SHARED = (
    *("braceexpand==0.1.7", "einops==0.8.2", "ftfy==6.3.1", "h5py==3.16.0", "iopath==0.1.10"),
    *("librosa==0.11.0", "matplotlib==3.11.2", "numba==0.68.1", "numpy==1.26.4", "pandas==3.0.6"),
    *("progressbar==2.5", "pytorchvideo==0.1.5", "regex==2026.11.19", "scikit-learn==1.9.1", "scipy==1.17.1"),
    *("soundfile==0.14.0", "timm==1.0.31", "torchlibrosa==0.1.0", "tqdm==4.70.1", "transformers==5.24.0"),
    *("wandb==0.31.0", "webdataset==1.0.2", "wget==3.2"),
)
"""What the packages import, at versions that go together; their own pins do not. Python 3.11 and 3.12."""

Say = Callable[[str], None]
Ours = Callable[[str | None], Mapping[str, Array]]


@dataclass(frozen=True)
class Oracle:
    """A network of ours, the package that has it too, and how far the two may differ."""

    network: str
    package: str
    ours: Ours
    tolerance: float
    weights: str | None = None


@dataclass(frozen=True)
class Comparison:
    """The largest deviation, or the `problem` for which there is none."""

    network: str
    package: str
    weights: str
    deviation: float | None
    tolerance: float
    problem: str | None = None

    @property
    def passed(self) -> bool:
        """Whether the deviation is within the tolerance."""
        return self.deviation is not None and self.deviation <= self.tolerance


def compare_with_upstream(say: Say, folder: Path | None = None) -> Iterator[Comparison]:
    """Yield a comparison for each network, with official checkpoints where the cache has them.

    `folder` is the environment; it is made on first use (about 6 GB). A package that cannot be
    installed or run is told in its comparison. Raises `V2ABenchError` where no environment
    can be made.
    """
    environment = folder or home() / "upstream"
    python = prepare_environment(environment, say)
    for entry in ORACLES:
        checkpoint = _checkpoint(entry)
        name = "official" if checkpoint else "deterministic"
        problem = install(python, entry.package, environment, say)
        if problem is None:
            say(f"{entry.network}: asking {entry.package}, {name} weights")
            theirs, problem = ask(python, entry.network, environment, checkpoint)
        if problem is not None:
            yield Comparison(entry.network, entry.package, name, None, entry.tolerance, problem)
            continue
        with weights_mode("official" if checkpoint else "deterministic"), torch.inference_mode():
            ours = entry.ours(checkpoint)
        deviation = max(float(np.abs(theirs[key] - ours[key]).max()) for key in ours)
        yield Comparison(entry.network, entry.package, name, deviation, entry.tolerance)


def prepare_environment(folder: Path, say: Say) -> Path:
    """Return the Python of the environment, made and filled where that was not yet done."""
    python = folder / ("Scripts" if os.name == "nt" else "bin") / "python"
    if not python.is_file():
        if sys.version_info >= NEWEST:
            raise V2ABenchError(
                "selftest --upstream: laion-clap needs NumPy 1, which Python "
                f"{sys.version_info.major}.{sys.version_info.minor} cannot have; use Python 3.11 or 3.12"
            )
        say(f"making an environment for the public packages in {folder}")
        _run([sys.executable, "-m", "venv", str(folder)], folder, "no environment could be made")
    for number, packages in enumerate((BASE, SHARED)):
        done = folder / f".installed-{number}"
        if not done.is_file():
            say(f"installing {', '.join(packages)}")
            _pip(python, packages, folder)
            done.touch()
    return python


def install(python: Path, package: str, folder: Path, say: Say) -> str | None:
    """Install one package without its own pins; return why it could not be, or None."""
    done = folder / f".installed-{package}"
    if done.is_file():
        return None
    say(f"installing {package}")
    try:
        _pip(python, ("--no-deps", package), folder)
    except V2ABenchError as error:
        return str(error)
    done.touch()
    return None


def ask(
    python: Path, network: str, folder: Path, checkpoint: str | None
) -> tuple[dict[str, Array], str | None]:
    """Run the oracle for one network; return its arrays, and why there are none or None."""
    # panns-inference fetches a list of labels when it is imported, unless it is in HOME.
    labels = folder / "panns_data" / "class_labels_indices.csv"
    labels.parent.mkdir(exist_ok=True)
    labels.write_text("index,mid,display_name\n" + "".join(f'{n},/m/{n},"{n}"\n' for n in range(527)))
    with tempfile.TemporaryDirectory() as scratch:
        out = Path(scratch) / "answers.npz"
        modules = [str(module.__file__) for module in (oracle, deterministic, signals, reading)]
        command = [
            str(python),
            modules[0],
            network,
            *modules[1:],
            str(out),
            *([checkpoint] if checkpoint else []),
        ]
        surroundings = {**os.environ, "HOME": str(folder), "USERPROFILE": str(folder), "HF_HUB_OFFLINE": "1"}
        try:
            done = subprocess.run(
                command, env=surroundings, capture_output=True, text=True, timeout=60 * MINUTES, check=False
            )
        except subprocess.TimeoutExpired:
            return {}, f"it did not end within {MINUTES} minutes"
        if done.returncode:
            lines = done.stderr.strip().splitlines() or [f"it ended with code {done.returncode}"]
            return {}, lines[-1]
        with np.load(out) as arrays:
            return dict(arrays), None


def _pip(python: Path, packages: tuple[str, ...], folder: Path) -> None:
    _run([str(python), "-m", "pip", "install", "--quiet", *packages], folder, "pip could not install")


def _run(command: list[str], folder: Path, what: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if line.startswith("ERROR")] or [
            done.stderr[-300:]
        ]
        raise V2ABenchError(f"selftest --upstream: {what} in {folder}: {lines[-1].strip()}")


def _checkpoint(entry: Oracle) -> str | None:
    if entry.weights and state(entry.weights) == "ok":
        return str(local_path(entry.weights))
    return None


def _passt(_checkpoint: str | None) -> Mapping[str, Array]:
    network = PaSST()
    return network.load("cpu")([network.prepare(window(wave(10, 32000, 1), 32000))])[0]


def _cnn14(_checkpoint: str | None) -> Mapping[str, Array]:
    network = Cnn14()
    found = network.load("cpu")([network.prepare(window(wave(10, 16000, 1), 16000))])[0]
    return {"embedding": found["embedding"], "probabilities": 1 / (1 + np.exp(-found["logits"]))}


def _imagebind(_checkpoint: str | None) -> Mapping[str, Array]:
    vision = fill_(vision_tower(TowerSize(160, 4, 4, 64))).eval()
    audio = fill_(audio_tower(TowerSize(96, 4, 4, 64))).eval()
    return {
        "vision": vision(values("probe.vision", (2, 3, 2, 224, 224))).numpy(),
        "audio": audio(values("probe.audio", (2, 128, 204))).numpy(),
    }


def _clap(checkpoint: str | None) -> Mapping[str, Array]:
    model = audio_half().eval()
    state_dict = (
        read_checkpoint("music_speech_audioset", Path(checkpoint)) if checkpoint else convert(laion_entries())
    )
    load_entries(model, "audio", state_dict)
    return {"embedding": embed(model, [ClapAudio().prepare(window(wave(10, 48000, 1), 48000))])[0]}


ORACLES = (
    Oracle("passt", "hear21passt", _passt, 5e-5, "passt"),
    Oracle("cnn14", "panns-inference", _cnn14, 5e-5, "cnn14_16k"),
    Oracle("imagebind", "imagebind-unofficial", _imagebind, 5e-5),
    Oracle("clap_audio", "laion-clap", _clap, 1e-5, "clap_music_speech_audioset"),
)
