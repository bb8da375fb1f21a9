"""PESQ on a synthetic voice: its known maximum, its direction, and where it is undefined."""

import sys
from importlib import import_module

import numpy as np
import pytest
from numpy.typing import NDArray

from v2abench.contracts import Array, PairNetwork, Stream
from v2abench.errors import ClipFault, V2ABenchError
from v2abench.networks.pesq import PESQWideband

RATE = 16000
NETWORK: PairNetwork = PESQWideband()


def voice(seconds: float = 4.0) -> NDArray[np.float32]:
    """Harmonics of a gliding pitch, in syllables and two utterances."""
    t = np.arange(round(seconds * RATE)) / RATE
    phase = 2 * np.pi * np.cumsum(120 + 30 * np.sin(2 * np.pi * 0.7 * t)) / RATE
    harmonics = sum(np.sin(k * phase) / k for k in range(1, 25))
    syllables = np.clip(np.sin(2 * np.pi * 3.5 * t), 0, None) * (np.sin(2 * np.pi * 0.5 * t) > -0.3)
    return (0.2 * harmonics * syllables).astype(np.float32)


def noise(count: int) -> NDArray[np.float32]:
    return np.random.default_rng(0).standard_normal(count).astype(np.float32)


def score(generated: NDArray[np.float32], reference: NDArray[np.float32]) -> float:
    inputs: dict[Stream, dict[str, Array]] = {
        "generated": {"speech.waveform": generated},
        "reference": {"speech.waveform": reference},
    }
    feature = NETWORK.load("cpu")(inputs)["wideband"]
    assert feature.shape == ()
    assert feature.dtype == np.float64
    return float(feature)


def test_identical_speech_has_the_maximum_of_p_862_2() -> None:
    assert score(voice(), voice()) == pytest.approx(4.644, abs=1e-3)


def test_noisier_speech_scores_lower() -> None:
    speech, hiss = voice(), noise(len(voice()))
    scores = [score(speech + level * hiss, speech) for level in (0.0, 1e-5, 1e-4, 1e-3)]
    assert scores == sorted(scores, reverse=True)
    assert scores[-1] < 2 < scores[1]


def test_the_reference_is_the_reference() -> None:
    speech = voice()
    noisy = speech + 1e-4 * noise(len(speech))
    expected = import_module("pesq").pesq(RATE, speech, noisy, "wb")
    assert score(noisy, speech) == pytest.approx(expected, abs=1e-9)
    assert score(speech, noisy) > score(noisy, speech) + 0.5


def test_gain_hardly_matters() -> None:
    speech = voice()
    noisy = speech + 1e-4 * noise(len(speech))
    assert score(np.float32(0.1) * noisy, speech) == pytest.approx(score(noisy, speech), abs=1e-3)


def test_both_sides_are_cut_to_their_common_length() -> None:
    speech = voice()
    assert score(speech[:-RATE], speech) == score(speech[:-RATE], speech[:-RATE])


@pytest.mark.parametrize(
    ("generated", "reference", "reason"),
    [
        (np.zeros(4 * RATE, np.float32), voice(), "silence: the generated"),
        (voice(), np.zeros(4 * RATE, np.float32), "silence: the reference"),
        (voice(), 1e-7 * voice(), "silence: the reference"),
        (voice(), voice()[:0], "silence"),
        (voice()[800:3800], voice()[800:3800], "at least 1/4 of a second"),
        (voice(), voice() + 0.1 * noise(4 * RATE), "No utterances"),
        (voice(19.1), voice(19.1), "at most 19 s"),
    ],
)
def test_what_has_no_score_is_undefined(
    generated: NDArray[np.float32], reference: NDArray[np.float32], reason: str
) -> None:
    with pytest.raises(ClipFault, match=f"undefined: .*{reason}"):
        score(generated, reference)


def test_many_short_utterances_do_not_overrun_the_c_code() -> None:
    burst = np.concatenate([noise(round(0.21 * RATE)), 1e-4 * noise(round(0.21 * RATE))])
    longest = np.resize(burst, 19 * RATE)
    assert score(longest, longest) == pytest.approx(4.644, abs=1e-3)


def test_a_missing_package_is_told_with_its_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pesq", None)
    with pytest.raises(V2ABenchError, match=r'pip install "v2abench\[speech\]"'):
        score(voice(), voice())
