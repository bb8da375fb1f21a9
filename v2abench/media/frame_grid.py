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


class DueGrid:
    """The choice of a player that shows a frame once it is due, as MMAudio's demo makes it.

    Output frame k shows the first source frame that starts at k / rate or later; one that
    comes late is repeated for each k that is due. `advance` takes the start times of the
    source frames in order, in seconds, and returns how many output frames show this one.
    Frames before time 0 show nothing.

    Source: hkchengrex/MMAudio@974010a; the due time is summed up in float64, as there.
    """

    def __init__(self, rate: Fraction) -> None:
        self._step = float(1 / rate)
        self._due = 0.0

    def advance(self, time: Fraction) -> int:
        """See the class."""
        count = 0
        while float(time) >= self._due:
            self._due += self._step
            count += 1
        return count
