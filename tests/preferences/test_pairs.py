import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from v2abench.errors import V2ABenchError
from v2abench.finetune.preferences.pairs import SCHEMA, Pair, read_pairs, relative_folder, write_pairs
from v2abench.finetune.preferences.rules import (
    STAGE_THRESHOLD,
    RuleOptions,
    choose,
    complexity,
    fault_of,
)

GOLDEN = np.load(Path(__file__).parents[1] / "goldens" / "pairs.npz")
OPTIONS = RuleOptions()


def made_pair(number: int = 0) -> Pair:
    return Pair(
        clip=f"clip {number}/é",
        prompt=None,
        video="/videos/a.mp4",
        source="auto",
        complexity=0.25,
        samples="samples",
        winner="a#0",
        loser="a#1",
        winner_audio="audio/a/0.flac",
        loser_audio="audio/a/1.flac",
        winner_hash="0" * 40,
        loser_hash="1" * 40,
        winner_seed=2**62 + number,
        loser_seed=1,
        winner_latent="latents/a.safetensors#0",
        winner_p_good=0.1,
    )


@pytest.mark.parametrize("row", range(6))
def test_extremes_is_the_papers_rule(row: int) -> None:
    probabilities = GOLDEN["prob"][row]
    [(winner, loser)] = choose("extremes", probabilities, "clip", OPTIONS)
    assert (winner, loser) == (GOLDEN["chosen"][row], GOLDEN["rejected"][row])
    kept = fault_of((winner, loser), probabilities[:, 0], [None] * 5) is None
    assert kept == GOLDEN["keep"][row]
    score = complexity(probabilities[winner], probabilities[loser])
    assert score == pytest.approx(GOLDEN["score"][row], abs=1e-15)
    stage = (1 if score > STAGE_THRESHOLD else 2) if kept else 0
    assert stage == GOLDEN["stage"][row]


def test_margin_takes_every_ordered_pair_above_it() -> None:
    probabilities = np.array([[0.8, 0.1, 0.1], [0.5, 0.2, 0.3], [0.1, 0.1, 0.8]])
    assert choose("margin", probabilities, "clip", RuleOptions(margin=0.3)) == [(0, 2), (1, 2)]
    assert choose("margin", probabilities, "clip", RuleOptions(margin=0.2)) == [(0, 1), (0, 2), (1, 2)]
    assert choose("margin", probabilities, "clip", RuleOptions(margin=0.75)) == []


def test_best_worst_differs_from_extremes_where_good_and_bad_are_high_together() -> None:
    probabilities = np.array([[0.5, 0.0, 0.5], [0.45, 0.5, 0.05], [0.3, 0.3, 0.4]])
    assert choose("extremes", probabilities, "clip", OPTIONS) == [(0, 0)]
    assert choose("best_worst", probabilities, "clip", OPTIONS) == [(1, 2)]


def test_random_depends_on_clip_and_seed_and_orders_rightly() -> None:
    probabilities = GOLDEN["prob"][0]
    drawn = [choose("random", probabilities, f"clip{n}", OPTIONS)[0] for n in range(60)]
    assert drawn == [choose("random", probabilities, f"clip{n}", OPTIONS)[0] for n in range(60)]
    assert drawn != [choose("random", probabilities, f"clip{n}", RuleOptions(seed=1))[0] for n in range(60)]
    assert {frozenset(pair) for pair in drawn} == {
        frozenset((a, b)) for a in range(5) for b in range(a + 1, 5)
    }
    assert all(complexity(probabilities[won], probabilities[lost]) >= 0 for won, lost in drawn)


def test_filters_say_why() -> None:
    good = np.array([0.6, 0.6, 0.2])
    assert fault_of((0, 0), good, [None] * 3) == "winner and loser are one sample"
    assert fault_of((0, 1), good, [None] * 3) == "the winner is not better"
    assert fault_of((0, 2), good, [None, None, "silent"]) == "a sample is silent"
    assert fault_of((0, 2), good, [None, "silent", None]) is None


def test_pairs_come_back_as_they_were(tmp_path: Path) -> None:
    pairs = tuple(made_pair(n) for n in range(3))
    write_pairs(tmp_path / "p" / "pairs.parquet", pairs, {"rule": "extremes"})
    found = read_pairs(tmp_path / "p" / "pairs.parquet")
    assert found.pairs == pairs
    assert found.card == {"schema_version": 1, "pairs": 3, "rule": "extremes"}
    assert found.latent(pairs[0], "winner") == (tmp_path / "p/samples/latents/a.safetensors", "0")
    assert found.latent(pairs[0], "loser") is None
    assert relative_folder(tmp_path / "s", tmp_path / "p" / "pairs.parquet") == "../s"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"source": "oracle"}, "source is 'oracle'"),
        ({"complexity": float("nan")}, "complexity is nan"),
        ({"complexity": 1.5}, r"complexity is 1\.5"),
        ({"loser": "a#0"}, "the same sample 'a#0'"),
    ],
)
def test_wrong_rows_are_named(tmp_path: Path, changes: dict[str, object], message: str) -> None:
    path = tmp_path / "pairs.parquet"
    write_pairs(path, [made_pair(), replace(made_pair(), **changes)], {})  # type: ignore[arg-type]
    with pytest.raises(V2ABenchError, match=f"row 1 .*{message}"):
        read_pairs(path)


def test_wrong_files_are_named(tmp_path: Path) -> None:
    path = tmp_path / "pairs.parquet"
    with pytest.raises(V2ABenchError, match="does not exist"):
        read_pairs(path)
    path.write_text("no table")
    with pytest.raises(V2ABenchError, match="is not a Parquet file"):
        read_pairs(path)
    pq.write_table(pa.table({"clip": ["a"]}), path)
    with pytest.raises(V2ABenchError, match="lacks the columns prompt, video"):
        read_pairs(path)
    with pytest.raises(V2ABenchError, match=r"ends in \.parquet"):
        write_pairs(tmp_path / "pairs.csv", [], {})


def test_a_lost_or_wrong_card_is_named(tmp_path: Path) -> None:
    path = tmp_path / "pairs.parquet"
    write_pairs(path, [made_pair()], {})
    path.with_suffix(".json").write_text(json.dumps({"schema_version": 99}))
    with pytest.raises(V2ABenchError, match="not a card of schema 1"):
        read_pairs(path)
    path.with_suffix(".json").unlink()
    with pytest.raises(V2ABenchError, match="the card of the pairs, is missing"):
        read_pairs(path)


def test_the_schema_is_the_documented_one() -> None:
    assert SCHEMA.field("winner_seed").type == pa.int64()
    assert SCHEMA.field("complexity").type == pa.float64()
    assert not SCHEMA.field("complexity").nullable
    assert SCHEMA.field("winner_p_good").nullable
