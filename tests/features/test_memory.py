"""Networks that do not fit together run one after the other; batches that do not fit are halved."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from level_network import LevelNetwork

from v2abench.contracts import Array, Forward, Prepared
from v2abench.errors import V2ABenchError
from v2abench.features.contents import hash_contents
from v2abench.features.extraction import Content, Extractor, fit_together
from v2abench.networks.precision import MixedPrecision
from v2abench.protocols.schema import Window


@dataclass(frozen=True)
class Weighing(LevelNetwork):
    """A network of a given weight that can take so many clips at once; `loads` tells what was loaded."""

    name: str
    memory: int
    fits: int = 99
    loads: ClassVar[list[str]] = []

    def load(self, device: str) -> Forward:
        self.loads.append(self.name)

        def forward(batch: Sequence[Prepared]) -> list[Mapping[str, Array]]:
            if len(batch) > self.fits:
                raise torch.OutOfMemoryError
            levels = torch.tensor([[clip.inputs["level"]] for clip in batch])
            products = (levels @ torch.full((1, 1), 1.001)).float().numpy()
            return [{"level": level} for level in products]

        return forward


@pytest.fixture(autouse=True)
def _nothing_loaded() -> None:
    Weighing.loads.clear()


@pytest.fixture
def contents(generated: Path) -> list[Content]:
    found = hash_contents(sorted(generated.iterdir())).values()
    return [content for content in found if isinstance(content, Content)]


def levels(folder: Path, network: Weighing | MixedPrecision, contents: list[Content], **how: Any) -> Array:
    extractor = Extractor(folder, Window(seconds=2.0), **how)
    extractor.extract({network: contents}, "read")
    stored = extractor.store(network).read([extractor.key(content.hash) for content in contents])
    return np.array([stored[extractor.key(content.hash)].features["level"][0] for content in contents])


def test_groups_fit_and_are_few() -> None:
    networks = [Weighing(str(size), size) for size in (1, 5, 3, 4, 9)]
    groups = [[network.memory for network in group] for group in fit_together(networks, 8)]
    assert groups == [[9], [5, 3], [4, 1]]
    assert [len(group) for group in fit_together(networks, float("inf"))] == [5]


def test_networks_that_do_not_fit_together_take_turns(tmp_path: Path, contents: list[Content]) -> None:
    stages: list[tuple[str, int]] = []
    networks = [Weighing("large", 6), Weighing("medium", 4), Weighing("small", 2)]

    def run(folder: Path, budget: float) -> list[Array]:
        extractor = Extractor(folder, Window(seconds=2.0), max_memory=budget)
        make_room = extractor._make_room

        def watched(group: Sequence[Any]) -> None:
            make_room(group)
            assert sum(network.memory for network in {*extractor._loaded, *group}) <= budget
            stages.append((group[0].name, len(group)))

        object.__setattr__(extractor, "_make_room", watched)
        extractor.extract(dict.fromkeys(networks, contents), "read")
        keys = [extractor.key(content.hash) for content in contents]
        return [
            np.array([extractor.store(network).read(keys)[key].features["level"] for key in keys])
            for network in networks
        ]

    apart, together = run(tmp_path / "apart", 6), run(tmp_path / "together", 12)
    assert stages == [("large", 1), ("medium", 2), ("large", 3)]
    for one, other in zip(apart, together, strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_batch_that_does_not_fit_is_halved(tmp_path: Path, contents: list[Content]) -> None:
    whole = levels(tmp_path / "whole", Weighing("net", 1), contents)
    # On a CPU every clip is a batch of its own; this network runs wherever it is told to.
    halved = levels(tmp_path / "halved", Weighing("net", 1, fits=2), contents, batch_size=6, device="cuda")
    assert len(whole) == 6
    assert np.ptp(whole) > 0
    np.testing.assert_array_equal(halved, whole)


def test_a_single_clip_that_does_not_fit_is_told(tmp_path: Path, contents: list[Content]) -> None:
    with pytest.raises(V2ABenchError, match=r"'net' does not fit .* --max-memory"):
        levels(tmp_path, Weighing("net", 1, fits=0), contents)


def test_networks_have_batch_sizes_of_their_own(tmp_path: Path, contents: list[Content]) -> None:
    extractor = Extractor(tmp_path, Window(seconds=2.0), batch_size=4, batch_sizes={"net": 1})
    extractor.extract({Weighing("net", 1): contents, Weighing("other", 1): contents}, "read")
    assert len(extractor.store(Weighing("net", 1)).parts()) == 6
    assert len(extractor.store(Weighing("other", 1)).parts()) == 2


def test_mixed_precision_gives_other_values_and_is_stored_apart(
    tmp_path: Path, contents: list[Content]
) -> None:
    network = Weighing("net", 7)
    mixed = MixedPrecision(network, "bfloat16")
    exact, rough = levels(tmp_path, network, contents), levels(tmp_path, mixed, contents)
    assert (exact != rough).any()
    np.testing.assert_allclose(rough, exact, rtol=0.02)
    assert mixed.parameters == {"precision": "bfloat16"}
    assert mixed.memory == 7
    with pytest.raises(V2ABenchError, match="float16 needs a GPU"):
        MixedPrecision(network, "float16").load("cpu")
