"""The folder that a training ends with: weights or adapter, and the card; `baselines.aligned` opens it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors.torch import save_file
from torch import Tensor, nn

from v2abench import __version__
from v2abench.baselines.aligned import ADAPTER, FORMAT, WEIGHTS, open_aligned, read_card
from v2abench.errors import V2ABenchError
from v2abench.files import atomic, write_text
from v2abench.finetune.policy import Pair, weights_of
from v2abench.models import ALIGNED_CARD, ModelContext


def save_aligned(
    folder: Path,
    pair: Pair,
    weights: Mapping[str, Tensor],
    raw: Mapping[str, Tensor],
    card: Mapping[str, Any],
) -> None:
    """Write the averaged `weights` as the aligned model, the `raw` ones beside them, and the card last."""
    for place, chosen in ((folder, weights), (folder / "raw", raw)):
        with weights_of(pair.policy, chosen):
            _save_weights(place, pair)
        write_card(place, card)


def write_card(folder: Path, card: Mapping[str, Any]) -> None:
    """Write the card, which makes the folder an aligned model."""
    whole = {"format": FORMAT, "v2abench": __version__, **card}
    write_text(folder / ALIGNED_CARD, json.dumps(whole, indent=2, ensure_ascii=False) + "\n")


def merge(folder: Path, output: Path, context: ModelContext) -> None:
    """Write an aligned model with its adapter folded into whole weights, which open without PEFT."""
    card = read_card(folder)
    if output.exists() and any(output.iterdir()):
        raise V2ABenchError(f"--output {output} is not empty; choose another folder")
    model = open_aligned(str(folder), context)
    _save_state(model.network, output)
    write_card(output, {**card, "merged_from": str(folder.resolve())})


def _save_weights(folder: Path, pair: Pair) -> None:
    if pair.adapters is None:
        _save_state(pair.policy.network, folder)
        return
    shutil.rmtree(folder / ADAPTER, ignore_errors=True)
    pair.adapters.save_pretrained(str(folder / ADAPTER))
    (folder / ADAPTER / "README.md").unlink(missing_ok=True)


def _save_state(network: nn.Module, folder: Path) -> None:
    state = {
        name: tensor.detach().cpu().contiguous().clone() for name, tensor in network.state_dict().items()
    }
    with atomic(folder / WEIGHTS) as temporary:
        save_file(state, temporary)
