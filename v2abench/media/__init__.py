"""Reading, writing and resampling of sound and pictures; PyAV does all decoding."""
