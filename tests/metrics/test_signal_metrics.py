import numpy as np
import pytest

from v2abench.contracts import Bootstrap, Direction
from v2abench.metrics import signal
from v2abench.metrics.pesq import PESQ
from v2abench.metrics.signal import ClipMean, LevelDifference


def scalars(name: str, **streams: dict[str, float]) -> dict[str, dict[str, dict[str, np.ndarray]]]:
    return {
        stream: {name: {clip: np.array(v, dtype=np.float32) for clip, v in values.items()}}
        for stream, values in streams.items()
    }


def test_mean_over_the_clips_that_have_it() -> None:
    metric = ClipMean("Loud", "levels.loudness", unit="LUFS")
    features = scalars("levels.loudness", generated={"b": -20.0, "a": -30.0}, reference={"c": 0.0})
    score = metric.compute(features, Bootstrap())
    assert score.value == -25.0
    assert score.per_clip == {"a": -30.0, "b": -20.0}
    assert score.clips == ("a", "b")
    # t(0.975, 1) = 12.706, standard error 5
    assert score.interval.low == pytest.approx(-25 - 12.7062 * 5, rel=1e-5)
    assert score.interval.method == "student-t"


def test_arrays_of_one_are_scalars() -> None:
    score = ClipMean("x", "f").compute({"generated": {"f": {"a": np.array([3.0])}}}, Bootstrap())
    assert score.value == 3.0
    assert score.interval is None


def test_reference_stream_and_bounds() -> None:
    metric = ClipMean("x", "f", stream="reference", bounds=(0.0, 1.0))
    assert metric.needs == {"reference": ("f",)}
    features = scalars("f", reference={"a": 0.0, "b": 1.0}, generated={"a": 7.0})
    score = metric.compute(features, Bootstrap())
    assert (score.value, score.interval.low, score.interval.high) == (0.5, 0.0, 1.0)


def test_level_difference_is_paired_and_absolute() -> None:
    features = scalars(
        "levels.loudness",
        generated={"a": -20.0, "b": -30.0, "x": 0.0},
        reference={"b": -24.0, "a": -23.0, "y": 0.0},
    )
    score = LevelDifference().compute(features, None)
    assert score.per_clip == {"a": 3.0, "b": 6.0}
    assert score.value == 4.5


def test_pesq_is_for_speech() -> None:
    metric = PESQ()
    assert metric.subset == "speech"
    assert metric.direction is Direction.HIGHER
    assert metric.unit == "MOS-LQO"
    score = metric.compute(scalars("pesq.wideband", generated={"a": 2.0, "b": 4.0}), Bootstrap())
    assert score.value == 3.0
    assert score.interval.high <= 4.999


@pytest.mark.parametrize("name", ["loudness", "true_peak", "silence_share", "clipping_share", "dc_offset"])
def test_level_metrics_name_their_feature(name: str) -> None:
    metric = getattr(signal, name)(name="in the table")
    assert metric.name == "in the table"
    assert metric.needs == {"generated": (f"levels.{name}",)}
