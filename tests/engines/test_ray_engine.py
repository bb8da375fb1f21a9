"""Ray, on a real cluster of two workers: the bytes of one process, also where an actor is killed."""

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import ray
from byte_results import everything, run_all
from dying import Dying

from v2abench import registry
from v2abench.clips import Dataset
from v2abench.engines.opening import EngineOptions, open_engine
from v2abench.engines.ray_cluster import Pool, RayEngine, pools_of
from v2abench.errors import V2ABenchError
from v2abench.features.contents import hash_contents
from v2abench.features.extraction import Content, Extractor
from v2abench.networks.levels import Levels
from v2abench.protocols.schema import Window

ON_RAY = EngineOptions("ray", gpus=False)
# Ray warns in threads of its own, where an error would hang it.
pytestmark = pytest.mark.filterwarnings("default")


def _start(attempts: int = 3) -> None:
    """A busy machine may need longer than the 30 s that Ray gives its node, and no option gives it more."""
    for attempt in range(attempts):
        try:
            ray.init(num_cpus=2, object_store_memory=80 * 2**20, include_dashboard=False, log_to_driver=False)
        except Exception:
            ray.shutdown()
            if attempt + 1 == attempts:
                raise
        else:
            return


@pytest.fixture(scope="module", autouse=True)
def _cluster() -> Iterator[None]:
    """Two workers, and an object store so small that inputs of networks do not all fit."""
    with pytest.MonkeyPatch.context() as patch:
        here = Path(__file__).parent
        patch.setenv("PYTHONPATH", os.pathsep.join(map(str, (here, here.parent))))
        patch.delenv("RAY_ADDRESS", raising=False)
        # Else Ray writes a token into the home folder of whoever runs the tests.
        patch.setenv("RAY_AUTH_MODE", "disabled")
        # Else its workers yield to everything that runs on this machine.
        patch.setenv("RAY_worker_niceness", "0")
        _start()
        yield
        ray.shutdown()


def test_ray_gives_the_bytes_of_one_process(clips: Dataset, plain: dict[str, bytes], tmp_path: Path) -> None:
    assert run_all(clips, tmp_path, engine="ray", device="cpu", batch_size=3) == plain
    assert ray.is_initialized()


def test_generating_and_sampling_on_ray_gives_the_same_files(
    clips: Dataset, plain_making: dict[str, bytes], tmp_path: Path
) -> None:
    with open_engine(ON_RAY, ["cpu"]) as engine:
        assert everything(clips, tmp_path, engine, engine="ray", device="cpu") == plain_making


@pytest.fixture
def contents(generated: Path) -> list[Content]:
    return [c for c in hash_contents(sorted(generated.iterdir())).values() if isinstance(c, Content)]


def test_an_actor_that_is_killed_comes_back_and_nothing_is_lost(
    contents: list[Content], tmp_path: Path
) -> None:
    (tmp_path / "marks").mkdir()
    dying, keys = Dying(str(tmp_path / "marks")), None
    with open_engine(ON_RAY, ["cpu"]) as engine:
        extractor = Extractor(tmp_path / "ray", Window(seconds=2.0), batch_size=2, engine=engine)
        extractor.extract({dying: contents, Levels(): contents}, "read")
    assert len(list((tmp_path / "marks").iterdir())) == 1
    here = Extractor(tmp_path / "here", Window(seconds=2.0))
    here.extract({dying: contents, Levels(): contents}, "read")
    keys = [here.key(content.hash) for content in contents]
    for network in (dying, Levels()):
        found, expected = (e.store(network).read(keys) for e in (extractor, here))
        assert found.keys() == expected.keys() == set(keys)
        for key in keys:
            for name, values in expected[key].features.items():
                np.testing.assert_array_equal(found[key].features[name], values)


def test_an_actor_that_always_dies_ends_with_an_error(contents: list[Content], tmp_path: Path) -> None:
    (tmp_path / "marks").mkdir()
    with open_engine(ON_RAY, ["cpu"]) as engine:
        extractor = Extractor(tmp_path / "ray", Window(seconds=2.0), engine=engine)
        with pytest.raises(V2ABenchError, match="died again and again"):
            extractor.extract({Dying(str(tmp_path / "marks"), deaths=99): contents}, "read")


def test_an_error_of_the_user_s_comes_through(contents: list[Content], tmp_path: Path) -> None:
    with open_engine(ON_RAY, ["cpu"]) as engine:
        (tmp_path / "file").touch()
        extractor = Extractor(tmp_path / "file" / "store", Window(seconds=2.0), engine=engine)
        with pytest.raises(V2ABenchError, match="cannot write"):
            extractor.extract({Levels(): contents[:1]}, "read")
    with open_engine(ON_RAY, ["cpu"]) as engine:
        gone = Content(tmp_path / "gone.wav", "0" * 40)
        with pytest.raises(V2ABenchError, match="cannot be read just now"):
            Extractor(tmp_path, Window(seconds=2.0), engine=engine).extract({Levels(): [gone]}, "read")


def test_networks_with_weights_have_pools_of_their_own_and_pictures_go_first() -> None:
    names = ["passt", "levels", "synchformer_video", "motion", "aisfx"]
    pools = pools_of([registry.load("networks", name)() for name in names])
    found = [[network.name for network in pool] for pool in pools]
    assert found == [["synchformer_video"], ["aisfx"], ["passt"], ["motion", "levels"]]


@pytest.mark.parametrize(
    ("engine", "kinds", "need", "most"),
    [
        (RayEngine(("cpu",), cpus=8, gpus=0), 4, {"num_cpus": 1}, 8),
        (RayEngine(("cpu",), cpus=2, gpus=0), 8, {"num_cpus": 0.125}, 2),
        (RayEngine(("cpu",), cpus=64, gpus=4), 8, {"num_gpus": 0.12}, 33),
        (RayEngine(("cpu",), cpus=64, gpus=4, share=0.5), 8, {"num_gpus": 0.5}, 8),
        (RayEngine(("cpu",), cpus=64, gpus=4), 1, {"num_gpus": 1.0}, 4),
    ],
)
def test_actors_of_a_pass_fit_together(engine: RayEngine, kinds: int, need: dict, most: int) -> None:
    assert engine._pool(kinds) == Pool(need, most)
    assert engine.gpus or kinds * need["num_cpus"] <= engine.cpus / 2
