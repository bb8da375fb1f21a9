"""LAION's checkpoints in the CLAP of `transformers`: its own files, and those converted by `transformers`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from torch import Tensor, nn

from v2abench.errors import UnknownNameError, V2ABenchError
from v2abench.weights.deterministic import fill_, is_deterministic
from v2abench.weights.fetching import require
from v2abench.weights.reading import read_pickle

CHECKPOINTS = {"music_speech_audioset": "clap_music_speech_audioset", "larger_clap_general": "clap_general"}
"""Parameter of the networks -> entry of the weights registry.

`music_speech_audioset` is av-benchmark's checkpoint in LAION's own layout,
`larger_clap_general` what is on the hub in that of transformers. Whether they hold
the same weights is not confirmed upstream (LAION-AI/CLAP issue 172).
"""

PACKAGE = "transformers"

Half = Literal["audio", "text"]

_UNUSED = re.compile(
    r"^(audio|text)_transform\.|^logit_scale|\.(spectrogram|logmel)_extractor\.|\.attn_mask$|\.tscam_conv\.|"
    r"^audio_branch\.head\.|\.(position_ids|token_type_ids)$"
)
_RENAMED = (
    (re.compile(r"^text_branch\."), "text_model."),
    (re.compile(r"^audio_branch\.bn0\."), "audio_model.audio_encoder.batch_norm."),
    (re.compile(r"^audio_branch\."), "audio_model.audio_encoder."),
    (re.compile(r"^(audio|text)_projection\.0\."), r"\1_projection.linear1."),
    (re.compile(r"^(audio|text)_projection\.2\."), r"\1_projection.linear2."),
)
_RENAMED_AUDIO = (
    (re.compile(r"\.attn\.proj\."), ".attention.output.dense."),
    (re.compile(r"\.attn\."), ".attention.self."),
    (re.compile(r"\.mlp\.fc1\."), ".intermediate.dense."),
    (re.compile(r"\.mlp\.fc2\."), ".output.dense."),
    (re.compile(r"\.norm1\."), ".layernorm_before."),
    (re.compile(r"\.norm2\."), ".layernorm_after."),
)


def known_checkpoint(name: str) -> str:
    """Return `name`, or raise `UnknownNameError`."""
    if name not in CHECKPOINTS:
        raise UnknownNameError("CLAP checkpoint", name, CHECKPOINTS)
    return name


def load_half(half: Half, name: str) -> nn.Module:
    """Return one half of CLAP with the weights `name`, in eval mode on the CPU.

    The modules are `<half>_model` and `<half>_projection`. Raises `V2ABenchError` where
    the weights are not to be had or are others, `ImportError` without transformers.
    """
    model = audio_half() if half == "audio" else text_half()
    if is_deterministic():
        # The norms of the text half are not named as scales are, and would let nothing through.
        fill_(model, skip=("LayerNorm",))
    else:
        load_entries(model, half, read_checkpoint(name, require(CHECKPOINTS[name])))
    return model.eval().requires_grad_(False)


def audio_half() -> nn.Module:
    """Return HTSAT-base without fusion, and its projection, without weights."""
    from transformers import ClapAudioConfig, ClapAudioModelWithProjection

    size = ClapAudioConfig(patch_embeds_hidden_size=128, depths=[2, 2, 12, 2], hidden_size=1024)
    model: nn.Module = ClapAudioModelWithProjection(size)
    return model


def text_half() -> nn.Module:
    """Return RoBERTa-base and its projection, without weights."""
    from transformers import ClapTextConfig, ClapTextModelWithProjection

    model: nn.Module = ClapTextModelWithProjection(ClapTextConfig())
    return model


def read_checkpoint(name: str, path: Path) -> Mapping[str, Tensor]:
    """Return the entries of a checkpoint under the names that transformers has for them."""
    state = read_pickle(path)
    return convert(state["state_dict"]) if name == "music_speech_audioset" else state


def convert(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rename the entries of LAION's layout, and split its joint query-key-value projections.

    What transformers does not have is left out: constants of the front end, and heads that
    the embeddings do not pass.
    """
    converted: dict[str, Tensor] = {}
    for given, tensor in state.items():
        name = given.removeprefix("module.")
        if _UNUSED.search(name):
            continue
        for pattern, replacement in (
            *_RENAMED,
            *(_RENAMED_AUDIO if name.startswith("audio_branch.") else ()),
        ):
            name = pattern.sub(replacement, name)
        if ".qkv." in name:
            for part, third in zip(("query", "key", "value"), tensor.chunk(3), strict=True):
                converted[name.replace("qkv", part)] = third
        else:
            converted[name] = tensor
    return converted


def load_entries(model: nn.Module, half: Half, state: Mapping[str, Tensor]) -> None:
    """Load the entries of one half into `model`; constants that transformers computes may lack."""
    mine = {name: tensor for name, tensor in state.items() if name.startswith(f"{half}_")}
    missing, unexpected = model.load_state_dict(mine, strict=False)
    constants = ("position_ids", "token_type_ids", "relative_position_index", "num_batches_tracked")
    lacking = [name for name in missing if not name.endswith(constants)]
    surplus = [name for name in unexpected if not name.endswith(constants)]
    if lacking or surplus:
        raise V2ABenchError(
            f"the CLAP checkpoint is another network: {len(lacking)} entries are missing and {len(surplus)} "
            f"are not known, e.g. {(lacking + surplus)[0]}; fetch it again with `v2abench weights pull`"
        )
