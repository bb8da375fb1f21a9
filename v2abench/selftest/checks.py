"""The checks of `v2abench selftest`: what is asked of this machine, and what the reference answered.

Networks run with deterministic weights, through the very code of an evaluation. The
tolerance of a check is `absolute + relative · |reference|` for every number of its array.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec

import numpy as np
import torch
from torch import Tensor

from v2abench.contracts import Array, Network, Prepared
from v2abench.features.extraction import exact_arithmetic
from v2abench.media.audio import Audio
from v2abench.media.reading import AudioWindow
from v2abench.metrics.frechet import frechet_distance
from v2abench.metrics.inception import inception_score
from v2abench.metrics.kl import softmax_divergences
from v2abench.networks.cnn14 import Cnn14
from v2abench.networks.imagebind import ImageBindAudio, ImageBindVideo
from v2abench.networks.imagebind_inputs import scale_frame
from v2abench.networks.passt import PaSST
from v2abench.networks.synchformer.audio import SynchformerAudio
from v2abench.networks.synchformer.comparison import load_comparison
from v2abench.networks.synchformer.visual import SynchformerVideo
from v2abench.networks.vggish import VGGish
from v2abench.selftest.goldens import golden, golden_entries
from v2abench.selftest.signals import frames, golden_features, golden_logits, wave
from v2abench.weights.deterministic import values, weights_mode

Measure = Callable[[str], Array]
"""From a device to what this machine computes."""


@dataclass(frozen=True)
class Check:
    """One array to reproduce; `package` is what it needs beyond the core."""

    name: str
    what: str
    reference: Callable[[], Array]
    measure: Measure
    absolute: float
    relative: float = 0.0
    package: str | None = None


@dataclass(frozen=True)
class Outcome:
    """The largest deviation, whether all are within the tolerance, and seconds.

    `skipped` says why nothing was measured, else it is None.
    """

    check: Check
    deviation: float
    passed: bool
    seconds: float
    skipped: str | None = None


def run_checks(checks: Sequence[Check], device: str) -> Iterator[Outcome]:
    """Yield the outcome of each check, in order, with deterministic weights on `device`."""
    for check in checks:
        if check.package and find_spec(check.package) is None:
            yield Outcome(check, 0.0, True, 0.0, f"needs `pip install {check.package}`")
            continue
        start = time.perf_counter()
        with weights_mode("deterministic"), torch.inference_mode(), exact_arithmetic():
            found = np.asarray(check.measure(device), np.float64)
        expected = np.asarray(check.reference(), np.float64)
        difference = np.abs(found - expected)
        allowed = check.absolute + check.relative * np.abs(expected)
        seconds = time.perf_counter() - start
        yield Outcome(check, float(difference.max()), bool((difference <= allowed).all()), seconds)


def window(samples: Array, sample_rate: int) -> AudioWindow:
    """All of `samples`, from which no mean is taken: the reference's networks were fed directly."""
    return AudioWindow.of(Audio(samples[None], sample_rate), len(samples) / sample_rate, file_mean=0.0)


def _heard(network: Network, feature: str, seconds: float, rate: int, seed: int) -> Measure:
    """One clip of the deterministic sound through `network`."""

    def measure(device: str) -> Array:
        prepared = network.prepare(window(wave(seconds, rate, seed), rate))
        return np.asarray(network.load(device)([prepared])[0][feature])

    return measure


def _watched_by_imagebind(device: str) -> Array:
    """Two views of the deterministic video: their mean, as the network gives it."""
    chosen = frames(175, 320)[24::50, :, 40:280].transpose(0, 2, 3, 1)
    network = ImageBindVideo()
    views = network.prepare(np.stack([scale_frame(frame) for frame in chosen])).inputs["views"]
    return np.asarray(network.load(device)([Prepared({"views": views[[0, 4]]})])[0]["embedding"])


def _watched_by_synchformer(device: str) -> Array:
    pictures = np.ascontiguousarray(frames(24, 224).transpose(0, 2, 3, 1))
    network = SynchformerVideo()
    return np.asarray(network.load(device)([network.prepare(pictures)])[0]["segments"])


def _segment_by_synchformer(device: str) -> Array:
    network = SynchformerAudio()
    prepared = network.prepare(window(wave(8, 16000)[:10240], 16000))
    return np.asarray(network.load(device)([prepared])[0]["segments"])


def _compared(device: str) -> Array:
    video, sound = (
        (10 * values(f"probe.{name}", (2 * 24 * tokens * 768,))).reshape(2, 24, tokens, 768).numpy()
        for name, tokens in (("vis", 8), ("aud", 6))
    )
    return load_comparison(device)(video[:, :14], sound[:, :14])


def laion_entries() -> dict[str, Tensor]:
    """Return deterministic weights of CLAP's sound half under LAION's names, constants left out."""
    constant = ("extractor", "attn_mask", "relative_position_index", "num_batches_tracked")
    return {
        name: values(name, shape)
        for name, shape, _ in golden_entries("clap_audio")
        if not any(word in name for word in constant)
    }


def _heard_by_clap(device: str) -> Array:
    """With weights under LAION's names, so that the conversion is checked too."""
    from v2abench.networks.clap.audio import ClapAudio, embed
    from v2abench.networks.clap.checkpoint import audio_half, convert, load_entries

    model = audio_half()
    load_entries(model, "audio", convert(laion_entries()))
    prepared = ClapAudio().prepare(window(wave(8, 48000), 48000))
    return np.asarray(embed(model.eval().to(device), [prepared])[0])


def _resampled(device: str) -> Array:  # noqa: ARG001
    stereo = np.stack([wave(3, 44100, 3), np.float32(0.5) * wave(3, 44100, 4) + np.float32(0.1)])
    heard = AudioWindow.of(Audio(stereo, 44100), seconds=2.5).waveform(16000)
    return np.concatenate([heard[:1500], heard[-500:]])


def _metrics(device: str) -> Array:  # noqa: ARG001
    first, second = (golden_features(1000, 128, part).astype(np.float64) for part in (0, 1))
    generated, reference = (logits.astype(np.float64) for logits in golden_logits(200))
    kl = softmax_divergences(reference, generated).mean()
    return np.array([frechet_distance(first, second), kl, inception_score(generated)[0]])


def _reference_metrics() -> Array:
    arrays = golden("metrics")
    return np.array([arrays["fd_1000_128"][1], arrays["kl_f64_200"][0], arrays["isc_200"][0]])


def _stored(file: str, name: str, *index: int) -> Callable[[], Array]:
    return lambda: golden(file)[name][index]


def _mean_of_views() -> Array:
    return np.asarray(golden("imagebind")["full_vision_per_clip"].mean(axis=0))


def _first_segment() -> Array:
    return golden("synchformer")["full_afeats"][0, :1]


_PASST = _heard(PaSST(), "embedding", 8, 32000, 3)
_CNN14 = _heard(Cnn14(), "embedding", 8, 16000, 3)
_VGGISH = _heard(VGGish(), "embedding", 8, 16000, 3)
_IMAGEBIND = _heard(ImageBindAudio(), "embedding", 8, 16000, 0)

CHECKS: tuple[Check, ...] = (
    Check("resampling", "44.1 to 16 kHz", _stored("audio_io", "a44100_16000"), _resampled, 2e-6),
    Check("metrics", "FD, KL, IS of given features", _reference_metrics, _metrics, 0, 1e-6),
    Check("passt", "embedding, 8 s", _stored("passt", "features_8s", 0), _PASST, 4e-5),
    Check("cnn14", "embedding, 8 s", _stored("cnn14", "features_8s", 0), _CNN14, 3e-5),
    Check("vggish", "embeddings, 8 s", _stored("vggish", "features_8s", 0), _VGGISH, 2e-5),
    Check("imagebind_audio", "embedding, 8 s", _stored("imagebind", "full_audio"), _IMAGEBIND, 2e-5, 1e-4),
    Check("imagebind_video", "mean of two views", _mean_of_views, _watched_by_imagebind, 2e-5, 1e-4),
    Check("synchformer_audio", "one segment", _first_segment, _segment_by_synchformer, 1e-4, 1e-4),
    Check(
        "synchformer_video",
        "two segments",
        _stored("synchformer", "full_vfeats", 0),
        _watched_by_synchformer,
        1e-4,
        1e-4,
    ),
    Check(
        "synchformer",
        "logits of two clips",
        _stored("synchformer", "full_probe_logits_first"),
        _compared,
        1e-4,
        1e-4,
    ),
    Check(
        "clap_audio",
        "embedding, 8 s",
        _stored("clap_audio", "embed_8s"),
        _heard_by_clap,
        1e-5,
        package="transformers",
    ),
)


def by_name(checks: Sequence[Check]) -> Mapping[str, Check]:
    """Return the checks under their names."""
    return {check.name: check for check in checks}
