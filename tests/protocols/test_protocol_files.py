"""Protocols are data files, validated when read."""

import pytest

from v2abench import registry
from v2abench.errors import UnknownNameError, V2ABenchError
from v2abench.protocols.schema import load_protocol, parse_protocol, protocol_names

GOOD = """
name: mine
version: 1
summary: test
window: {seconds: 2}
metrics:
  - {metric: av_align, name: AV}
"""


@pytest.mark.parametrize("name", protocol_names())
def test_every_shipped_protocol_builds(name: str) -> None:
    protocol = load_protocol(name)
    assert protocol.name == name
    metrics = protocol.build_metrics()
    assert [metric.name for metric in metrics] == [entry.name for entry in protocol.metrics]
    for metric in metrics:
        for names in metric.needs.values():
            for feature in names:
                network, _, field = feature.partition(".")
                assert field in protocol.build_network(network).features


def test_the_fingerprint_follows_choices_not_words() -> None:
    base = parse_protocol(GOOD, "x")
    assert (
        base.fingerprint == parse_protocol(GOOD.replace("summary: test", "summary: other"), "x").fingerprint
    )
    told = GOOD.replace("name: AV}", "name: AV, about: some words}")
    assert base.fingerprint == parse_protocol(told, "x").fingerprint
    assert base.fingerprint != parse_protocol(GOOD.replace("seconds: 2", "seconds: 3"), "x").fingerprint


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("version: 1", "version: one"), r"mine\.yaml, version"),
        (("seconds: 2", "seconds: -1"), r"window\.seconds"),
        (("seconds: 2", "second: 2"), r"window\.second"),
        (("name: AV}", "name: AV, option: 1}"), r"metrics\.0\.option"),
        (("metrics:", "metrics: ["), "is not YAML"),
        (
            ("  - {metric: av_align, name: AV}", "  - {metric: kl, name: A}\n  - {metric: kl, name: A}"),
            "A named twice",
        ),
    ],
)
def test_wrong_files_name_the_field(change: tuple[str, str], message: str) -> None:
    with pytest.raises(V2ABenchError, match=message):
        parse_protocol(GOOD.replace(*change), "mine.yaml")


def test_unknown_names_and_options_are_told() -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'light'"):
        load_protocol("ligth")
    with pytest.raises(V2ABenchError, match="no such file"):
        load_protocol("nowhere.yaml")
    with pytest.raises(UnknownNameError, match="did you mean 'av_align'"):
        parse_protocol(GOOD.replace("av_align", "av_alin"), "x").build_metrics()
    with pytest.raises(V2ABenchError, match=r"metric 'av_align'.*unexpected keyword"):
        parse_protocol(GOOD.replace("name: AV}", "name: AV, options: {fps: 3}}"), "x").build_metrics()
    protocol = parse_protocol(GOOD + "networks: {motion: {size: 3}}\n", "x")
    with pytest.raises(V2ABenchError, match="network 'motion'"):
        protocol.build_network("motion")


def test_registries_hold_the_documented_names() -> None:
    assert {"folder", "ground-truth", "noise", "shifted", "shuffled", "silence"} <= set(
        registry.names("models")
    )
    assert {"folder", "impacts", "manifest", "vggsound"} <= set(registry.names("datasets"))
