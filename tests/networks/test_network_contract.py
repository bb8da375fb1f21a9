"""What the harness relies on in every network of the `light` protocol."""

import json
import pickle
from pathlib import Path

import numpy as np
import pytest
from deterministic import frames, wave

from v2abench.contracts import Network
from v2abench.media.audio import Audio
from v2abench.media.reading import AudioWindow
from v2abench.networks import aisfx
from v2abench.networks.aisfx import AiSFX
from v2abench.networks.levels import Levels
from v2abench.networks.motion import Motion
from v2abench.networks.onsets import Onsets
from v2abench.networks.speech import SpeechWaveform

NETWORKS: list[Network] = [AiSFX(), Onsets(), Motion(), Levels(), SpeechWaveform()]
BY_NAME = pytest.mark.parametrize("network", NETWORKS, ids=lambda network: network.name)


@BY_NAME
def test_a_network_survives_pickling_and_is_a_key(network: Network) -> None:
    copy = pickle.loads(pickle.dumps(network))
    assert copy == network
    assert hash(copy) == hash(network)
    assert len({*NETWORKS, copy}) == len(NETWORKS)


@BY_NAME
def test_a_clip_gives_the_promised_features(
    network: Network, monkeypatch: pytest.MonkeyPatch, deterministic_checkpoint: Path
) -> None:
    monkeypatch.setattr(aisfx, "require", {"aisfx": deterministic_checkpoint}.__getitem__)
    sound = AudioWindow.of(Audio(wave(1.0, 16000)[None], 16000), seconds=8.0)
    pictures = frames(4, 48)[:, 0]
    prepared = pickle.loads(pickle.dumps(network.prepare(pictures if network.modality == "video" else sound)))
    (clip,) = network.load("cpu")([prepared])
    assert tuple(clip) == network.features
    assert all(isinstance(value, np.ndarray) and np.isfinite(value).all() for value in clip.values())


@BY_NAME
def test_parameters_can_go_into_a_fingerprint(network: Network) -> None:
    assert json.loads(json.dumps(dict(network.parameters))) == network.parameters
