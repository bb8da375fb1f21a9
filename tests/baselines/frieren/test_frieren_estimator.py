"""Frieren's vector field against the reference's arrays."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from frieren_reference import (
    GOLDEN,
    OFFICIAL_SCALE,
    TINY,
    both_branches,
    flow_network,
    guided_velocity,
    recorded_input,
    rows,
    tiny_model,
    unit,
)
from parity import assert_parity, entries, recorded, shapes
from torch import Tensor

from v2abench.baselines.frieren.checkpoint import UNUSED
from v2abench.baselines.frieren.estimator import FRAMES_PER_ROW, OFFICIAL, EstimatorSize, FlowNetwork
from v2abench.flow import Sampling
from v2abench.sampling import sample_latents

SIZES = pytest.mark.parametrize(
    ("tag", "size", "batch", "frames", "steps"),
    [("tiny", TINY, 2, 64, [0, 400]), ("real", OFFICIAL, 1, 256, [520])],
    ids=["tiny", "real"],
)
# The names of the reference's submodules that are modules here too.
SAME = [
    "t_embedder",
    "c_embedder",
    "proj_in",
    "x_proj",
    "blocks.0.norm",
    "blocks.0.proj_in",
    "blocks.0.transformer_blocks.0.attn1",
    "blocks.0.transformer_blocks.0.attn2",
    "blocks.0.transformer_blocks.0.ff",
    "final_layer.norm_final",
]
DERIVED = {"c_upsampler", "c_proj", "pos_emb"}


def test_entries_are_those_of_the_checkpoint() -> None:
    with torch.device("meta"):
        network = FlowNetwork()
    listed = entries("frieren_unet")
    assert set(listed) - set(shapes(network)) == UNUSED
    assert shapes(network) == {name: shape for name, shape in listed.items() if name not in UNUSED}
    assert sum(parameter.numel() for parameter in network.estimator.parameters()) == 158_882_708


def like(found: Tensor, golden: np.ndarray) -> Tensor:
    """The corner that the golden holds."""
    return found[tuple(slice(length) for length in golden.shape)]


@SIZES
@torch.inference_mode()
def test_the_field_and_its_inner_values_are_those_of_the_reference(
    tag: str, size: EstimatorSize, batch: int, frames: int, steps: list[int]
) -> None:
    network = flow_network(size)
    mid = {key.removeprefix(f"{tag}.mid."): GOLDEN[key] for key in GOLDEN if key.startswith(f"{tag}.mid.")}
    blocks = [f"blocks.{index}" for index in range(size.blocks)]
    assert set(mid) == {*SAME, *blocks, *DERIVED}
    told = rows("input.feat", batch, frames // FRAMES_PER_ROW, size.rows)
    context = network.cond_stage_model["embedder"](told)
    assert_parity(like(context, GOLDEN[f"{tag}.cond"]), GOLDEN[f"{tag}.cond"])
    first = network.estimator.blocks[0]
    with recorded(network.estimator, [*SAME, *blocks, "c_proj"]) as outputs, recorded_input(first) as tokens:
        velocity = network(
            unit("input.latent", batch, size.channels, frames), torch.tensor(steps), network.embed(told)
        )
    for name in ("c_proj", "c_embedder"):
        outputs[f"{name} of frames"] = outputs[name].repeat_interleave(FRAMES_PER_ROW, dim=1)
    outputs["c_proj"] = outputs["c_proj of frames"]
    outputs["c_upsampler"] = outputs["c_embedder of frames"].mT
    # In the reference this module also adds the positions.
    outputs["pos_emb"] = tokens[0].mT
    for name, golden in mid.items():
        assert_parity(like(outputs[name], golden), golden)
    assert_parity(velocity, GOLDEN[f"{tag}.v"])


@SIZES
@torch.inference_mode()
def test_guided_steps_are_those_of_the_reference(
    tag: str, size: EstimatorSize, batch: int, frames: int, steps: list[int]
) -> None:
    network, golden = flow_network(size), torch.from_numpy(GOLDEN[f"{tag}.euler4.traj"])
    both = both_branches(network, rows("input.feat", batch, frames // FRAMES_PER_ROW, size.rows))
    assert torch.equal(golden[0], unit("input.noise", batch, size.channels, frames))
    # Each step starts from the golden. At full size one takes seconds.
    for index in range(4) if tag == "tiny" else (3,):
        thousandth = int(GOLDEN[f"{tag}.euler4.t"][index])
        x = golden[index] + guided_velocity(network, golden[index], thousandth, both) / 4
        assert_parity(x, golden[index + 1])


@pytest.mark.parametrize("count", [1, 25])
@torch.inference_mode()
def test_the_reference_s_other_steps(count: int) -> None:
    network = flow_network(TINY)
    both = both_branches(network, rows("input.feat", 2, 8, 16))
    x = unit("input.noise", 2, 4, 64)
    for thousandth, (start, end) in zip(
        GOLDEN[f"tiny.euler{count}.t"], pairwise(torch.linspace(0, 1, count + 1)), strict=True
    ):
        assert abs(float(1000 * start) - int(thousandth)) <= 1
        x = x + (end - start) * guided_velocity(network, x, int(thousandth), both)
    assert_parity(x, GOLDEN[f"tiny.euler{count}.x"])


@torch.inference_mode()
def test_the_reference_s_runge_kutta_steps() -> None:
    network = flow_network(TINY)
    both = both_branches(network, rows("input.feat", 2, 8, 16))
    x, step = unit("input.noise", 2, 4, 64), 0.25
    for first, second, third, fourth in GOLDEN["tiny.rk4_4.t"].reshape(4, 4):
        k1 = guided_velocity(network, x, int(first), both)
        k2 = guided_velocity(network, x + step / 2 * k1, int(second), both)
        k3 = guided_velocity(network, x + step / 2 * k2, int(third), both)
        k4 = guided_velocity(network, x + step * k3, int(fourth), both)
        x = x + step / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
    assert_parity(x, GOLDEN["tiny.rk4_4.x"])


@torch.inference_mode()
def test_a_batch_gives_what_its_items_give_alone() -> None:
    network = flow_network(TINY)
    x, told, steps = unit("x", 3, 4, 64), rows("told", 3, 8, 16), torch.tensor([0, 500, 999])
    together = network(x, steps, network.embed(told))
    alone = torch.cat(
        [network(x[i : i + 1], steps[i : i + 1], network.embed(told[i : i + 1])) for i in range(3)]
    )
    torch.testing.assert_close(together, alone, rtol=0, atol=1e-5)
    assert (together[0] - together[1]).abs().max() > 0.1


@pytest.mark.parametrize(("count", "tolerance"), [(1, 1e-4), (4, 1e-4), (25, 5e-3)])
def test_the_shared_sampler_gives_the_reference_s_latents(count: int, tolerance: float) -> None:
    # In 25 steps three of the reference's times are truncated to one thousandth less.
    golden = GOLDEN["tiny.euler4.traj"][-1] if count == 4 else GOLDEN[f"tiny.euler{count}.x"]
    told, noise = {"rows": rows("input.feat", 2, 8, 16)}, unit("input.noise", 2, 4, 64)
    latents = sample_latents(tiny_model(), told, noise, Sampling(count, OFFICIAL_SCALE))
    assert_parity(latents, golden, tolerance)
