"""Ratings on disk: what counts, what a crash leaves, and agreement."""

from pathlib import Path

import pytest

from v2abench.errors import V2ABenchError
from v2abench.finetune.preferences.oracle_ratings import Raters, rate
from v2abench.finetune.preferences.ratings import (
    Comparison,
    Rating,
    agreement,
    comparison_log,
    rating_log,
    read_comparisons,
    read_ratings,
    votes,
    winners,
)


def test_the_last_word_counts_and_can_be_taken_back(tmp_path: Path) -> None:
    log = rating_log(tmp_path)
    for rater, sample, rating in (
        ("anna", "a#0", "Good"),
        ("anna", "a#1", "Bad"),
        ("ben", "a#0", "Medium"),
        ("anna", "a#0", "Bad"),
        ("anna", "a#1", ""),
    ):
        log.append({"rater": rater, "sample": sample, "rating": rating})
    found = read_ratings(tmp_path / "ratings.csv")
    assert found == [Rating("ben", "a#0", "Medium"), Rating("anna", "a#0", "Bad")]
    assert votes(found, ["a#0", "a#1"]).tolist() == [[0, 1, 1], [0, 0, 0]]


def test_a_line_that_a_crash_cut_short_is_no_rating_and_spoils_none(tmp_path: Path) -> None:
    log = rating_log(tmp_path)
    log.append({"rater": "anna", "sample": "a#0", "rating": "Good"})
    with (tmp_path / "ratings.csv").open("a") as stream:
        stream.write("anna,a#1,Me")
    assert len(read_ratings(tmp_path / "ratings.csv")) == 1
    log.append({"rater": "anna", "sample": "a#2", "rating": "Bad"})
    assert [r.sample for r in read_ratings(tmp_path / "ratings.csv")] == ["a#0", "a#2"]


def test_ratings_from_elsewhere(tmp_path: Path) -> None:
    path = tmp_path / "mine.csv"
    path.write_text('﻿sample,rating\na#0,good\n"odd, name#1",BAD\n', encoding="utf-8")
    assert read_ratings(path) == [Rating("rater", "a#0", "Good"), Rating("rater", "odd, name#1", "Bad")]
    path.write_text("sample,rating\na#0,great\n")
    with pytest.raises(V2ABenchError, match=r"mine\.csv, line 2: rating is 'great', not one of Good"):
        read_ratings(path)
    path.write_text("file,stars\n")
    with pytest.raises(V2ABenchError, match="lacks the columns sample, rating"):
        read_ratings(path)
    path.write_bytes(b"\xff\xfe\xff")
    with pytest.raises(V2ABenchError, match="not UTF-8"):
        read_ratings(path)
    with pytest.raises(V2ABenchError, match="does not exist"):
        read_ratings(tmp_path / "none.csv")


def test_a_majority_decides_a_comparison(tmp_path: Path) -> None:
    log = comparison_log(tmp_path)
    for rater, first, second, choice in (
        ("a", "x", "y", "first"),
        ("b", "y", "x", "second"),
        ("c", "y", "x", "first"),
        ("a", "u", "v", "first"),
        ("b", "u", "v", "second"),
        ("a", "p", "q", "tie"),
        ("d", "x", "y", "second"),
        ("d", "y", "x", ""),
    ):
        log.append({"rater": rater, "first": first, "second": second, "choice": choice})
    found = read_comparisons(tmp_path / "comparisons.csv")
    assert Comparison("c", "y", "x", "first") in found
    assert winners(found) == {("x", "y"): 1}


def test_agreement_is_krippendorffs_alpha() -> None:
    """The nominal value of two raters who differ in 1 of 4: 1 - observed / expected disagreement."""
    pytest.importorskip("krippendorff")
    table = {"a": "GGBM", "b": "GGBB"}
    names = {"G": "Good", "M": "Medium", "B": "Bad"}
    ratings = [
        Rating(rater, str(n), names[letter]) for rater, row in table.items() for n, letter in enumerate(row)
    ]
    expected = 1 - (2 / 8) / ((4 * 3 + 4 * 1 + 3 * 1) * 2 / (8 * 7))
    assert agreement(ratings, "nominal") == pytest.approx(expected)
    assert agreement(ratings) > agreement(ratings, "nominal")  # type: ignore[operator]
    assert agreement(ratings[:4]) is None
    assert agreement([Rating(r, "s", "Good") for r in "ab"]) is None


def test_the_oracles_raters_follow_it_with_noise() -> None:
    grades = {f"s{n}": n / 400 for n in range(401)}
    ratings = rate(grades, Raters(count=2))
    assert ratings == rate(grades, Raters(count=2))
    assert ratings != rate(grades, Raters(count=2, seed=1))
    by_rater = [[r.rating for r in ratings if r.rater == f"oracle-{n}"] for n in range(2)]
    assert by_rater[0] != by_rater[1]
    for said in by_rater:
        assert set(said[:150]) == {"Bad"}
        assert said[380:].count("Good") > 15
    exact = rate(grades, Raters(count=1, bias=0, noise=0))
    assert [r.rating for r in exact] == ["Bad"] * 240 + ["Medium"] * 100 + ["Good"] * 61
