"""A small sample folder of a made model, over the videos of knocking blocks."""

import shutil
from pathlib import Path

import pytest
from made_samples import PROTOCOL, Knocker, named

from v2abench.clips import Dataset
from v2abench.datasets.opening import open_dataset
from v2abench.features.extraction import Extractor
from v2abench.finetune.preferences.samples import SampleFolder, read_samples
from v2abench.finetune.preferences.sampling import SamplingOptions, sample
from v2abench.protocols.schema import Protocol, parse_protocol


@pytest.fixture(scope="session")
def dataset(videos: Path) -> Dataset:
    return open_dataset(f"folder:{videos}")


@pytest.fixture(scope="session")
def tiny_protocol() -> Protocol:
    return parse_protocol(PROTOCOL, "tiny.yaml")


@pytest.fixture(scope="session")
def extractor(tmp_path_factory: pytest.TempPathFactory, tiny_protocol: Protocol) -> Extractor:
    return Extractor(tmp_path_factory.mktemp("features"), tiny_protocol.window)


@pytest.fixture(scope="session")
def made_samples(tmp_path_factory: pytest.TempPathFactory, dataset: Dataset, extractor: Extractor) -> Path:
    folder = tmp_path_factory.mktemp("made") / "samples"
    sample(named(Knocker(faulty=("d",))), dataset, folder, extractor, SamplingOptions(count=4))
    return folder


@pytest.fixture
def folder(made_samples: Path, tmp_path: Path) -> SampleFolder:
    """A copy of the samples that a test may write into: 6 clips of 4 samples, of which `d` failed."""
    shutil.copytree(made_samples, tmp_path / "samples")
    return read_samples(tmp_path / "samples")
