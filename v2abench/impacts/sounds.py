"""The sound of a scene: modal synthesis in a small room.

Every impact excites the modes of the object (two-pole resonators, so that
overlapping strikes add up as in a real body), a burst of contact noise and a
soft thud of the surface. Faster impacts are louder (amplitude ∝ speed^1.1) and
brighter (the contact is shorter, so it reaches higher modes). Levels are
absolute: nothing is normalised per clip.
"""

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from scipy.signal import iirpeak, lfilter, oaconvolve

from v2abench.impacts.materials import REFERENCE_SIZE, Voice
from v2abench.impacts.scenes import SAMPLE_RATE, SECONDS, Scene, named_rng
from v2abench.media.audio import Audio

Floats = NDArray[np.float64]

SAMPLES = round(SECONDS * SAMPLE_RATE)
_THUDS_HZ = {"stone": 75.0, "tiled": 125.0, "wooden": 95.0}
_HIGHEST_MODE_HZ = 7600.0


def render_sound(scene: Scene) -> Audio:
    """Return the sound of `scene`: (1, 64000) float32 at 16 kHz, within ±0.9.

    A pure function of the scene. Each impact begins at its sample, rounded to
    the nearest; room tone of −60 to −50 dBFS runs throughout.
    """
    rng = named_rng(scene.split, scene.index, "sound")
    starts = np.array([round(event.time_s * SAMPLE_RATE) for event in scene.events])
    speeds = np.array([event.speed for event in scene.events])
    voice = scene.material.voice
    loudness = voice.level * (speeds / 4.0) ** 1.1
    dry = _modes(rng, scene, starts, speeds, loudness)
    dry += _noise(rng, voice, starts, speeds, loudness)
    dry += _thud(scene.surface, starts, loudness)
    sound = _in_room(rng, dry) + _room_tone(rng)
    return Audio(_limited(sound)[None].astype(np.float32), SAMPLE_RATE)


def mode_frequencies(voice: Voice, size: float) -> Floats:
    """Return the frequencies of all modes in Hz for an object of `size` metres."""
    return np.asarray(voice.ratios) * voice.pitch_hz * REFERENCE_SIZE / size


def _modes(
    rng: Generator, scene: Scene, starts: NDArray[np.int64], speeds: Floats, loudness: Floats
) -> Floats:
    """Return the ringing of the object: a bank of decaying resonators."""
    voice = scene.material.voice
    frequencies = mode_frequencies(voice, scene.size)
    frequencies = frequencies * rng.normal(1.0, 0.008, size=len(frequencies))
    decays = voice.decay_s * (frequencies / voice.pitch_hz) ** -voice.damping
    gains = np.asarray(voice.gains) * np.exp(rng.normal(0.0, 0.25, size=(len(starts), len(frequencies))))
    gains *= loudness[:, None] * _contact_lowpass(frequencies, voice, speeds)
    sound = np.zeros(SAMPLES)
    for frequency, decay, gain in zip(frequencies, decays, gains.T, strict=True):
        if frequency < _HIGHEST_MODE_HZ:
            excitation = np.zeros(SAMPLES)
            np.add.at(excitation, starts, gain)
            sound += lfilter(*_resonator(frequency, decay), excitation)
    return sound


def _contact_lowpass(frequencies: Floats, voice: Voice, speeds: Floats) -> Floats:
    """Return the spectrum of the contact force, (events, modes): a contact of 2 m/s
    rolls off above `brightness_hz`, faster ones higher.
    """
    cutoff = voice.brightness_hz * (speeds / 2.0) ** 0.8
    return np.asarray(1.0 / (1.0 + (frequencies[None] / cutoff[:, None]) ** 2))


def _resonator(frequency: float, decay_s: float) -> tuple[Floats, Floats]:
    """Return the filter with impulse response exp(−t/decay)·sin(2π·frequency·t)."""
    radius = np.exp(-1.0 / (decay_s * SAMPLE_RATE))
    angle = 2 * np.pi * frequency / SAMPLE_RATE
    return (
        np.array([0.0, radius * np.sin(angle)]),
        np.array([1.0, -2 * radius * np.cos(angle), radius**2]),
    )


def _noise(
    rng: Generator, voice: Voice, starts: NDArray[np.int64], speeds: Floats, loudness: Floats
) -> Floats:
    """Return the bursts of contact noise: band-passed, decaying, higher for faster impacts."""
    length = round(6 * voice.noise_decay_s * SAMPLE_RATE)
    envelope = np.exp(-np.arange(length) / (voice.noise_decay_s * SAMPLE_RATE))
    sound = np.zeros(SAMPLES + length)
    for start, speed, loud in zip(starts, speeds, loudness, strict=True):
        centre = min(voice.noise_hz * (speed / 2.0) ** 0.3, 5000.0)
        burst = lfilter(*iirpeak(centre, 1.0, fs=SAMPLE_RATE), rng.normal(size=length)) * envelope
        sound[start : start + length] += loud * voice.noise * burst
    return sound[:SAMPLES]


def _thud(surface: str, starts: NDArray[np.int64], loudness: Floats) -> Floats:
    """Return the short low sound of what was struck, the same for all materials but for level."""
    excitation = np.zeros(SAMPLES)
    np.add.at(excitation, starts, 0.25 * loudness)
    return np.asarray(lfilter(*_resonator(_THUDS_HZ[surface], 0.025), excitation))


def _in_room(rng: Generator, dry: Floats) -> Floats:
    """Add a few early reflections and a diffuse tail of 0.2 to 0.4 s (60 dB), faint."""
    length = round(0.3 * SAMPLE_RATE)
    times = np.arange(length) / SAMPLE_RATE
    tail = rng.normal(size=length) * np.exp(-times * 6.9 / rng.uniform(0.2, 0.4))
    tail[: round(0.008 * SAMPLE_RATE)] = 0.0
    response = 0.006 * tail
    response[0] = 1.0
    taps = np.round(rng.uniform(0.004, 0.020, size=4) * SAMPLE_RATE).astype(int)
    response[taps] += rng.uniform(0.03, 0.12, size=4) * rng.choice((-1.0, 1.0), size=4)
    return np.asarray(oaconvolve(dry, response)[:SAMPLES])


def _room_tone(rng: Generator) -> Floats:
    """Return stationary noise, mostly below 400 Hz, at −60 to −50 dBFS (root mean square)."""
    white = rng.normal(size=SAMPLES)
    tone = lfilter([0.15], [1.0, -0.85], white) + 0.1 * white
    level = 10.0 ** (rng.uniform(-60.0, -50.0) / 20)
    return np.asarray(tone * level / np.sqrt(np.mean(tone**2)))


def _limited(sound: Floats) -> Floats:
    """Leave ±0.6 as it is and bend what is louder to stay within ±0.9."""
    over = np.maximum(np.abs(sound) - 0.6, 0.0)
    bent = np.minimum(np.abs(sound), 0.6) + 0.3 * np.tanh(over / 0.3)
    return np.asarray(np.sign(sound) * bent)
