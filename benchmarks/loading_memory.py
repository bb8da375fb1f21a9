"""How much memory it takes to load an MMAudio network, beside the size of its weights.

A child process imports everything, notes its memory, loads the network, and notes the
most it ever took; with `--file` from a checkpoint (written before, in a third process,
to `--folder`), else with deterministic weights. All weights are read once. Run as

    OMP_NUM_THREADS=2 python benchmarks/loading_memory.py mmaudio-large-44k-v2
"""

import argparse
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

import torch

from v2abench.baselines.mmaudio import model as opened
from v2abench.baselines.mmaudio.model import load_network
from v2abench.baselines.mmaudio.variants import VARIANTS
from v2abench.weights.deterministic import weights_mode


def peak() -> int:
    """The most memory that this process has had resident so far, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def write(model: str, path: Path) -> None:
    with weights_mode("deterministic"):
        torch.save(load_network(VARIANTS[model]).state_dict(), path)


def load(model: str, path: Path | None) -> None:
    before = peak()
    with weights_mode("official" if path else "deterministic"):
        if path:
            opened.require = {VARIANTS[model].weights: path}.__getitem__  # type: ignore[assignment]
        network = load_network(VARIANTS[model])
    for tensor in network.state_dict().values():
        tensor.sum()
    size = sum(tensor.numel() * tensor.element_size() for tensor in network.state_dict().values())
    taken = peak() - before
    source = "checkpoint" if path else "deterministic weights"
    sizes = f"weights {size / 1e9:.2f} GB, memory {taken / 1e9:.2f} GB"
    print(f"{model}, {source}: {sizes}, ratio {taken / size:.2f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("model", choices=sorted(VARIANTS))
    parser.add_argument("--file", action="store_true", help="load from a checkpoint")
    parser.add_argument("--folder", help="where the checkpoint is written for the while")
    parser.add_argument("--child", choices=["write", "load"], help=argparse.SUPPRESS)
    parser.add_argument("--path", type=Path, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.child == "write":
        write(chosen.model, chosen.path)
    elif chosen.child == "load":
        load(chosen.model, chosen.path)
    else:
        with tempfile.TemporaryDirectory(dir=chosen.folder) as folder:
            command = [sys.executable, __file__, chosen.model]
            at = ["--path", str(Path(folder) / "network.pth")] if chosen.file else []
            if chosen.file:
                subprocess.run([*command, "--child", "write", *at], check=True)
            subprocess.run([*command, "--child", "load", *at], check=True)


if __name__ == "__main__":
    main()
