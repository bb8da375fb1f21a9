"""Training of tiny-flow: imperfect pairs, resuming to the bit, and that everything is trained."""

import json
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Generator, Tensor, nn

from v2abench.baselines.tiny_flow import training, weights
from v2abench.baselines.tiny_flow.imperfect import imperfect
from v2abench.baselines.tiny_flow.loop import Checkpoint, Stage, clips_of, train_stage
from v2abench.baselines.tiny_flow.training import Recipe
from v2abench.errors import V2ABenchError
from v2abench.impacts.scenes import Scene, make_scene
from v2abench.impacts.sounds import render_sound
from v2abench.progress import Progress, silent

CLIPS = 6


@dataclass(frozen=True)
class FewClips:
    """Real scenes and sounds with pictures of noise: what training reads, without rendering."""

    split: str
    count: int = CLIPS

    @property
    def scenes(self) -> tuple[Scene, ...]:
        return tuple(make_scene(self.split, index) for index in range(self.count))

    def sounds(self, indices: Sequence[int]) -> NDArray[np.float32]:
        return np.stack([render_sound(make_scene(self.split, int(i))).samples[0] for i in indices])

    def frames(self, indices: Sequence[int]) -> NDArray[np.uint8]:
        drawn = [np.random.default_rng(int(i)).integers(0, 255, (100, 48, 48, 3)) for i in indices]
        return np.stack(drawn).astype(np.uint8)


@pytest.fixture(autouse=True)
def few_clips(monkeypatch: pytest.MonkeyPatch) -> None:
    def few(split: str, _count: int, progress: Progress) -> FewClips:
        return FewClips(split)

    monkeypatch.setattr(training, "training_data", few)


TINY = Recipe(
    clips=CLIPS,
    held_out=CLIPS,
    video=Stage("video", steps=2, batch=2, learning_rate=1e-3, warm_up=1, checkpoint_every=1),
    flow=Stage("flow", steps=4, batch=4, learning_rate=1e-3, warm_up=1, checkpoint_every=2),
)


def killed_in(stage: str, after: int) -> Progress:
    """The progress of a run that is killed in `stage` after so many steps."""

    @contextmanager
    def progress(name: str, _total: int):  # type: ignore[no-untyped-def]
        steps = 0

        def advance(more: int) -> None:
            nonlocal steps
            steps += more
            if name == f"train {stage}" and steps >= after:
                raise KeyboardInterrupt

        yield advance

    return progress


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    folder = tmp_path_factory.mktemp("trained")

    def path() -> Path:
        return folder if (folder / "card.json").is_file() else training.train(folder, TINY).parent

    return path


@pytest.mark.parametrize(("stage", "after"), [("video", 1), ("flow", 3)])
def test_a_killed_training_goes_on_and_ends_with_the_same_bits(
    stage: str, after: int, trained: Callable[..., Path], tmp_path: Path
) -> None:
    with pytest.raises(KeyboardInterrupt):
        training.train(tmp_path, TINY, killed_in(stage, after))
    training.train(tmp_path, TINY)
    again, whole = (folder / "weights.safetensors" for folder in (tmp_path, trained()))
    assert again.read_bytes() == whole.read_bytes()


def test_weights_come_back_with_the_vocabulary_of_the_prompts(trained: Callable[..., Path]) -> None:
    parts = weights.load(trained() / "weights.safetensors")
    assert "floor" in parts.vocabulary
    assert parts.flow.words.in_features == len(parts.vocabulary)
    assert parts.latent.components.dtype == torch.float32
    assert not any(p.requires_grad for module in parts.modules().values() for p in module.parameters())


def test_the_card_says_what_was_trained_on_what(trained: Callable[..., Path]) -> None:
    card = json.loads((trained() / "card.json").read_text())
    assert sum(card["faults"].values()) == CLIPS
    assert card["recipe"]["seed"] == 0
    assert card["held_out"]["flow_loss"] > 0
    assert all(0 <= card["held_out"][name] <= 1 for name in ("onset_f1", "right_material"))
    assert [entry["step"] for entry in card["log"]["flow"]] == [2, 4]


def test_a_folder_of_another_training_is_refused(trained: Callable[..., Path], tmp_path: Path) -> None:
    for name in ("video.pt", "flow.pt"):
        (tmp_path / name).write_bytes((trained() / name).read_bytes())
    other = Recipe(seed=1, clips=CLIPS, held_out=CLIPS, video=TINY.video, flow=TINY.flow)
    with pytest.raises(V2ABenchError, match="another folder"):
        training.train(tmp_path, other)


def test_every_parameter_is_trained(trained: Callable[..., Path]) -> None:
    for stage in ("video", "flow"):
        state = torch.load(trained() / f"{stage}.pt", weights_only=True)
        moments = state["optimizer"]["state"]
        assert len(moments) == len(state["module"])
        assert all(float(moment["exp_avg_sq"].max()) > 0 for moment in moments.values()), stage


def line_loss(module: nn.Linear) -> Callable[[Tensor, Generator], Tensor]:
    def loss(indices: Tensor, generator: Generator) -> Tensor:
        x = indices[:, None].float() / 10
        return (module(x) - 2 * x - 1).square().mean() + 0 * torch.rand(1, generator=generator).sum()

    return loss


def test_a_stage_learns(tmp_path: Path) -> None:
    module = nn.Linear(1, 1)
    stage = Stage("line", steps=600, batch=5, learning_rate=0.05, warm_up=1, average=0.9)
    state = train_stage(
        module, line_loss(module), stage, 10, checkpoint=Checkpoint(tmp_path / "line.pt", ""), progress=silent
    )
    assert isinstance(state.module, nn.Linear)
    assert float(state.module.weight.detach()) == pytest.approx(2, abs=0.05)
    assert state.log[-1]["loss"] < 1e-3 < state.log[0]["loss"]


def test_a_diverging_training_stops_with_a_word(tmp_path: Path) -> None:
    module = nn.Linear(1, 1)
    stage = Stage("line", steps=3, batch=2, learning_rate=0.05)
    with pytest.raises(V2ABenchError, match="diverged"):
        train_stage(
            module,
            lambda _indices, _generator: module.weight.sum() * float("nan"),
            stage,
            4,
            checkpoint=Checkpoint(tmp_path / "line.pt", ""),
            progress=silent,
        )


def test_every_pass_sees_each_clip_once_in_another_order() -> None:
    stage = Stage("line", steps=10, batch=3, learning_rate=0.1)
    passes = [[int(i) for s in (2 * k, 2 * k + 1) for i in clips_of(stage, s, 6)] for k in range(3)]
    assert all(sorted(clips) == list(range(6)) for clips in passes)
    assert passes[0] != passes[1]


def test_the_rate_rises_and_falls() -> None:
    stage = Stage("line", steps=300, batch=1, learning_rate=0.1, warm_up=10)
    assert stage.rate(0) == pytest.approx(0.01)
    assert stage.rate(100) == pytest.approx(0.1)
    assert stage.rate(250) == pytest.approx(0.05)
    assert stage.rate(299) < 0.002


def test_about_a_third_of_the_pairs_is_wrong_in_one_way() -> None:
    scene = make_scene("train", 0)
    sound = render_sound(scene).samples[0]
    found = Counter(imperfect(scene, sound, seed)[0] for seed in range(300))
    assert found["none"] == pytest.approx(200, abs=30)
    assert all(found[name] == pytest.approx(33, abs=18) for name in ("timing", "material", "quality"))


def test_an_imperfect_pair_is_another_sound_and_always_the_same() -> None:
    scene = make_scene("train", 0)
    sound = render_sound(scene).samples[0]
    for seed in range(12):
        name, wrong = imperfect(scene, sound, seed)
        again = imperfect(scene, sound, seed)[1]
        np.testing.assert_array_equal(wrong, again)
        assert (np.abs(wrong - sound).max() < 1e-6) == (name == "none")
        assert np.abs(wrong).max() <= 1
