"""Cards say what the environments need, and are checked when they are read."""

import pytest
from packaging.requirements import Requirement

from v2abench.baselines.workers.cards import built_in_card, built_in_cards, parse_card
from v2abench.errors import UnknownNameError, V2ABenchError

WORKERS = [name for name in built_in_cards() if built_in_card(name).kind == "isolated"]


def test_the_five_models_have_cards() -> None:
    assert built_in_cards() == ("foleycrafter", "seeing-and-hearing", "thinksound", "v-aura", "v2a-mapper")
    with pytest.raises(UnknownNameError, match="did you mean 'v-aura'"):
        built_in_card("vaura")


@pytest.mark.parametrize("name", WORKERS)
def test_known_conflicts_are_resolved(name: str) -> None:
    """What breaks these environments when pip is left to choose."""
    environment = built_in_card(name).environment
    assert environment is not None
    pins = {r.name.lower(): r.specifier for r in map(Requirement, environment.requirements)}
    assert not pins["numpy"].contains("2.0.0")
    assert all(specifier for package, specifier in pins.items() if package.startswith("torch"))
    if "diffusers" in pins:
        assert pins["huggingface_hub"].contains("0.25.2")
        assert not pins["huggingface_hub"].contains("0.26.0")
    if "descript-audio-codec" in pins:
        assert not pins["protobuf"].contains("3.20.0")
    # Packages of that time import pkg_resources.
    assert not pins["setuptools"].contains("82.0.0")
    assert "xformers" not in pins


@pytest.mark.parametrize("name", WORKERS)
def test_checkpoints_have_source_use_and_licence(name: str) -> None:
    card = built_in_card(name)
    assert card.checkpoints
    for checkpoint in card.checkpoints:
        assert checkpoint.license
        assert checkpoint.use
        assert checkpoint.url is None or checkpoint.url.startswith("https://")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a: [", "mine.yaml is not YAML"),
        ("name: mine\nkind: isolated\ntitle: x\nsummary: x\n", "an isolated model needs repository"),
        ("name: mine\nkind: worker\ntitle: x\nsummary: x\n", "a worker needs a command"),
        ("name: mine\nkind: folder\ntitle: x\nsummary: x\n", "mine.yaml, kind: "),
        ("name: mine\nkind: samples\ntitle: x\nsummary: x\nlicence: MIT\n", "licence: Extra inputs"),
        (
            "name: m\nkind: samples\ntitle: x\nsummary: x\ncheckpoints: [{use: a, license: b}]\n",
            "checkpoints.0: give either `url` or `hub`",
        ),
        (
            "name: m\nkind: samples\ntitle: x\nsummary: x\ncheckpoints: [{use: a, license: b, url: c}]\n",
            "a `url` needs a `path`",
        ),
    ],
)
def test_a_wrong_card_is_told_by_file_and_field(text: str, words: str) -> None:
    with pytest.raises(V2ABenchError) as caught:
        parse_card(text, "mine.yaml")
    assert words in str(caught.value)
