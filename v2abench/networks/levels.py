"""Signal statistics of a clip's sound: loudness, true peak, silence, clipping, DC offset.

They describe how a model delivers its sound and need no weights. Loudness and
true peak follow ITU-R BS.1770-4 (annexes 1 and 2). All work on the decoded
samples, (channels, samples) with full scale ±1, at their native rate, with no
mean removed; dBFS are relative to an amplitude (or RMS) of 1.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import binary_opening
from scipy.signal import resample_poly, sosfilt

from v2abench.contracts import Forward, Prepared
from v2abench.errors import ClipFault
from v2abench.networks.facts import pass_through

if TYPE_CHECKING:
    from v2abench.media.reading import AudioWindow

LOUDNESS_FLOOR = -70.0
"""LUFS of a sound of which the absolute gate leaves nothing."""

TRUE_PEAK_FLOOR = -120.0
"""dBTP of digital silence, and the least that is reported."""

LOWEST_RATE = 8000
"""Hz: below, the shelf of the K-weighting comes too near to half the sample rate."""

_BLOCK_SECONDS = 0.4
_RELATIVE_GATE = 10.0
_SURROUND = 1.41

_TABLE_RATE = 48000
_SHELF = (
    (1.53512485958697, -2.69169618940638, 1.19839281085285),
    (1.0, -1.69065929318241, 0.73248077421585),
)
_HIGH_PASS = ((1.0, -2.0, 1.0), (1.0, -1.99004745483398, 0.99007225036621))
"""BS.1770-4 tables 1 and 2: numerator and denominator at 48 kHz."""


def loudness(samples: NDArray[np.float32], sample_rate: int) -> float:
    """Return the integrated loudness in LUFS, at least -70.

    Mean power of the K-weighted 400 ms blocks, 75 % overlapped, that pass the
    absolute gate (-70 LUFS) and the relative gate (10 LU under the mean of
    those). Where the gates leave no block, or the sound is shorter than one,
    the value is -70.
    """
    powers = _block_powers(samples, sample_rate)
    powers = powers[powers > _power(LOUDNESS_FLOOR)]
    if not powers.size:
        return LOUDNESS_FLOOR
    powers = powers[powers > powers.mean() / 10 ** (_RELATIVE_GATE / 10)]
    return -0.691 + 10 * math.log10(powers.mean())


def _power(lufs: float) -> float:
    return float(10 ** ((lufs + 0.691) / 10))


def _block_powers(samples: NDArray[np.float32], sample_rate: int) -> NDArray[np.float64]:
    """Power of each block, weighted and summed over channels, (blocks,)."""
    block = round(_BLOCK_SECONDS * sample_rate)
    weighted = sosfilt(k_weighting(sample_rate), samples.astype(np.float64))
    energy = np.concatenate([[0.0], np.cumsum(_channel_weights(len(samples)) @ weighted**2)])
    starts = np.round(np.arange(0, samples.shape[1] - block + 1, block / 4)).astype(np.int64)
    powers: NDArray[np.float64] = (energy[starts + block] - energy[starts]) / block
    return powers


def _channel_weights(channels: int) -> NDArray[np.float64]:
    """BS.1770's weights. Samples carry no layout: six channels are taken for L R C LFE
    Ls Rs (the LFE does not count), five for L R C Ls Rs, else every channel weighs 1.
    """
    layouts = {5: [1, 1, 1, _SURROUND, _SURROUND], 6: [1, 1, 1, 0, _SURROUND, _SURROUND]}
    return np.array(layouts.get(channels, [1] * channels), dtype=np.float64)


def k_weighting(sample_rate: int) -> NDArray[np.float64]:
    """Return BS.1770's K-weighting at `sample_rate` as second-order sections, (2, 6).

    The standard tabulates 48 kHz. For other rates each table is taken back to
    its analogue filter and digitised anew by the bilinear transform, with the
    corner frequency kept in place.
    """
    return np.array([_at_rate(*section, sample_rate) for section in (_SHELF, _HIGH_PASS)])


def _at_rate(
    numerator: tuple[float, ...], denominator: tuple[float, ...], sample_rate: int
) -> NDArray[np.float64]:
    # 1/z = (1-s)/(1+s) makes c0 + c1/z + c2/z² a quadratic in s; the same map leads back.
    bilinear = np.array([[1, 1, 1], [2, 0, -2], [1, -1, 1]])
    b, a = bilinear @ numerator, bilinear @ denominator
    old = math.sqrt(a[0] / a[2])
    new = math.tan(math.atan(old) * _TABLE_RATE / sample_rate)
    stretch = (old / new) ** np.arange(3)
    b, a = bilinear @ (b * stretch), bilinear @ (a * stretch)
    section: NDArray[np.float64] = np.concatenate([b, a]) / a[0]
    return section


def true_peak(samples: NDArray[np.float32]) -> float:
    """Return the peak of the 4x oversampled sound over all channels in dBTP, at least -120.

    The interpolator is SciPy's windowed sinc, at every sample rate.
    """
    peak = float(np.abs(resample_poly(samples.astype(np.float64), 4, 1, axis=1)).max())
    return 20 * math.log10(max(peak, 10 ** (TRUE_PEAK_FLOOR / 20)))


def silence_share(samples: NDArray[np.float32], sample_rate: int) -> float:
    """Return the share of 20 ms frames whose RMS is under -60 dBFS in every channel.

    The last frame may be shorter.
    """
    starts = np.arange(0, samples.shape[1], round(0.02 * sample_rate))
    lengths = np.diff(starts, append=samples.shape[1])
    power = np.add.reduceat(samples.astype(np.float64) ** 2, starts, axis=1) / lengths
    return float((power.max(axis=0) < 1e-6).mean())


def clipping_share(samples: NDArray[np.float32]) -> float:
    """Return the share of samples at full scale (|x| >= 0.999) in runs of at least three."""
    full_scale = np.abs(samples) >= 0.999
    return float(binary_opening(full_scale, np.ones((1, 3), dtype=bool)).mean())


def dc_offset(samples: NDArray[np.float32]) -> float:
    """Return the largest |mean| of a channel, in units of full scale."""
    return float(np.abs(samples.mean(axis=1, dtype=np.float64)).max())


@dataclass(frozen=True)
class Levels:
    """The `levels` network, each feature () float64.

    `loudness` LUFS, `true_peak` dBTP, `silence_share` and `clipping_share` in
    0..1, `dc_offset` in units of full scale.
    """

    name: ClassVar[str] = "levels"
    version: ClassVar[int] = 1
    modality: ClassVar[Literal["audio"]] = "audio"
    weights: ClassVar[tuple[str, ...]] = ()
    features: ClassVar[tuple[str, ...]] = (
        "loudness",
        "true_peak",
        "silence_share",
        "clipping_share",
        "dc_offset",
    )
    frames: ClassVar[None] = None
    parameters: ClassVar[Mapping[str, object]] = {}

    def prepare(self, media: AudioWindow) -> Prepared:
        """Measure the sound; there is nothing left for the device.

        Raises `ClipFault` for rates below 8 kHz, where K-weighting is not defined.
        """
        samples, rate = media.audio.samples, media.audio.sample_rate
        if rate < LOWEST_RATE:
            raise ClipFault("undefined", f"levels need at least {LOWEST_RATE} Hz, the sound has {rate} Hz")
        values = {
            "loudness": loudness(samples, rate),
            "true_peak": true_peak(samples),
            "silence_share": silence_share(samples, rate),
            "clipping_share": clipping_share(samples),
            "dc_offset": dc_offset(samples),
        }
        return Prepared({name: np.array(value, dtype=np.float64) for name, value in values.items()})

    def load(self, device: str) -> Forward:  # noqa: ARG002 (the contract's signature)
        """Return the forward half, which hands on what `prepare` measured."""
        return pass_through
