"""From files to parts: what is taken, what is refused, and what is said."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
import torch
from frieren_reference import TINY, TINY_AUTOENCODER
from torch import Tensor, nn

from v2abench.baselines.frieren import checkpoint
from v2abench.baselines.frieren.autoencoder import MelDecoder, MelEncoder
from v2abench.baselines.frieren.checkpoint import UNUSED, load_part
from v2abench.baselines.frieren.estimator import FlowNetwork
from v2abench.errors import V2ABenchError
from v2abench.weights.deterministic import filled

network = partial(FlowNetwork, TINY)
encoder = partial(MelEncoder, TINY_AUTOENCODER)
decoder = partial(MelDecoder, TINY_AUTOENCODER)


def autoencoder_state(seed: int = 0) -> dict[str, Tensor]:
    return {**filled(encoder, seed).state_dict(), **filled(decoder, seed).state_dict()}


@pytest.fixture
def state() -> dict[str, Tensor]:
    inner = {f"first_stage_model.{name}": tensor for name, tensor in autoencoder_state().items()}
    return {**filled(network).state_dict(), **inner, **{name: torch.zeros(1000) for name in UNUSED}}


@pytest.fixture
def save(tmp_path: Path) -> Callable[[object], Path]:
    def save(content: object) -> Path:
        torch.save(content, tmp_path / "frieren.ckpt")
        return tmp_path / "frieren.ckpt"

    return save


def assert_same(module: nn.Module, expected: nn.Module) -> None:
    state = expected.state_dict()
    assert module.state_dict().keys() == state.keys()
    assert all(torch.equal(tensor, state[name]) for name, tensor in module.state_dict().items())


@pytest.mark.parametrize("lightning", [True, False])
def test_each_part_takes_its_own(
    state: dict[str, Tensor], save: Callable[[object], Path], lightning: bool
) -> None:
    path = save({"state_dict": state, "epoch": 3, "optimizer_states": []} if lightning else state)
    assert_same(load_part("network", network, path), filled(network))
    assert_same(load_part("encoder", encoder, path), filled(encoder))
    assert_same(load_part("decoder", decoder, path), filled(decoder))


def test_the_separate_autoencoder_is_taken_only_where_there_is_none(
    state: dict[str, Tensor],
    save: Callable[[object], Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    separate = tmp_path / "vae.ckpt"
    torch.save({"state_dict": {**autoencoder_state(1), "loss.logvar": torch.zeros(1)}}, separate)
    monkeypatch.setattr(checkpoint, "require", {"frieren_vae": separate}.__getitem__)
    assert_same(load_part("decoder", decoder, save(state)), filled(decoder))
    path = save({name: t for name, t in state.items() if not name.startswith("first_stage_model.")})
    assert_same(load_part("network", network, path), filled(network))
    assert_same(load_part("decoder", decoder, path), filled(decoder, 1))


def test_half_precision_becomes_whole(state: dict[str, Tensor], save: Callable[[object], Path]) -> None:
    loaded = load_part("network", network, save({name: tensor.half() for name, tensor in state.items()}))
    assert {tensor.dtype for tensor in loaded.state_dict().values()} == {torch.float32}


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"model.diffusion_model.x_proj.bias": None}, r"does not fit Frieren's network: .*Missing.*x_proj"),
        ({"model.diffusion_model.more": torch.ones(1)}, r"does not fit Frieren's network: .*Unexpected"),
        (
            {"model_ema.decay": torch.ones(1)},
            r"1 entries .* not have, e\.g\. model_ema\.decay",
        ),
        ({"model.diffusion_model.x_proj.weight": None}, r"another diffusion model, perhaps Diff-Foley's"),
    ],
)
def test_another_state_is_refused(
    state: dict[str, Tensor], save: Callable[[object], Path], change: dict[str, Tensor | None], told: str
) -> None:
    changed = {name: tensor for name, tensor in {**state, **change}.items() if tensor is not None}
    with pytest.raises(V2ABenchError, match=f"(?s){told}"):
        load_part("network", network, save(changed))


def test_no_other_file_is_taken_for_one(save: Callable[[object], Path]) -> None:
    with pytest.raises(V2ABenchError, match="no entry of Frieren's vector field"):
        load_part("decoder", decoder, save(autoencoder_state() | {"first_stage_model.x": torch.ones(1)}))


class Config:
    """Something that only its own code can restore."""


def test_code_in_a_checkpoint_is_not_run(state: dict[str, Tensor], save: Callable[[object], Path]) -> None:
    with pytest.raises(V2ABenchError, match=r"not a checkpoint of tensors alone.*--file FILE"):
        load_part("network", network, save({"state_dict": state, "config": Config()}))
    path = save(state)
    path.write_bytes(b"<html>not found</html>")
    with pytest.raises(V2ABenchError, match=r"not a checkpoint of tensors alone"):
        load_part("network", network, path)
