"""The sound of a scene: modal synthesis in a room, over background noise.

Every impact excites the modes of the object (two-pole resonators, so that
overlapping strikes add up as in a real body), a burst of contact noise and a
soft thud of the surface. Faster impacts are louder (amplitude ∝ speed^1.1) and
brighter (the contact is shorter, so it reaches higher modes). Levels are
absolute: nothing is normalised per clip, but for the noise, which lies a drawn
number of decibels below the impacts.
"""

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from scipy.signal import iirpeak, lfilter, oaconvolve

from v2abench.impacts.materials import REFERENCE_SIZE, Voice
from v2abench.impacts.scenes import SAMPLE_RATE, SECONDS, Actor, Event, Scene, named_rng
from v2abench.impacts.surroundings import Room
from v2abench.media.audio import Audio

Floats = NDArray[np.float64]

SAMPLES = round(SECONDS * SAMPLE_RATE)
_THUDS_HZ = {"stone": 75.0, "tiled": 125.0, "wooden": 95.0}
_HIGHEST_MODE_HZ = 7600.0
_QUIETEST_POWER = 1e-6
"""Even a clip of faint impacts has noise: digital silence occurs in no room."""


def render_sound(scene: Scene) -> Audio:
    """Return the sound of `scene`: (1, 64000) float32 at 16 kHz, within ±0.9.

    A pure function of the scene. Each impact begins at its sample, rounded to
    the nearest; background noise runs throughout.
    """
    rng = named_rng(scene.split, scene.index, "sound")
    dry = np.zeros(SAMPLES)
    for index, actor in enumerate(scene.actors):
        events = [event for event in scene.events if event.actor == index]
        if events:
            dry += _strikes(rng, scene.surface, actor, events)
    sound = _in_room(rng, scene.room, dry)
    sound += _background(rng, scene.room, float(np.mean(sound**2)))
    return Audio(_limited(sound)[None].astype(np.float32), SAMPLE_RATE)


def _strikes(rng: Generator, surface: str, actor: Actor, events: list[Event]) -> Floats:
    """Return the impacts of one object, dry."""
    starts = np.array([round(event.time_s * SAMPLE_RATE) for event in events])
    speeds = np.array([event.speed for event in events])
    loudness = actor.voice.level * (speeds / 4.0) ** 1.1
    sound = _modes(rng, actor, starts, speeds, loudness)
    sound += _noise(rng, actor.voice, starts, speeds, loudness)
    return sound + _thud(surface, starts, loudness)


def mode_frequencies(voice: Voice, size: float) -> Floats:
    """Return the frequencies of all modes in Hz for an object of `size` metres."""
    return np.asarray(voice.ratios) * voice.pitch_hz * REFERENCE_SIZE / size


def _modes(
    rng: Generator, actor: Actor, starts: NDArray[np.int64], speeds: Floats, loudness: Floats
) -> Floats:
    """Return the ringing of the object: a bank of decaying resonators."""
    voice = actor.voice
    frequencies = mode_frequencies(voice, actor.size)
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


def _in_room(rng: Generator, room: Room, dry: Floats) -> Floats:
    """Add a few early reflections and a diffuse tail."""
    length = round(0.4 * SAMPLE_RATE)
    times = np.arange(length) / SAMPLE_RATE
    tail = rng.normal(size=length) * np.exp(-times * 6.9 / room.seconds)
    tail[: round(0.008 * SAMPLE_RATE)] = 0.0
    response = room.wetness * tail
    response[0] = 1.0
    taps = np.round(rng.uniform(0.004, 0.020, size=4) * SAMPLE_RATE).astype(int)
    response[taps] += rng.uniform(0.03, 0.12, size=4) * rng.choice((-1.0, 1.0), size=4)
    return np.asarray(oaconvolve(dry, response)[:SAMPLES])


def _background(rng: Generator, room: Room, power: float) -> Floats:
    """Return noise of the room's colour at its distance below `power`, slowly swelling."""
    spectrum = np.fft.rfft(rng.normal(size=SAMPLES))
    frequencies = np.fft.rfftfreq(SAMPLES, 1 / SAMPLE_RATE)
    noise = np.fft.irfft(spectrum * np.maximum(frequencies, 50.0) ** (-room.noise_slope / 2), SAMPLES)
    phase, rate = rng.uniform(0, 2 * np.pi), rng.uniform(0.2, 1.5)
    times = np.arange(SAMPLES) / SAMPLE_RATE
    noise *= 1 + room.swell * np.sin(2 * np.pi * rate * times + phase)
    level = np.sqrt(max(power, _QUIETEST_POWER)) * 10 ** (-room.noise_db / 20)
    return np.asarray(noise * level / np.sqrt(np.mean(noise**2)))


def _limited(sound: Floats) -> Floats:
    """Leave ±0.6 as it is and bend what is louder to stay within ±0.9."""
    over = np.maximum(np.abs(sound) - 0.6, 0.0)
    bent = np.minimum(np.abs(sound), 0.6) + 0.3 * np.tanh(over / 0.3)
    return np.asarray(np.sign(sound) * bent)
