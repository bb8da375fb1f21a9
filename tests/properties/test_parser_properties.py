"""What is written comes back, and what is no option is told: manifests, options, names, signatures."""

import csv
import json
from pathlib import Path

import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st
from steady import STEADY

from v2abench import registry, signature
from v2abench.cli.quantities import parse_batch_sizes, parse_bytes
from v2abench.clips import Clip, Dataset
from v2abench.contracts import Bootstrap
from v2abench.datasets.opening import DatasetOptions, open_dataset
from v2abench.errors import UnknownNameError, V2ABenchError
from v2abench.finetune.recipe import DPORecipe, load_recipe, recipe_names, saved
from v2abench.models import ModelContext, clip_seed, open_model
from v2abench.protocols.schema import load_protocol, parse_protocol, protocol_names
from v2abench.weights.registry import Weights, lookup
from v2abench.weights.registry import registry as weights

LETTERS = st.characters(exclude_categories=["Cs", "Cc", "Zl", "Zp"], exclude_characters='/\\:"')
NAMES = st.text(LETTERS, min_size=1, max_size=12).filter(lambda text: text.strip(". ") == text != "-")
WORDS = st.text(LETTERS, max_size=12)
BATCHES = st.from_regex(r"([a-c]=)?[0-9]{1,3}", fullmatch=True)
MODELS = st.sampled_from(["shifted", "folder", "corrupted", "noise", "v2a-mapper", "aligned"])
DATASETS = st.sampled_from(["folder", "manifest", "vggsound"])
DIGESTS = st.from_regex(r"[0-9a-f]{64}", fullmatch=True)
ROWS = st.lists(st.tuples(NAMES, WORDS, WORDS, st.booleans(), st.booleans()), min_size=1, max_size=5)


def write(path: Path, rows: list[dict[str, str]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as stream:
        if path.suffix == ".jsonl":
            stream.writelines(json.dumps(row) + "\n" for row in rows)
            return
        tabs = path.suffix == ".tsv"
        dialect = {"delimiter": "\t", "quoting": csv.QUOTE_NONE, "quotechar": None} if tabs else {}
        writer = csv.DictWriter(stream, list(rows[0]), lineterminator="\n", **dialect)  # type: ignore[arg-type]
        writer.writeheader()
        writer.writerows(rows)


@pytest.mark.parametrize("suffix", [".tsv", ".csv", ".jsonl"])
@STEADY
@given(rows=ROWS, limit=st.none() | st.integers(1, 9))
def test_manifests_come_back(suffix: str, rows: list, limit: int | None, tmp_path: Path) -> None:
    path = tmp_path / f"m{suffix}"
    ids = [f"{number} {name}" for number, (name, *_) in enumerate(rows)]
    clips = tuple(
        Clip(
            clip_id,
            tmp_path / f"{name}.mp4",
            None if mute else tmp_path / f"{name}.mp4",
            prompt or None,
            label or None,
            speech,
        )
        for clip_id, (name, prompt, label, speech, mute) in zip(ids, rows, strict=True)
    )
    write(
        path,
        [
            {
                "id": clip_id,
                "video": f"{name}.mp4",
                "reference": "-" if mute else "",
                "prompt": prompt,
                "label": label,
                "speech": "true" if speech else "",
            }
            for clip_id, (name, prompt, label, speech, mute) in zip(ids, rows, strict=True)
        ],
    )
    assert open_dataset(str(path), DatasetOptions(limit=limit)).clips == clips[:limit]


@STEADY
@given(number=st.integers(1, 10**6), unit=st.sampled_from(["", "k", "M", "g", "T"]), binary=st.booleans())
def test_sizes_come_back(number: int, unit: str, binary: bool) -> None:
    power = " kmgt".index(unit.lower() or " ")
    text = f"{number}{unit}{'i' if binary else ''}B"
    assert parse_bytes(text) == pytest.approx(number * (1024 if binary else 1000) ** power, rel=1e-12)


@STEADY
@example(text="٣GB")
@example(text="1" * 400 + "GB")
@given(text=st.text(max_size=8) | st.from_regex(r"[0-9.]{0,4} ?[kKgGx]?i?[bB]?", fullmatch=True))
def test_any_size_is_a_number_or_told(text: str) -> None:
    try:
        size = parse_bytes(text)
    except V2ABenchError:
        return
    assert size > 0


@STEADY
@example(texts=["²"])
@example(texts=["a=" + "9" * 5000])
@given(
    texts=st.lists(st.text(max_size=5) | st.from_regex(r"([a-c]=)?[0-9]{1,3}", fullmatch=True), max_size=3)
)
def test_batch_sizes_are_numbers_or_told(texts: list[str]) -> None:
    try:
        sizes = parse_batch_sizes(texts)
    except V2ABenchError:
        return
    assert len(sizes) == len(texts)
    assert all(size >= 1 for size in sizes.values())


@STEADY
@given(label=NAMES.filter(lambda text: "=" not in text), reach=st.sampled_from(["0.4", "-0.25", "1"]))
def test_model_specs_with_labels(label: str, reach: str) -> None:
    dataset = Dataset("d", "d", (Clip("a", Path("a.mp4")),))
    named = open_model(f"{label}=shifted:{reach}", ModelContext(dataset))
    assert named.info.name == label
    assert named.spec == f"{label}=shifted:{reach}"
    assert named.info.control


@STEADY
@example(spec="shifted:nan")
@example(spec="shifted:1e999")
@example(spec="folder:\0")
@example(spec="=")
@given(spec=st.text(max_size=10) | st.builds("{}:{}".format, MODELS, st.text(max_size=6)))
def test_any_model_spec_is_a_model_or_told(spec: str) -> None:
    dataset = Dataset("d", "d", (Clip("a", Path("a.mp4")),))
    try:
        named = open_model(spec, ModelContext(dataset))
    except V2ABenchError:
        return
    assert named.info.name.strip()


@STEADY
@example(spec="folder:\0")
@example(spec="impacts:\0")
@example(spec="\0.tsv")
@given(spec=st.text(max_size=10) | st.builds("{}:{}".format, DATASETS, st.text(max_size=6)))
def test_no_dataset_spec_ends_in_a_traceback(spec: str, tmp_path: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path)
        with pytest.raises(V2ABenchError):
            open_dataset(spec)


@STEADY
@given(seed=st.integers(0, 2**63), first=NAMES, second=NAMES)
def test_seeds_of_clips(seed: int, first: str, second: str) -> None:
    assert 0 <= clip_seed(seed, first) < 2**63
    assert (clip_seed(seed, first) == clip_seed(seed, second)) == (first == second)
    assert clip_seed(seed, first) != clip_seed(seed + 1, first)


@STEADY
@given(name=st.sampled_from(protocol_names()), clips=st.integers(1, 99), data=DIGESTS)
def test_signatures_have_their_fields_and_tell_apart(name: str, clips: int, data: str) -> None:
    protocol = load_protocol(name)
    dataset = Dataset("d", "d", tuple(Clip(str(n), Path("a.mp4")) for n in range(clips)))
    run = signature.short(protocol, [], dataset, data)
    fields = dict(field.partition(":")[::2] for field in run.split("|"))
    assert fields[protocol.name] == f"{protocol.version}@{protocol.fingerprint}"
    assert fields["data"] == f"d[{clips}]@{data[:8]}"
    metrics = protocol.build_metrics()
    numbers = [signature.of_metric(metric, run) for metric in metrics]
    assert len(set(numbers)) == len(metrics)
    for metric, number in zip(metrics, numbers, strict=True):
        assert number.endswith(run)
        assert signature.long_form(metric, run, [], Bootstrap()).startswith(number)


@pytest.mark.parametrize("name", protocol_names())
def test_protocols_come_back(name: str) -> None:
    protocol = load_protocol(name)
    text = yaml.safe_dump(protocol.model_dump(mode="json"), sort_keys=False)
    again = parse_protocol(text, name)
    assert again == protocol
    assert again.fingerprint == protocol.fingerprint


@STEADY
@given(beta=st.floats(1e-6, 1e6), steps=st.integers(1, 10**6))
def test_recipes_and_overrides_come_back(beta: float, steps: int, tmp_path: Path) -> None:
    recipe = load_recipe(DPORecipe, "v2a-dpo", [f"beta={beta!r}", f"max_steps={steps}"])
    assert (recipe.beta, recipe.max_steps) == (beta, steps)
    path = tmp_path / "r.yaml"
    path.write_text(saved(recipe), encoding="utf-8")
    assert load_recipe(DPORecipe, str(path)) == recipe
    assert "v2a-dpo" in recipe_names()


@pytest.mark.parametrize("name", sorted(weights()))
def test_registered_weights_come_back(name: str) -> None:
    entry = lookup(name)
    assert Weights.model_validate_json(entry.model_dump_json()) == entry
    assert "/" not in entry.file


@STEADY
@given(name=st.text(max_size=12))
def test_names_that_are_not_registered_are_told(name: str) -> None:
    if name in weights() or name in registry.names("metrics"):
        return
    with pytest.raises(UnknownNameError, match="unknown"):
        lookup(name)
    with pytest.raises(UnknownNameError, match="unknown"):
        registry.load("metrics", name)
