"""Operations are counted as by hand, and totals follow from what is done once and what a model."""

from pathlib import Path
from typing import Any

import pytest
import torch

from v2abench.networks.vggish import VGGishNet
from v2abench.weights.deterministic import filled


@pytest.fixture
def capacity(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "benchmarks"))
    import capacity  # noqa: PLC0415 (beside its siblings only)

    return capacity


def test_the_operations_of_vggish_are_those_of_a_hand_count(capacity: Any) -> None:
    network = filled(VGGishNet)
    # Places x outputs x inputs x kernel of each convolution, after as many poolings; then the linear layers.
    layers = [(96 * 64, 64, 1), (48 * 32, 128, 64), (24 * 16, 256, 128), (24 * 16, 256, 256),
              (12 * 8, 512, 256), (12 * 8, 512, 512)]  # fmt: skip
    convolved = sum(places * outputs * inputs * 9 for places, outputs, inputs in layers)
    linear = 512 * 6 * 4 * 4096 + 4096 * 4096 + 4096 * 128

    with torch.inference_mode():
        embeddings, flops = capacity.counted(lambda: network(torch.zeros(2, 96, 64)))

    assert embeddings.shape == (2, 128)
    assert flops == 2 * 2 * (convolved + linear)


def test_attention_and_fused_transformer_layers_are_counted(capacity: Any) -> None:
    width, hidden, tokens = 16, 32, 5
    layer = torch.nn.TransformerEncoderLayer(width, 4, hidden, batch_first=True).eval()
    projections = tokens * width * (4 * width + 2 * hidden)
    attention = 2 * tokens * tokens * width

    with torch.inference_mode():
        _, flops = capacity.counted(lambda: layer(torch.zeros(1, tokens, width)))

    assert flops == 2 * (projections + attention)
    assert torch.backends.mha.get_fastpath_enabled()


def test_video_and_references_are_done_once_for_all_models(capacity: Any) -> None:
    one = capacity.StreamCost("generated", 1.0, 10, 100.0)
    streams = [one, capacity.StreamCost("video", 3.0, 1000, 7.0)]

    whole = capacity.totals(streams, clips=4, models=3)

    assert (whole.prepared, whole.flops, whole.stored) == (24.0, 4120, 1228.0)
    assert capacity.Assumptions(2.0, 0.5).hours(3.6e15) == pytest.approx(1.0)
