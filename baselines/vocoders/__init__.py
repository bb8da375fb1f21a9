"""Vocoders: from spectrograms to waveforms."""
