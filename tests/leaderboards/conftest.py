from pathlib import Path

import pytest
from made_reports import three_reports
from made_runs import Made, make_runs

from v2abench.leaderboards.choice import Choice
from v2abench.leaderboards.gallery import GalleryOptions, build_gallery
from v2abench.runs.report import Report


@pytest.fixture
def reports() -> list[Report]:
    return three_reports()


@pytest.fixture(scope="session")
def _made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    folder, home = tmp_path_factory.mktemp("made"), tmp_path_factory.mktemp("made-home")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("V2ABENCH_HOME", str(home))
        return make_runs(folder, home)


@pytest.fixture
def made(_made: Made, monkeypatch: pytest.MonkeyPatch) -> Made:
    """Three real runs, with the cache that they were made with."""
    monkeypatch.setenv("V2ABENCH_HOME", str(_made.home))
    return _made


@pytest.fixture(scope="session")
def gallery(_made: Made, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of all clips under the three runs."""
    return build_gallery(_made.runs, tmp_path_factory.mktemp("site") / "page", GalleryOptions(Choice("all")))
