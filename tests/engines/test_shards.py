"""Shards: who does what, that together they give one process's bytes, and what is said if one is missing."""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path

import pytest
from byte_results import drawn, everything, made_in, run_all, runs_in

from v2abench.api import Options, evaluate, evaluate_models
from v2abench.clips import Dataset
from v2abench.engines.contract import InProcess
from v2abench.errors import V2ABenchError
from v2abench.protocols.schema import Protocol
from v2abench.shards import Shard, parse_shard
from v2abench.synthesis import SynthesisOptions, synthesise

ARRAY = {"SLURM_ARRAY_TASK_COUNT": "4", "SLURM_ARRAY_TASK_MIN": "1"}


def test_shards_are_a_partition_and_even() -> None:
    items = list(range(10))
    parts = [Shard(index, 4).part(items) for index in range(1, 5)]
    assert sorted(item for part in parts for item in part) == items
    assert {len(part) for part in parts} == {2, 3}
    assert Shard(3, 3).part([1]) == ()


@pytest.mark.parametrize(
    ("environment", "shard"),
    [
        ({**ARRAY, "SLURM_ARRAY_TASK_ID": "1"}, Shard(1, 4)),
        ({**ARRAY, "SLURM_ARRAY_TASK_ID": "4"}, Shard(4, 4)),
        (
            {
                "SLURM_ARRAY_TASK_ID": "6",
                "SLURM_ARRAY_TASK_MIN": "2",
                "SLURM_ARRAY_TASK_COUNT": "3",
                "SLURM_ARRAY_TASK_STEP": "4",
            },
            Shard(2, 3),
        ),
        ({"SLURM_PROCID": "0", "SLURM_NTASKS": "8"}, Shard(1, 8)),
        ({"RANK": "3", "WORLD_SIZE": "4", "SLURM_PROCID": "1", "SLURM_NTASKS": "2"}, Shard(4, 4)),
        ({**ARRAY, "SLURM_ARRAY_TASK_ID": "2", "SLURM_PROCID": "1", "SLURM_NTASKS": "2"}, Shard(4, 8)),
    ],
    ids=["first of an array", "last", "in steps", "srun", "torchrun within Slurm", "srun in an array"],
)
def test_auto_reads_what_slurm_and_torchrun_set(environment: Mapping[str, str], shard: Shard) -> None:
    assert parse_shard("auto", environment) == shard


@pytest.mark.parametrize(
    ("text", "environment", "message"),
    [
        ("5/3", {}, "--shard 5/3: of 3 shards give one from 1 to 3"),
        ("0/3", {}, "from 1 to 3"),
        ("2", {}, "give i/n, such as 2/3"),
        ("auto", {}, "neither Slurm .* nor torchrun"),
        ("auto", {**ARRAY, "SLURM_ARRAY_TASK_ID": "7"}, "task 7 is none of 4 tasks"),
        ("auto", {"RANK": "x", "WORLD_SIZE": "2"}, "RANK is 'x', not a number"),
    ],
)
def test_what_is_no_shard_is_told(text: str, environment: Mapping[str, str], message: str) -> None:
    with pytest.raises(V2ABenchError, match=message):
        parse_shard(text, environment)


@pytest.mark.parametrize("last", [{"merge": True}, {}], ids=["merged", "plain eval"])
def test_three_shards_give_the_bytes_of_one_process(
    clips: Dataset, plain: dict[str, bytes], tmp_path: Path, cache: Path, last: dict[str, bool]
) -> None:
    for index in (3, 1, 2):
        assert run_all(clips, tmp_path, shard=f"{index}/3") == {}
    parts = set(cache.rglob("part-*.parquet"))
    assert run_all(clips, tmp_path, **last) == plain
    assert set(cache.rglob("part-*.parquet")) == parts


def test_generating_and_sampling_in_shards_gives_the_same_files(
    clips: Dataset, plain_making: dict[str, bytes], tmp_path: Path
) -> None:
    for index in (2, 1):
        made = synthesise("tiny-flow", clips, tmp_path / "sounds", SynthesisOptions(shard=f"{index}/2"))
        assert [entry.id for entry in made] == [clip.id for clip in Shard(index, 2).part(clips.clips)]
        drawn(clips, tmp_path / "samples", InProcess(), Shard(index, 2))
        assert not (tmp_path / "samples" / "samples.parquet").exists()
    assert json.loads((tmp_path / "sounds" / "generation.json").read_text())["clips"] == []
    before = {name: content for name, content in made_in(tmp_path).items() if name.endswith(".flac")}
    assert everything(clips, tmp_path) == plain_making
    assert before == {name: content for name, content in plain_making.items() if name.endswith(".flac")}


@pytest.fixture
def folder_of(generated: Path, videos: Path, protocol: Protocol, tmp_path: Path):
    """Evaluate a folder of sounds in some way; return where its run is."""

    def evaluated(sounds: Path = generated, **how: object) -> Path:
        options = Options(output=tmp_path / "runs", bootstrap=0, **how)
        evaluate_models([f"m=folder:{sounds}"], f"folder:{videos}", protocol, options)
        return tmp_path / "runs" / videos.name / "tiny" / "m"

    return evaluated


def test_merging_names_the_shards_that_are_missing(folder_of) -> None:
    with pytest.raises(V2ABenchError, match=r"no shard has ended in .*m; run each with --shard"):
        folder_of(merge=True)
    folder = folder_of(shard="2/3")
    with pytest.raises(V2ABenchError, match=r"shards 1/3, 3/3 are missing in .*m"):
        folder_of(merge=True)
    folder_of(shard="1/3")
    folder_of(shard="3/3")
    folder_of(merge=True)
    assert (folder / "report.json").is_file()
    (folder / "shards" / "2-of-3.json").write_text("{")
    with pytest.raises(V2ABenchError, match=r"2-of-3.json is not what a shard wrote"):
        folder_of(merge=True)


def test_merging_names_files_whose_features_went_and_shards_of_other_data(
    folder_of, generated: Path, cache: Path, tmp_path: Path
) -> None:
    copy = shutil.copytree(generated, tmp_path / "copy")
    folder = folder_of(copy, shard="1/2")
    folder_of(copy, shard="2/2")
    (copy / "c.wav").unlink()
    with pytest.raises(V2ABenchError, match=r"the sounds of 1 clips have gone .*\(c\)"):
        folder_of(copy, merge=True)
    shutil.rmtree(cache / "features")
    shutil.copy(generated / "c.wav", copy / "c.wav")
    with pytest.raises(
        V2ABenchError, match=r"--merge: the store lacks .*facts.* of .*; run their shard again"
    ):
        folder_of(copy, merge=True)
    folder_of(copy)
    assert (folder / "report.json").is_file()
    with pytest.raises(V2ABenchError, match="were of other data, networks, or sounds"):
        folder_of(copy, merge=True, seed=1)


def test_a_shard_makes_no_run_and_removes_nothing_of_another_recipe(
    videos: Path, protocol: Protocol, tmp_path: Path
) -> None:
    with pytest.raises(V2ABenchError, match="a shard makes no run"):
        evaluate("noise", f"folder:{videos}", protocol, Options(shard="1/2"))
    with pytest.raises(V2ABenchError, match="--shard goes without --merge and --strict"):
        evaluate_models(["noise"], f"folder:{videos}", protocol, Options(shard="1/2", strict=True))
    synthesise("noise", f"folder:{videos}", tmp_path / "out", SynthesisOptions(shard="1/2"))
    with pytest.raises(V2ABenchError, match="sounds of another recipe"):
        synthesise("noise", f"folder:{videos}", tmp_path / "out", SynthesisOptions(shard="2/2", seed=1))
    assert len(list((tmp_path / "out").glob("*.flac"))) == 3
    assert runs_in(tmp_path) == {}
