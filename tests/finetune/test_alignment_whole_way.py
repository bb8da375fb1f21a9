"""The whole way on the embedded benchmark: sampling, scores, pairs, training, board."""

import csv
import json
import re
from importlib.resources import files
from pathlib import Path

import pytest
from typer.testing import CliRunner

from v2abench.cli.app import app
from v2abench.errors import V2ABenchError
from v2abench.finetune.preferences.pairs import read_pairs
from v2abench.finetune.rewards import named_audioscore


def test_from_a_models_name_to_a_board_beside_its_base(tmp_path: Path) -> None:
    output = tmp_path / "aligned"
    overrides = [
        "preferences.clips=4",
        "preferences.samples=2",
        "per_device_train_batch_size=2",
        "eval_steps=2",
        "save_steps=2",
        "logging_steps=1",
        "board.limit=2",
        "panel=null",
    ]
    arguments = ["finetune", "dpo", "--model", "tiny-flow", "--output", str(output), "--max-steps", "2"]
    arguments += ["--device", "cpu", "--workers", "0", "--name", "mine"]
    arguments += [part for override in overrides for part in ("--set", override)]
    done = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    pairs = read_pairs(output / "pairs.parquet")
    assert 1 <= len(pairs) <= 4
    assert all(pair.winner_latent and pair.clip.startswith("train") for pair in pairs)
    assert json.loads((output / "aligned.json").read_text())["used_pairs"] == len(pairs)
    with (output / "training.csv").open(encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    assert abs(float(rows[0]["loss"]) - 0.693147) < 1e-5
    names = {
        json.loads(path.read_text())["model"]["name"] for path in (output / "board").rglob("report.json")
    }
    assert names == {"tiny-flow", "mine"}
    assert "mine" in done.output
    assert "tiny-flow" in done.output
    with pytest.raises(V2ABenchError, match="pairs that were made in another way"):
        CliRunner().invoke(app, [*arguments, "--set", "preferences.samples=3"], catch_exceptions=False)


def test_a_policy_gradient_grades_clips_of_impacts_under_its_protocol(tmp_path: Path) -> None:
    output = tmp_path / "aligned"
    overrides = ["clips=2", "videos_per_rollout=1", "num_generations=2", "panel=null", "num_rollout_steps=3"]
    overrides += ["trained_steps=1", "per_device_train_batch_size=2", "num_iterations=1"]
    arguments = ["finetune", "ddpo", "--output", str(output), "--max-steps", "1", "--no-board"]
    arguments += ["--device", "cpu", "--workers", "0"]
    arguments += [part for override in overrides for part in ("--set", override)]
    done = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    card = json.loads((output / "aligned.json").read_text())
    assert card["protocol"].startswith("impacts:2@")
    assert card["advantages"] == "fair: 2 samples of each video"
    text = files("v2abench.protocols").joinpath("impacts.yaml").read_text(encoding="utf-8")
    changed = tmp_path / "changed.yaml"
    changed.write_text(re.sub(r"(?m)^version: \d+$", "version: 99", text), encoding="utf-8")
    with pytest.raises(V2ABenchError, match="another model or other data"):
        CliRunner().invoke(app, [*arguments, "--protocol", str(changed)], catch_exceptions=False)


def test_how_pairs_are_made_is_kept_only_once_something_is_sampled(tmp_path: Path) -> None:
    arguments = ["finetune", "dpo", "--output", str(tmp_path / "aligned"), "--device", "cpu", "--set"]
    with pytest.raises(V2ABenchError, match="trian"):
        CliRunner().invoke(app, [*arguments, "preferences.dataset=impacts:trian"], catch_exceptions=False)
    assert not (tmp_path / "aligned" / "preferences.json").exists()


def test_the_protocol_of_a_reward_is_that_of_the_audioscore_it_names() -> None:
    assert named_audioscore("audioscore:mine.safetensors") == "mine.safetensors"
    assert named_audioscore("audioscore") is None
    assert named_audioscore("mine:function") is None
