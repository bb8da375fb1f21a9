import pytest

from v2abench.contracts import Direction
from v2abench.leaderboards.numbers import number_format, ranks, show


@pytest.mark.parametrize(
    ("values", "shown"),
    [
        ([219.014, 84.571, 8.584], ["219.01", "84.57", "8.58"]),
        ([2.26, 2.3], ["2.26", "2.30"]),
        ([0.2345, 0.31], ["0.234", "0.310"]),
        ([0.0512, 0.6], ["0.0512", "0.6000"]),
        ([12345.6, 3.0], ["12346", "3"]),
        ([-23.456, -9.1], ["-23.46", "-9.10"]),
        ([0.0, 0.0], ["0.00", "0.00"]),
        ([0.0, 0.00123], ["0.00000", "0.00123"]),
        ([1.234e-4], ["0.000123"]),
        ([2.4e-6, -1.17e-5, 0.0], ["2.40e-6", "-1.17e-5", "0.00e+0"]),
        ([2.5e8], ["2.50e+8"]),
        ([1e-30, 1.0], ["0.0000", "1.0000"]),
        ([], []),
    ],
)
def test_a_column_shows_three_to_five_digits(values: list[float], shown: list[str]) -> None:
    spec = number_format(values)
    assert [show(value, spec) for value in values] == shown


def test_a_negative_zero_has_no_sign_and_none_is_a_dash() -> None:
    assert show(-0.001, ".2f") == "0.00"
    assert show(-0.01, ".2f") == "-0.01"
    assert show(None, ".2f") == "–"


def test_ranks_follow_the_direction_and_skip_those_who_do_not_compete() -> None:
    shown = [1.0, None, 3.0, 2.0, 3.0]
    assert ranks(shown, Direction.HIGHER) == [None, None, 1, 2, 1]
    assert ranks(shown, Direction.LOWER) == [1, None, None, 2, None]
    assert ranks(shown, Direction.NEUTRAL) == [None] * 5
    assert ranks([1.0, None, 1.0], Direction.LOWER) == [None] * 3
