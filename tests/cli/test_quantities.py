"""Sizes as a person writes them."""

import pytest

from v2abench.cli.quantities import parse_batch_sizes, parse_bytes
from v2abench.errors import V2ABenchError


@pytest.mark.parametrize(
    ("text", "expected"),
    [("6GB", 6e9), ("6 g", 6e9), ("512MiB", 512 * 2**20), ("1.5kb", 1500), ("100", 100), ("2Ti", 2 * 2**40)],
)
def test_sizes_have_units(text: str, expected: float) -> None:
    assert parse_bytes(text) == expected


@pytest.mark.parametrize("text", ["", "much", "-1GB", "0", "6XB"])
def test_what_is_no_size_is_told(text: str) -> None:
    with pytest.raises(V2ABenchError, match=r"--max-memory .* such as 6GB"):
        parse_bytes(text)


def test_batch_sizes_are_for_all_networks_or_for_one() -> None:
    assert parse_batch_sizes(["8", "passt=2"]) == {"": 8, "passt": 2}
    for wrong in (["0"], ["passt="], ["passt=x"]):
        with pytest.raises(V2ABenchError, match="a number from 1 on"):
            parse_batch_sizes(wrong)
    with pytest.raises(V2ABenchError, match="given twice for passt"):
        parse_batch_sizes(["passt=1", "passt=2"])
