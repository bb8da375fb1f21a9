"""Training: the same seed gives the same network, also after a kill; cards say what happened."""

import json
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from v2abench.errors import UnavailableError, UnknownNameError, V2ABenchError
from v2abench.impacts import shipped
from v2abench.impacts.synchronisation import OFFSETS, SEGMENT, correlation
from v2abench.impacts.tagger import TaggerNet
from v2abench.impacts.training import embedding, sync, tagger
from v2abench.impacts.training.batches import World, hollow, late
from v2abench.impacts.training.loop import Recipe
from v2abench.impacts.training.networks import Chosen, train
from v2abench.impacts.training_data import TrainingData, training_data

RECIPE = Recipe(steps=3, batch=3, learning_rate=1e-3, checkpoint_every=1)
TRAININGS = {
    "tagger": tagger.train_tagger,
    "embedding": embedding.train_embedding,
    "sync": sync.train_sync,
}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> TrainingData:
    """The first eight clips of the validation split, in a shard of their own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("v2abench.impacts.training_data.SHARD", 8)
        found = training_data("val", 8, cache=tmp_path_factory.mktemp("arrays"), workers=1)
        assert found.mels.shape == (8, 400, 64)
        assert found.events.shape[0] == 8
        assert found.frames([0, 7]).shape == (2, 100, 48, 48, 3)
        assert np.abs(found.sounds([0])).max() > 0.01
    return found


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def weights(path: Path) -> dict[str, torch.Tensor]:
    return load_file(path.with_suffix(".safetensors"))


def alike(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[k], second[k]) for k in first)


def killed_after(steps: int):
    """A progress that ends the process, as it were, after so many steps."""

    @contextmanager
    def progress(_stage: str, _total: int):
        done = 0

        def advance(count: int) -> None:
            nonlocal done
            done += count
            if done > steps:
                raise KeyboardInterrupt

        yield advance

    return progress


@pytest.mark.parametrize("name", TRAININGS)
def test_the_seed_decides_and_a_killed_run_ends_with_the_same_weights(name, data, tmp_path) -> None:
    run = TRAININGS[name]
    card = run(data, data, tmp_path / "whole", RECIPE)
    with pytest.raises(KeyboardInterrupt):
        run(data, data, tmp_path / "killed", RECIPE, killed_after(2))
    assert (tmp_path / "killed" / "checkpoint.pt").is_file()
    resumed = run(data, data, tmp_path / "killed", RECIPE)
    assert alike(weights(tmp_path / "whole"), weights(tmp_path / "killed"))
    assert resumed["log"] == card["log"]
    assert resumed["held_out"] == card["held_out"]
    assert not (tmp_path / "killed").exists()
    run(data, data, tmp_path / "other", replace(RECIPE, seed=1))
    assert not alike(weights(tmp_path / "whole"), weights(tmp_path / "other"))


def test_a_card_says_data_seed_steps_figures_and_log(data, tmp_path) -> None:
    tagger.train_tagger(data, data, tmp_path / "tagger", RECIPE)
    card = json.loads((tmp_path / "tagger.json").read_text())
    assert card["recipe"]["seed"] == 0
    assert card["recipe"]["steps"] == 3
    assert card["data"] == "8 clips of val"
    assert card["world"] == "impacts version 2"
    assert [step for step, _ in card["log"]] == [1, 2, 3]
    assert 0 <= card["held_out"]["accuracy"] <= 1
    assert card["parameters"] == sum(p.numel() for p in TaggerNet().parameters())


def test_training_lowers_the_loss_and_moves_every_parameter(data, tmp_path) -> None:
    torch.manual_seed(0)
    before = {key: value.clone() for key, value in TaggerNet().named_parameters()}
    card = tagger.train_tagger(
        data, data, tmp_path / "tagger", replace(RECIPE, steps=10, batch=8, checkpoint_every=5)
    )
    after = weights(tmp_path / "tagger")
    assert all(not torch.equal(after[key].float(), value) for key, value in before.items())
    assert card["log"][-1][1] < card["log"][0][1]


def test_the_share_of_own_sounds_found_is_exact() -> None:
    """Against drawing the 15 others at random."""
    rng = np.random.default_rng(0)
    cosines = rng.normal(size=(40, 40)) + 1.5 * np.eye(40)
    allowed = np.arange(40)[:, None] % 2 == np.arange(40) % 2
    drawn = []
    for own in range(40):
        others = np.flatnonzero(allowed[own] & (np.arange(40) != own))
        chosen = [rng.choice(others, 15, replace=False) for _ in range(300)]
        drawn.append(np.mean([cosines[own, c].max() < cosines[own, own] for c in chosen]))
    assert embedding._own_first(cosines, allowed) == pytest.approx(np.mean(drawn), abs=0.01)
    assert embedding._own_first(cosines[:10, :10], allowed[:10, :10]) is None


def test_segments_of_sound_and_picture_are_as_far_apart_as_the_offset_says(data) -> None:
    rng = np.random.default_rng(0)
    offsets = np.repeat(OFFSETS, 40).astype(np.float64)
    starts = sync.draw_starts(rng, offsets)
    assert starts.min() >= 0
    assert starts[:, 0].max() <= 100 - SEGMENT
    assert starts[:, 1].max() <= 400 - 4 * SEGMENT
    late_by = starts[:, 0] / 25 - starts[:, 1] / 100
    assert late_by == pytest.approx(offsets, abs=0.006)
    pictures, sounds = sync.cut(World(data), np.arange(8), starts[:8])
    assert pictures.shape == (8, SEGMENT, 48, 48, 3)
    assert sounds.shape == (8, 4 * SEGMENT, 64)


def test_correlation_peaks_at_the_lag_of_the_sound() -> None:
    picture = torch.zeros(1, 75, 64)
    sound = torch.zeros(1, 75, 64)
    picture[0, 30], sound[0, 40] = 1.0, 1.0
    assert correlation(picture, sound).shape == (1, 8, 57)
    assert correlation(picture, sound)[0, 0].argmax() - 28 == 10


def test_sounds_without_events_are_silence_and_noise_and_late_ones_begin_or_end_in_silence() -> None:
    rng = np.random.default_rng(0)
    without = hollow(rng, 3)
    assert torch.all(without[0] == -7)
    assert torch.all(without[1:] > -7)
    mels = torch.randn(50, 400, 64)
    moved = late(rng, mels, share=1.0)
    silent = (moved == -7).all(dim=2)
    assert torch.all(silent[:, 0] | silent[:, -1])
    assert torch.all(silent.sum(dim=1) <= 60)
    assert torch.equal(late(rng, mels, share=0.0), mels)


def test_an_unknown_name_and_too_few_clips_are_refused(tmp_path) -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'tagger'"):
        train("taggr", tmp_path)
    for name in ("sync", "tiny-flow"):
        with pytest.raises(V2ABenchError, match=rf"--clips 5: a batch of {name} has \d+ clips"):
            train(name, tmp_path, Chosen(clips=5))


def test_a_folder_that_cannot_be_written_is_named(tmp_path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(V2ABenchError, match="file"):
        train("tagger", tmp_path / "file" / "below", Chosen(clips=64))


def test_weights_of_another_network_and_missing_ones_are_refused() -> None:
    with pytest.raises(UnavailableError, match="of another network"):
        shipped.with_shipped(TaggerNet(), "sync")
    with pytest.raises(UnavailableError, match="no weights of 'nothing'"):
        shipped.digest("nothing")
