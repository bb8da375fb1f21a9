"""A few clips of `impacts`, and what one process made of them: what every engine must equal byte for byte."""

import pytest
from byte_results import MODELS, everything, run_all

from v2abench.clips import Dataset
from v2abench.datasets.opening import DatasetOptions, open_dataset


@pytest.fixture(scope="session")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("V2ABENCH_HOME", str(tmp_path_factory.mktemp("rendered")))
        return open_dataset("impacts", DatasetOptions(limit=4))


@pytest.fixture(scope="session")
def plain(clips: Dataset, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The reports and tables of `MODELS`, by one process, one device and no shards."""
    folder = tmp_path_factory.mktemp("plain")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("V2ABENCH_HOME", str(folder / "home"))
        found = run_all(clips, folder)
    assert len(found) == 2 * len(MODELS)
    return found


@pytest.fixture(scope="session")
def plain_making(clips: Dataset, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """What `generate` and `prefs sample` write, by one process."""
    folder = tmp_path_factory.mktemp("making")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("V2ABENCH_HOME", str(folder / "home"))
        return everything(clips, folder)
