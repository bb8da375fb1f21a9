"""MMAudio's flow network against the reference implementation's arrays (`goldens/mmaudio_network.npz`)."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import pytest
import torch
from parity import GOLDENS, assert_parity, deviation, entries, recorded, shapes
from torch import Tensor

from v2abench.baselines.mmaudio.layers import rotation
from v2abench.baselines.mmaudio.network import MMAudioNetwork, NetworkConfig, checkpoint_entries, resampled
from v2abench.baselines.mmaudio.training import Draw, draw, flow_matching_loss
from v2abench.baselines.mmaudio.variants import VARIANTS
from v2abench.flow import Conditions, Sampling
from v2abench.sampling import solve
from v2abench.weights.deterministic import filled, values

GOLDEN = np.load(GOLDENS / "mmaudio_network.npz")
TINY = NetworkConfig(8, 128, 5, 2, clip_channels=32, sync_channels=24, text_channels=40, text_tokens=7)
TINY_V2 = NetworkConfig(
    8, 128, 5, 2, True, clip_channels=32, sync_channels=24, text_channels=40, text_tokens=7
)
CONFIGS = {"tiny": TINY, "tiny_v2": TINY_V2} | {
    variant.weights.removeprefix("mmaudio_"): variant.network for variant in VARIANTS.values()
}
TIMES = torch.tensor([0.137, 0.862])
CPU = torch.device("cpu")
W = 4.5


class Case(NamedTuple):
    """A network with its inputs and the goldens of the same name."""

    name: str
    network: MMAudioNetwork
    latent: Tensor
    conditions: Conditions
    times: Tensor

    def golden(self, key: str) -> np.ndarray:
        return GOLDEN[f"{self.name}.{key}"]

    def velocity(self, conditions: Conditions, x: Tensor | None = None, t: Tensor | None = None) -> Tensor:
        x, t = self.latent if x is None else x, self.times if t is None else t
        return self.network(x, t.expand(len(x)), self.network.embed(conditions))

    def guided(self, x: Tensor, t: Tensor) -> Tensor:
        empty = self.velocity(self.network.empty(self.conditions), x, t)
        return empty + W * (self.velocity(self.conditions, x, t) - empty)


def unit(name: str, shape: tuple[int, ...]) -> Tensor:
    return values(name, shape, seed=3) * float(np.sqrt(np.prod(shape[1:])))


def feature(name: str, shape: tuple[int, ...]) -> Tensor:
    return torch.nn.functional.normalize(values(name, shape, seed=3), dim=-1)


def inputs(
    batch: int, lengths: tuple[int, int, int, int], config: NetworkConfig, suffix: str = ""
) -> tuple[Tensor, Conditions]:
    latent, clip, sync, text = lengths
    return unit(f"input.latent{suffix}", (batch, latent, config.latent_channels)), {
        "clip": feature(f"input.clip{suffix}", (batch, clip, config.clip_channels)),
        "sync": unit(f"input.sync{suffix}", (batch, sync, config.sync_channels)),
        "text": feature(f"input.text{suffix}", (batch, text, config.text_channels)),
    }


@pytest.fixture(scope="module", params=["tiny", "tiny_v2"])
def case(request: pytest.FixtureRequest) -> Case:
    network = filled(lambda: MMAudioNetwork(CONFIGS[request.param]))
    return Case(request.param, network, *inputs(2, (30, 8, 24, 7), TINY), TIMES)


@pytest.fixture(scope="module")
def small() -> Case:
    network = filled(lambda: MMAudioNetwork(CONFIGS["small_16k"]))
    return Case("small_16k", network, *inputs(1, (250, 64, 192, 77), network.config), torch.tensor([0.37]))


@pytest.mark.parametrize("name", CONFIGS)
def test_entries_are_those_of_the_official_checkpoint(name: str) -> None:
    with torch.device("meta"):
        network = MMAudioNetwork(CONFIGS[name])
    assert shapes(network) == entries(f"mmaudio_{name}")


def test_the_variants_name_their_sizes() -> None:
    for variant in VARIANTS.values():
        with torch.device("meta"):
            network = MMAudioNetwork(variant.network)
        assert sum(entry.numel() for entry in network.state_dict().values()) == variant.size


def test_old_checkpoints_lose_what_is_computed_here() -> None:
    state = {"t_embed.freqs": TIMES, "latent_rot": TIMES, "clip_rot": TIMES, "latent_mean": TIMES}
    assert checkpoint_entries(state) == {"latent_mean": TIMES}


@torch.inference_mode()
def test_conditions_agree(case: Case) -> None:
    for kind, given in (("cond", case.conditions), ("empty", case.network.empty(case.conditions))):
        found = _projected(case, given)
        for key in ("clip_f", "text_f", "sync_f"):
            assert_parity(found[key][:1], case.golden(f"{kind}.{key}"))
        for key in ("clip_f_c", "text_f_c"):
            count = len(case.golden(f"{kind}.{key}"))
            assert_parity(found[key][:count], case.golden(f"{kind}.{key}"))


def _projected(case: Case, given: Conditions) -> Mapping[str, Tensor]:
    with recorded(case.network, ["clip_cond_proj", "text_cond_proj"]) as outputs:
        embedded = case.network.embed(given)
    return {
        "clip_f": embedded["clip"],
        "text_f": embedded["text"],
        "sync_f": resampled(embedded["sync"], case.latent.shape[1]),
        "clip_f_c": outputs["clip_cond_proj"],
        "text_f_c": outputs["text_cond_proj"],
    }


@torch.inference_mode()
def test_every_stage_agrees(case: Case) -> None:
    stages = _stages(case)
    for key in ("audio_in", "block0.latent", "block0.clip", "block0.text", "joint_last.latent", "fused0"):
        assert_parity(stages[key][:1], case.golden(key))
    for key in ("t_embed", "global_cond", "velocity"):
        assert_parity(stages[key], case.golden(key))


def _stages(case: Case) -> dict[str, Tensor]:
    last = f"joint_blocks.{len(case.network.joint_blocks) - 1}"
    names = ["audio_input_proj", "t_embed", "global_cond_mlp", "joint_blocks.0", last, "fused_blocks.0"]
    with recorded(case.network, names) as outputs:
        velocity = case.velocity(case.conditions)
    latent, clip, text = outputs["joint_blocks.0"]
    return {
        "audio_in": outputs["audio_input_proj"],
        "t_embed": outputs["t_embed"],
        "global_cond": outputs["global_cond_mlp"],
        "block0.latent": latent,
        "block0.clip": clip,
        "block0.text": text,
        "joint_last.latent": outputs[last][0],
        "fused0": outputs["fused_blocks.0"],
        "velocity": velocity,
    }


@torch.inference_mode()
def test_velocities_under_other_conditions_agree(case: Case) -> None:
    empty = case.network.empty(case.conditions)
    text_only = {**empty, "text": case.conditions["text"]}
    video_only = {**case.conditions, "text": empty["text"]}
    assert_parity(case.velocity(empty), case.golden("velocity_empty"))
    assert_parity(case.velocity(text_only), case.golden("velocity_text_only"))
    assert_parity(case.velocity(video_only), case.golden("velocity_video_only"))
    assert_parity(case.guided(case.latent, torch.tensor([0.3])), case.golden("velocity_cfg_t0.3"))
    prompted = case.network.empty(case.conditions, case.conditions["text"][0])
    assert torch.equal(prompted["text"][1], case.conditions["text"][0])


@torch.inference_mode()
def test_four_steps_of_euler_agree(case: Case) -> None:
    four = Sampling(steps=4)
    assert_parity(solve(case.guided, case.latent, four), case.golden("euler4_cfg4.5"))
    unguided = solve(lambda x, t: case.velocity(case.conditions, x, t), case.latent, four)
    assert_parity(unguided, case.golden("euler4_nocfg"))


@torch.inference_mode()
def test_other_lengths_agree(case: Case) -> None:
    latent, conditions = inputs(1, (45, 12, 40, 7), TINY, "_long")
    found = case.velocity(conditions, latent, torch.tensor([0.5]))
    assert_parity(found, case.golden("velocity_long"))


def test_rotations_and_normalisation_agree(case: Case) -> None:
    for key, length, scale in (("rope.latent", 30, 1.0), ("rope.clip", 8, 30 / 8)):
        cosines, sines = rotation(length, scale, CPU)
        matrices = torch.stack([cosines, -sines, sines, cosines], dim=-1).unflatten(-1, (2, 2))
        assert_parity(matrices[:4], case.golden(key))
    unnormalised = case.network.unnormalise(case.latent)
    assert_parity(unnormalised, case.golden("unnormalized"))
    torch.testing.assert_close(case.network.normalise(unnormalised), case.latent, rtol=1e-4, atol=1e-4)


def _drawn(without_video: bool = False, without_text: bool = False) -> Draw:
    noise = unit("input.x0", (2, 30, 8))
    masks = [torch.tensor([withheld] * 2) for withheld in (without_video, without_text)]
    return Draw(TIMES, noise, *masks)


def test_loss_and_gradients_agree(case: Case) -> None:
    network = case.network.requires_grad_(True)
    loss = flow_matching_loss(network, unit("input.x1", (2, 30, 8)), case.conditions, _drawn())
    loss.mean().backward()
    drawn, times = _drawn(), TIMES[:, None, None]
    x_t = (1 - times) * drawn.noise + times * unit("input.x1", (2, 30, 8))
    assert_parity(x_t, case.golden("fm.xt"))
    assert_parity(loss.detach(), case.golden("fm.loss"))
    gradients = {name: p.grad for name, p in network.named_parameters() if p.grad is not None}
    for key in [key for key in GOLDEN if key.startswith(f"{case.name}.grad.")]:
        golden = GOLDEN[key]
        assert_parity(gradients[key.removeprefix(f"{case.name}.grad.")][: len(golden)], golden)
    norm = torch.stack([gradient.norm() for gradient in gradients.values()]).norm()
    assert_parity(norm, case.golden("grad_norm"))
    assert not gradients["empty_clip_feat"].any()
    assert not gradients["empty_sync_feat"].any()
    network.zero_grad(set_to_none=True)
    network.requires_grad_(False)


@pytest.mark.parametrize(("video", "text"), [(True, False), (False, True), (True, True)])
def test_what_is_withheld_changes_the_loss_and_trains_the_empty_features(
    case: Case, video: bool, text: bool
) -> None:
    latents = unit("input.x1", (2, 30, 8))
    network = case.network.requires_grad_(True)
    loss = flow_matching_loss(network, latents, case.conditions, _drawn(video, text))
    empty = network.empty(case.conditions)
    names = [*(("clip", "sync") if video else ()), *(("text",) if text else ())]
    replaced = {**case.conditions, **{name: empty[name] for name in names}}
    expected = flow_matching_loss(network, latents, replaced, _drawn())
    torch.testing.assert_close(loss, expected)
    loss.mean().backward()
    assert (network.empty_clip_feat.grad is not None and bool(network.empty_clip_feat.grad.any())) == video
    network.zero_grad(set_to_none=True)
    network.requires_grad_(False)


def test_draws_are_those_of_training() -> None:
    latents = torch.zeros(20000, 1, 1)
    drawn = draw(latents, torch.Generator().manual_seed(0))
    again = draw(latents, torch.Generator().manual_seed(0))
    assert torch.equal(drawn.noise, again.noise)
    assert 0 < float(drawn.times.min()) < float(drawn.times.max()) < 1
    logits = drawn.times.logit()
    assert abs(float(logits.mean())) < 0.03
    assert abs(float(logits.std()) - 1) < 0.03
    for mask in (drawn.without_video, drawn.without_text):
        assert abs(float(mask.float().mean()) - 0.1) < 0.01
    both = (drawn.without_video & drawn.without_text).float().mean()
    assert abs(float(both) - 0.01) < 0.005


@torch.inference_mode()
def test_the_small_variant_agrees(small: Case) -> None:
    stages = _stages(small)
    projected = _projected(small, small.conditions)
    for key in ("clip_f", "sync_f", "text_f"):
        assert_parity(projected[key][:, :4], small.golden(f"cond.{key}[:, :4]"))
    for key in ("clip_f_c", "text_f_c"):
        assert_parity(projected[key], small.golden(f"cond.{key}"))
    for key in ("audio_in", "block0.latent", "block0.clip", "block0.text", "joint_last.latent", "fused0"):
        assert_parity(stages[key][:, :4], small.golden(f"{key}[:, :4]"))
    for key in ("t_embed", "global_cond", "velocity"):
        assert_parity(stages[key], small.golden(key))
    empty = small.velocity(small.network.empty(small.conditions))
    assert_parity(empty, small.golden("velocity_empty"))
    assert_parity(empty + W * (stages["velocity"] - empty), small.golden("velocity_cfg"))


@torch.inference_mode()
def test_half_precision_stays_close(case: Case) -> None:
    with torch.autocast("cpu", torch.bfloat16):
        found = case.velocity(case.conditions)
    assert 1e-5 < deviation(found.float(), case.golden("velocity")) < 0.05
