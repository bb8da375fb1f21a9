"""Several devices: a process each, and the bytes of one; what batches, workers and dead processes do."""

import re
from pathlib import Path
from typing import Any

import pytest
from byte_results import everything, run_all
from dying import Dying

from v2abench.api import Options, evaluate, pick_devices
from v2abench.clips import Dataset
from v2abench.engines.opening import EngineOptions, open_engine
from v2abench.engines.processes import Processes
from v2abench.errors import V2ABenchError
from v2abench.features.contents import hash_contents
from v2abench.features.extraction import Content, Extractor
from v2abench.networks.levels import Levels
from v2abench.protocols.schema import Window


@pytest.mark.parametrize(
    "how",
    [{"batch_size": 1}, {"batch_size": 3, "workers": 2}, {"device": "cpu,cpu", "workers": 2}],
    ids=["batches of 1", "batches of 3 and workers", "two devices"],
)
def test_the_bytes_do_not_depend_on_how_the_work_is_done(
    clips: Dataset, plain: dict[str, bytes], tmp_path: Path, how: dict[str, Any]
) -> None:
    assert run_all(clips, tmp_path, **how) == plain


def test_generating_and_sampling_on_two_devices_gives_the_same_files(
    clips: Dataset, plain_making: dict[str, bytes], tmp_path: Path
) -> None:
    with open_engine(EngineOptions(), ["cpu", "cpu"]) as engine:
        assert isinstance(engine, Processes)
        assert everything(clips, tmp_path, engine, device="cpu,cpu") == plain_making


@pytest.fixture
def contents(generated: Path) -> list[Content]:
    return [c for c in hash_contents(sorted(generated.iterdir())).values() if isinstance(c, Content)]


def test_a_process_that_dies_is_told_and_the_next_call_does_the_rest(
    contents: list[Content], tmp_path: Path
) -> None:
    (tmp_path / "marks").mkdir()
    dying = Dying(str(tmp_path / "marks"))
    with open_engine(EngineOptions(), ["cpu", "cpu"]) as engine:
        extractor = Extractor(tmp_path / "store", Window(seconds=2.0), batch_size=1, engine=engine)
        keys = [extractor.key(content.hash) for content in contents]
        with pytest.raises(V2ABenchError, match=re.escape("the process for device cpu died (exit code -9)")):
            extractor.extract({dying: contents}, "read")
        left = extractor.store(dying).missing(keys)
        assert 0 < len(left) < len(keys)
        extractor.extract({dying: contents}, "read")
        assert extractor.store(dying).missing(keys) == []


def test_errors_come_back_from_the_processes(contents: list[Content], tmp_path: Path) -> None:
    with open_engine(EngineOptions(), ["cpu", "cpu"]) as engine:
        (tmp_path / "file").touch()
        extractor = Extractor(tmp_path / "file" / "store", Window(seconds=2.0), engine=engine)
        with pytest.raises(V2ABenchError, match="cannot write"):
            extractor.extract({Levels(): contents}, "read")


def test_devices_are_named_with_commas(monkeypatch: pytest.MonkeyPatch) -> None:
    assert pick_devices("cpu, cpu") == ("cpu", "cpu")
    with pytest.raises(V2ABenchError, match="--device gpu: there is no such device"):
        pick_devices("cpu,gpu")
    monkeypatch.setattr("torch.cuda.device_count", lambda: 3)
    assert pick_devices("cuda") == ("cuda:0", "cuda:1", "cuda:2")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"engine": "ray", "ray_address": "127.0.0.1:9"}, "--ray-address 127.0.0.1:9: no Ray cluster there"),
        ({"engine": "ray", "ray_gpus": 0.0}, "--ray-gpus 0: give a share above 0"),
        ({"ray_address": "auto"}, "--ray-address and --ray-gpus go with --engine ray"),
    ],
)
def test_engines_that_cannot_be_had_are_told(videos: Path, options: dict[str, Any], message: str) -> None:
    with pytest.raises(V2ABenchError, match=re.escape(message)):
        evaluate("noise", f"folder:{videos}", "light", Options(device="cpu", **options))


def test_without_ray_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("v2abench.engines.opening.find_spec", lambda name: None)
    with (
        pytest.raises(V2ABenchError, match=re.escape('run `pip install "v2abench[ray]"`')),
        open_engine(EngineOptions("ray"), ["cpu"]),
    ):
        pass
