"""The metric of metrics: correlations on made evidence, where the truth is known."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import spearmanr

from v2abench.impacts.validation.conditions import CONDITIONS, GRADES, Evidence
from v2abench.impacts.validation.correlation import correlations, spearman
from v2abench.impacts.validation.report import markdown, write_validation


@pytest.fixture(scope="module")
def evidence() -> Evidence:
    """Six conditions of growing quality on twelve clips: Good follows it, Bad is blind, Loss falls."""
    rng = np.random.default_rng(0)
    quality = np.repeat(np.linspace(0, 1, 6), 12) + 0.05 * rng.normal(size=72)
    clips = pd.DataFrame(
        {
            "condition": np.repeat([f"c{k}" for k in range(6)], 12),
            "family": np.repeat(["one", "one", "two", "two", "three", "three"], 12),
            "clip": np.tile([f"test-{k:06d}" for k in range(12)], 6),
            "Good": 3 * quality + 0.05 * rng.normal(size=72),
            "Bad": rng.normal(size=72),
            "Loss": np.exp(-quality),
            **dict.fromkeys(GRADES, quality),
        }
    )
    sets = clips.drop(columns="clip").groupby(["family", "condition"], sort=False).mean().reset_index()
    return Evidence(clips, sets.assign(Set=sets["Loss"] ** 2), {"Good": 1, "Bad": 1, "Loss": -1, "Set": -1})


def test_spearman_is_scipys_and_undefined_for_constants() -> None:
    rng = np.random.default_rng(1)
    first, second = np.round(rng.normal(size=(2, 40)), 1)
    assert spearman(first, second) == pytest.approx(spearmanr(first, second).statistic)
    holes = np.where(np.arange(40) % 5 == 0, np.nan, first)
    whole = np.isfinite(holes)
    assert spearman(holes, second) == pytest.approx(spearmanr(first[whole], second[whole]).statistic)
    assert spearman(np.ones(40), second) is None


def test_a_metric_that_knows_is_told_from_one_that_does_not(evidence) -> None:
    found = {(c.metric, c.over): c for c in correlations(evidence, 100) if c.grade == "overall"}
    assert found["Good", "clips"].low > 0.9
    assert found["Loss", "clips"].rho == pytest.approx(1)
    assert found["Set", "conditions"].rho == pytest.approx(1)
    bad = found["Bad", "clips"]
    assert bad.low < 0 < bad.high
    assert ("Set", "clips") not in found
    for one in found.values():
        assert one.low <= one.rho <= one.high
    assert found["Good", "clips"].count == 72
    assert found["Good", "conditions"].count == 6


def test_the_same_seed_gives_the_same_intervals_and_another_does_not(evidence) -> None:
    first, again, other = (correlations(evidence, 50, seed) for seed in (0, 0, 1))
    assert first == again
    assert first != other


def test_a_metric_without_value_in_a_condition_is_judged_on_the_others(evidence) -> None:
    sets = evidence.sets.astype({"Set": object})
    sets.loc[0, "Set"] = None
    found = correlations(Evidence(evidence.clips, sets, {"Set": -1}), 20)
    assert {one.count for one in found} == {5}


def test_tables_and_plot_are_written(evidence, tmp_path) -> None:
    found = correlations(evidence, 50)
    paths = write_validation(evidence, found, tmp_path)
    assert all(path.stat().st_size > 0 for path in paths)
    assert (tmp_path / "validation.png").read_bytes().startswith(b"\x89PNG")
    lines = markdown(found).splitlines()
    assert lines[0] == "Over clips (n = 72)"
    assert [line.split(" | ")[0] for line in lines[4:7]] == ["| Loss", "| Good", "| Bad"]
    table = pd.read_csv(tmp_path / "validation.csv")
    assert len(table) == len(found)


def test_conditions_have_names_of_their_own_and_cover_every_corruption() -> None:
    names = [condition.name for condition in CONDITIONS]
    assert len(set(names)) == len(names)
    families = {condition.family for condition in CONDITIONS}
    assert {"shifted", "material", "noise", "dropped", "invented", "band", "clipped", "tiny-flow"} < families
