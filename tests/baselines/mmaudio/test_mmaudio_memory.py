"""Loading a network takes the memory of its weights, and little more."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from v2abench.baselines.mmaudio.network import MMAudioNetwork, NetworkConfig
from v2abench.weights.deterministic import filled

CONFIG = NetworkConfig(20, 448, 7, 5)
CODE = """
import resource, sys
from dataclasses import replace
from pathlib import Path
from v2abench.baselines.mmaudio import model
from v2abench.baselines.mmaudio.model import VARIANTS, load_network
from v2abench.baselines.mmaudio.network import NetworkConfig
from v2abench.weights.deterministic import weights_mode

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024

variant = replace(VARIANTS["mmaudio-small-16k"], network=NetworkConfig(20, 448, 7, 5))
model.require = {variant.weights: Path(sys.argv[1])}.__getitem__
before = peak()
with weights_mode(sys.argv[2]):
    state = load_network(variant).state_dict()
for tensor in state.values():
    tensor.sum()
print(peak() - before, sum(tensor.numel() * tensor.element_size() for tensor in state.values()))
"""


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "network.pth"
    torch.save(filled(lambda: MMAudioNetwork(CONFIG)).state_dict(), path)
    return path


@pytest.mark.skipif(sys.platform != "linux", reason="counts the resident memory as Linux does")
@pytest.mark.parametrize("mode", ["official", "deterministic"])
def test_loading_takes_at_most_a_fifth_more_than_the_weights(checkpoint: Path, mode: str) -> None:
    command = [sys.executable, "-c", CODE, str(checkpoint), mode]
    shown = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    taken, size = map(int, shown.split())
    assert size > 2e8
    assert taken < 1.2 * size
