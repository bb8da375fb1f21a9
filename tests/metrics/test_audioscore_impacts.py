"""The shipped AudioScore on held-out clips of the embedded benchmark: does it follow the oracle?

The golden has the components and the oracle's grades of 288 sounds of val clips 64 to 95 (five of
tiny-flow, and the clip's own, a shuffled, a shifted one and noise); the fit saw clips 0 to 63.
"""

import json
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import rankdata

from v2abench.clips import Clip, Dataset
from v2abench.features.plan import make_plan, stands_on
from v2abench.finetune.preferences.scoring import components_of
from v2abench.metrics.audioscore import AudioScore, open_audioscore
from v2abench.metrics.audioscore_classifier import quality
from v2abench.protocols.schema import load_protocol

GOLDEN = np.load(Path(__file__).parents[1] / "goldens" / "audioscore_impacts.npz")
IDS = GOLDEN["ids"].tolist()
CLIPS = np.array([name.split("/")[1].split("#")[0] for name in IDS])
BY_TINY_FLOW = np.array([name.startswith("tiny-flow/") for name in IDS])
REPLICATES = 1000


def signed_columns() -> np.ndarray:
    """P(Good) - P(Bad), each component so that more is better, and the oracle's grade: (sounds, 7)."""
    classifier = open_audioscore("impacts")
    values = GOLDEN["values"]
    signs = [component.sign for component in classifier.components]
    grade = quality(classifier.probabilities(values))
    return np.column_stack([grade, values * signs, GOLDEN["overall"]])


def correlations(columns: np.ndarray) -> np.ndarray:
    """Spearman's of each column with the last one, the oracle's."""
    ranks = rankdata(columns, axis=0)
    return np.corrcoef(ranks, rowvar=False)[-1, :-1]


def test_it_was_fitted_with_the_networks_that_the_protocol_has() -> None:
    protocol = load_protocol("impacts")
    dataset = Dataset("one", "one", (Clip("a", Path("a.mp4"), Path("a.flac"), "metal"),))
    here = stands_on(make_plan([AudioScore()], protocol, dataset), protocol)
    classifier = open_audioscore("impacts")
    assert dict(classifier.stands_on) == here == json.loads(str(GOLDEN["stands_on"]))
    assert classifier.components == components_of(protocol)


def test_it_is_better_than_the_commonest_class_on_held_out_clips() -> None:
    held = open_audioscore("impacts").card["held_out"]
    assert held["accuracy"] > held["majority"]


@pytest.mark.parametrize("which", ["all", "tiny-flow"])
def test_it_follows_the_oracle_more_than_any_single_component(which: str) -> None:
    """The bootstrap is over clips; the best component is chosen anew in each replicate."""
    columns = signed_columns()
    rows = np.flatnonzero(BY_TINY_FLOW | (which == "all"))
    found = correlations(columns[rows])
    names = np.unique(CLIPS)
    groups = [rows[CLIPS[rows] == name] for name in names]
    rng = np.random.default_rng(0)
    draws = [
        correlations(columns[np.concatenate([groups[n] for n in rng.integers(len(names), size=len(names))])])
        for _ in range(REPLICATES)
    ]
    low, high = np.quantile([draw[0] - draw[1:].max() for draw in draws], [0.025, 0.975])
    ahead = found[0] - found[1:].max()
    assert ahead > 0
    assert low > 0, f"{found.round(3)}, ahead by {ahead:.3f}, 95 % {low:.3f} to {high:.3f}"
