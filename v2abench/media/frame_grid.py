"""Which frames of a video are seen when it is shown at another rate."""

import math
from fractions import Fraction


class FrameGrid:
    """FFmpeg's `fps` filter with `round=near`, as a schedule.

    Output frame k shows the last source frame whose start, rounded to the grid
    k / rate (halves away from zero), is not after k; the output begins with the
    first source frame. `advance` takes the start times of the source frames in
    order, then the end of the last one, as exact seconds, and returns how many
    output frames show the previous source frame.

    Source: FFmpeg, libavfilter/vf_fps.c.
    """

    def __init__(self, rate: Fraction) -> None:
        self._rate = rate
        self._next: int | None = None

    def advance(self, time: Fraction) -> int:
        """See the class; `time` is the start of the next frame, or the end of the last."""
        position = time * self._rate
        nearest = math.floor(abs(position) + Fraction(1, 2)) * (1 if position > 0 else -1)
        if self._next is None:
            self._next = nearest
        count = max(0, nearest - self._next)
        self._next += count
        return count
