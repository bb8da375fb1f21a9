"""`mmaudio` and `mmaudio-clean`: what they are made of, and text through the whole harness."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from v2abench.api import Options, evaluate
from v2abench.clips import Clip
from v2abench.datasets.opening import DatasetOptions, open_dataset
from v2abench.networks.precision import MixedPrecision
from v2abench.protocols.schema import load_protocol, parse_protocol
from v2abench.runs.evaluation import Run

COLUMNS = ["FD_PaSST", "FD_PANNs", "FD_VGG", "KL_PaSST", "KL_PANNs", "IS_PaSST", "IS_PANNs"]
COLUMNS += ["IB-score", "CLAP", "DeSync"]

SMALL = """
name: small
version: 1
summary: What is quick of the papers' protocol.
window: {seconds: 2.0, minimum: 0.3, tolerance: 0.1}
text: prompt-or-label
metrics:
  - {metric: frechet_distance, name: FD_VGG, options: {embedding: vggish.embedding}}
  - {metric: clap_score, name: CLAP}
"""


@pytest.mark.parametrize("name", ["mmaudio", "mmaudio-clean"])
def test_the_protocol_has_the_columns_of_the_papers_tables(name: str) -> None:
    assert [metric.name for metric in load_protocol(name).build_metrics()] == COLUMNS


def parameters(protocol: str, network: str) -> Mapping[str, object]:
    return load_protocol(protocol).build_network(network).parameters


def test_only_the_clean_protocol_leaves_the_quirks_out() -> None:
    assert parameters("mmaudio", "passt")["pad_seconds"] == 10.0
    assert parameters("mmaudio-clean", "passt")["pad_seconds"] == 8.0
    for name, quirks in (("mmaudio", True), ("mmaudio-clean", False)):
        heard = parameters(name, "imagebind_audio")
        assert set(heard.values()) == {quirks}
        splits = [e.options.get("splits") for e in load_protocol(name).metrics if "IS" in e.name]
        assert splits == ([10, 10] if quirks else [1, 1])


def test_precision_wraps_networks_with_weights_only() -> None:
    mixed = load_protocol("mmaudio").model_copy(update={"precision": "bfloat16"})
    assert isinstance(mixed.build_network("passt"), MixedPrecision)
    assert not isinstance(mixed.build_network("facts"), MixedPrecision)
    assert mixed.fingerprint != load_protocol("mmaudio").fingerprint


@pytest.mark.parametrize(
    ("source", "expected"), [("prompt", "a dog"), ("label", "dog"), ("prompt-or-label", "a dog")]
)
def test_the_protocol_says_which_text_counts(source: str, expected: str) -> None:
    protocol = parse_protocol(SMALL.replace("text: prompt-or-label", f"text: {source}"), "small.yaml")
    clip = Clip("a", Path("a.mp4"), prompt="a dog", label="dog")
    assert protocol.text_of(clip) == expected
    assert protocol.text_of(Clip("b", Path("b.mp4"))) is None
    assert load_protocol("light").text_of(clip) is None


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory, videos: Path) -> Path:
    """Three clips: one with a prompt, one with a label, one without a text."""
    path = tmp_path_factory.mktemp("texts") / "clips.tsv"
    names = sorted(video.stem for video in videos.iterdir())[2:5]
    texts = [("knocks on wood", ""), ("", "knocking"), ("", "")]
    rows = [f"{videos / name}.mp4\t{p}\t{label}" for name, (p, label) in zip(names, texts, strict=True)]
    path.write_text("\n".join(["video\tprompt\tlabel", *rows]))
    return path


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, manifest: Path, generated: Path) -> Run:
    """An evaluation with deterministic weights, networks one after the other."""
    options = Options(tmp_path_factory.mktemp("runs"), weights="deterministic", max_memory=1, device="cpu")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("V2ABENCH_HOME", str(tmp_path_factory.mktemp("home")))
        protocol = parse_protocol(SMALL, "small.yaml")
        return evaluate(
            f"folder:{generated}",
            open_dataset(str(manifest), DatasetOptions(data_root=Path("/"))),
            protocol,
            options,
        )


def test_a_text_is_held_against_the_sound(run: Run) -> None:
    score = run.report.score("CLAP")
    assert score.used == 2
    assert score.value is not None
    assert -1 <= score.value <= 1
    assert score.value == pytest.approx(np.mean(list(run.per_clip["CLAP"].values())))
    assert [(why.code, why.detail) for why in score.missing] == [("undefined", "the clip has no text")]
    assert run.report.coverage.ok == 3


def test_the_signature_says_that_the_weights_mean_nothing_and_which_text_counts(run: Run) -> None:
    assert "|weights:deterministic|" in run.report.signature
    assert "|text:prompt-or-label|" in run.report.signature
