"""The order of pairs: stages by score, shares of steps, every pair once a pass."""

import logging
from collections import Counter

import pytest

from v2abench.errors import V2ABenchError
from v2abench.finetune.curriculum import Curriculum, make_schedule, shared_steps, stage_of
from v2abench.finetune.watching import warn_of_small_stages

SCORES = [0.9, 0.1, 0.8, 0.7, 0.3, 0.75, 0.5, 0.95, 0.72, 0.71]
CLEAR = {0, 2, 5, 7, 8, 9}


def drawn(curriculum: Curriculum, steps: int, batch: int = 2, seed: int = 0) -> list[list[int]]:
    schedule = make_schedule(SCORES, curriculum, steps, batch, seed)
    return [schedule.batch(step) for step in range(steps)]


def test_a_score_at_the_threshold_is_a_hard_pair() -> None:
    assert [stage_of(score, (0.7,)) for score in (0.71, 0.7, 0.0)] == [0, 1, 1]
    assert [stage_of(score, (0.7, 0.3)) for score in (0.9, 0.5, 0.3)] == [0, 1, 2]


def test_stages_follow_each_other_exactly_where_the_schedule_says() -> None:
    schedule = make_schedule(SCORES, Curriculum(), 10, 2, 0)
    assert schedule.ends == (6, 10)
    assert [schedule.stage(step) for step in range(10)] == [0] * 6 + [1] * 4
    for step in range(10):
        assert set(schedule.batch(step)) <= (CLEAR if step < 6 else set(range(10)) - CLEAR)


def test_every_pair_comes_once_before_any_comes_again() -> None:
    batches = drawn(Curriculum((), stage_steps="proportional"), 15, batch=4)
    stream = [pair for batch in batches for pair in batch]
    for start in range(0, 60, 10):
        assert sorted(stream[start : start + 10]) == list(range(10))
    assert stream[:10] != stream[10:20]


def test_the_order_depends_on_the_seed_alone() -> None:
    assert drawn(Curriculum(), 10) == drawn(Curriculum(), 10)
    assert drawn(Curriculum(), 10) != drawn(Curriculum(), 10, seed=1)


def test_steps_are_shared_in_proportion_but_no_stage_is_starved() -> None:
    assert shared_steps([81, 19], 1000) == (800, 200)
    assert shared_steps([60, 40], 1000) == (600, 400)
    assert shared_steps([99, 1], 1000) == (800, 200)
    assert shared_steps([98, 1, 1], 1000) == (600, 200, 200)
    assert shared_steps([10, 0], 7) == (7, 0)
    for total in (7, 11, 90):
        assert sum(shared_steps([5, 3, 9], total)) == total


def test_every_pair_is_seen_about_as_often_with_stages_as_without() -> None:
    staged = Counter(pair for batch in drawn(Curriculum(), 20) for pair in batch)
    assert set(staged.values()) == {4}


def test_three_stages_and_stages_that_keep_earlier_pairs() -> None:
    three = make_schedule(SCORES, Curriculum((0.7, 0.3)), 10, 2, 0)
    assert [set(stage) for stage in three.stages] == [CLEAR, {6, 3}, {1, 4}]
    kept = make_schedule(SCORES, Curriculum((0.7, 0.3), "cumulative"), 10, 2, 0)
    assert [set(stage) for stage in kept.stages] == [CLEAR, CLEAR | {6, 3}, set(range(10))]


def test_replay_mixes_clear_pairs_into_the_later_stage_only() -> None:
    schedule = make_schedule(SCORES, Curriculum(replay=0.5), 400, 4, 0)
    late = [pair for step in range(240, 400) for pair in schedule.batch(step)]
    assert sum(pair in CLEAR for pair in late) / len(late) == pytest.approx(0.5, abs=0.08)
    assert all(set(schedule.batch(step)) <= CLEAR for step in range(0, 240, 17))


def test_a_stage_without_pairs_gets_no_steps() -> None:
    schedule = make_schedule([0.9, 0.8], Curriculum(), 6, 2, 0)
    assert schedule.ends == (6,)


@pytest.mark.parametrize(
    ("curriculum", "message"),
    [
        (Curriculum(stage_steps=(3, 3)), "add up to max_steps"),
        (Curriculum(stage_steps=(10,)), "2 numbers"),
        (Curriculum((0.99,), stage_steps=(5, 5)), "stage 1, which has no pairs"),
    ],
)
def test_steps_that_do_not_fit_are_told(curriculum: Curriculum, message: str) -> None:
    with pytest.raises(V2ABenchError, match=message):
        make_schedule(SCORES, curriculum, 10, 2, 0)


def test_thresholds_that_do_not_fall_and_no_pairs_are_told() -> None:
    with pytest.raises(V2ABenchError, match="must fall"):
        Curriculum((0.3, 0.7))
    with pytest.raises(V2ABenchError, match="no pairs"):
        make_schedule([], Curriculum(), 10, 2, 0)


def test_a_stage_with_hardly_any_pairs_is_told_of(caplog: pytest.LogCaptureFixture) -> None:
    def warned(scores: list[float]) -> list[int]:
        return warn_of_small_stages(make_schedule(scores, Curriculum(), 50, 8, 0))

    with caplog.at_level(logging.WARNING):
        assert warned([0.9] * 40 + [0.1] * 60) == []
        assert not caplog.records
        assert warned([0.9] + [0.1] * 99) == [1]
    assert "stage 1 has only 1 pairs and sees each 80 times (on average 4.0 times)" in caplog.text
    assert "curriculum_thresholds" in caplog.text
