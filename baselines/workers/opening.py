"""From a spec to a model in another process: `thinksound`, `thinksound:steps=12`, or one that was added.

Behind the colon stand options of the card as `KEY=VALUE`, by comma, and three that every
model has: `captions=FILE` (a table with `id`, `caption` and perhaps `caption_cot`),
`cot=caption` (no chain of thought: take the caption) and `timeout=SECONDS` a clip.
"""

import hashlib
import os
import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from v2abench.baselines.workers.cards import Card, added_card, built_in_card
from v2abench.baselines.workers.examining import describe_card
from v2abench.baselines.workers.model import OutsideModel, Texts, open_source
from v2abench.baselines.workers.places import launch_of, scripts_folder
from v2abench.baselines.workers.protocol import Scalar
from v2abench.contracts import ModelInfo
from v2abench.datasets.manifest import read_rows
from v2abench.errors import UnknownNameError, V2ABenchError
from v2abench.files import sha256
from v2abench.models import Description, GenerationOptions, ModelContext
from v2abench.yamls import parse_yaml

_COMMON = ("captions", "cot", "timeout")


@dataclass(frozen=True)
class IsolatedModel:
    """A model with a card of ours, in an environment of its own."""

    name: str

    def __call__(self, argument: str, context: ModelContext) -> OutsideModel:
        """Open the model; raises `V2ABenchError` where it is not set up, or an option is not its own."""
        return open_card(built_in_card(self.name), argument, context)

    def describe(self) -> Description:
        """Return what `models list` says, from the card."""
        return describe_card(built_in_card(self.name))


thinksound = IsolatedModel("thinksound")
foleycrafter = IsolatedModel("foleycrafter")
seeing_and_hearing = IsolatedModel("seeing-and-hearing")
v_aura = IsolatedModel("v-aura")


def open_added(argument: str, context: ModelContext) -> OutsideModel:
    """A model that `models add` knows; its name alone does."""
    name, _, rest = argument.partition(":")
    return open_card(added_card(name), rest, context)


def open_card(card: Card, argument: str, context: ModelContext) -> OutsideModel:
    """Return the model of `card` with the options in `argument` and in the context."""
    given = _parse(argument, card)
    if "timeout" in given:
        clip = _number(given["timeout"], card, "timeout")
        card = card.model_copy(update={"timeouts": card.timeouts.model_copy(update={"clip": clip})})
    launch_of(card)
    options = {name: option.default for name, option in card.options.items()}
    options |= {name: _cast(card, name, text) for name, text in given.items() if name in card.options}
    options |= _generation(card, context.options)
    texts = _texts(card, given)
    return OutsideModel(
        card=card,
        info=_info(card),
        recipe=_recipe(card, options, given, context.options),
        context=context,
        texts=texts,
        options=options,
        open_source=lambda: open_source(card, context),
    )


def _info(card: Card) -> ModelInfo:
    source = card.source
    if card.repository:
        source = f"{card.repository.url} at {card.repository.commit[:12]}"
    return ModelInfo(
        card.name,
        sample_rate=card.sample_rate,
        channels=card.channels,
        parameters=card.parameters,
        license=str(card.license) if card.license else None,
        source=source or "a command of the user's",
        text_conditioned=card.text != "none",
    )


def _recipe(
    card: Card, options: Mapping[str, Scalar], given: Mapping[str, str], asked: GenerationOptions
) -> dict[str, Scalar]:
    recipe: dict[str, Scalar] = dict(options)
    if card.repository and card.script:
        recipe["commit"] = card.repository.commit
        scripts = (scripts_folder() / card.script, scripts_folder() / "v2a_worker.py")
        recipe["worker"] = hashlib.sha256(b"".join(path.read_bytes() for path in scripts)).hexdigest()[:12]
    else:
        recipe["command"] = shlex.join(card.command)
        recipe["program"] = _contents(card)
    if card.text != "none":
        recipe["prompts"] = (
            f"file {sha256(Path(given['captions']))[:12]}" if "captions" in given else "dataset"
        )
    if "cot" in given:
        recipe["cot"] = given["cot"]
    if asked.negative_prompt is not None:
        recipe["negative_prompt"] = asked.negative_prompt
    return recipe


def _contents(card: Card) -> str:
    """Return a hash over the files that the command names: sound of another program is not kept."""
    folder = Path(card.folder or ".")
    named = [folder / word for word in card.command if os.path.isfile(folder / word)]  # noqa: PTH113 (never raises)
    return hashlib.sha256(" ".join(map(sha256, named)).encode()).hexdigest()[:12]


def _generation(card: Card, asked: GenerationOptions) -> dict[str, Scalar]:
    """The options of the command line that the card has too; raises for those it lacks."""
    options: dict[str, Scalar] = {}
    for name, value, option in (
        ("steps", asked.steps, "--steps"),
        ("cfg", asked.guidance_scale, "--guidance-scale"),
    ):
        if value is not None:
            if name not in card.options:
                raise V2ABenchError(f"{option} means nothing for {card.name}; {_offer(card)}")
            options[name] = value
    for wrong, option in (
        (asked.method is not None, "the sampling method"),
        (asked.precision != "float32", "a precision"),
        (asked.compile, "compilation"),
    ):
        if wrong:
            raise V2ABenchError(f"{option} means nothing for {card.name}, which samples as its upstream does")
    return options


def _parse(argument: str, card: Card) -> dict[str, str]:
    given = {}
    for part in filter(None, argument.split(",")):
        name, equals, value = part.partition("=")
        if not equals:
            raise V2ABenchError(f"--model {card.name}:{argument}: {part!r} is not KEY=VALUE; {_offer(card)}")
        if name not in {*card.options, *_COMMON}:
            raise UnknownNameError(f"option of {card.name}", name, [*card.options, *_COMMON])
        given[name] = value
    return given


def _offer(card: Card) -> str:
    return f"it has {', '.join([*card.options, *_COMMON])}"


def _cast(card: Card, name: str, text: str) -> Scalar:
    """Read a value as what the default is."""
    default = card.options[name].default
    if isinstance(default, bool):
        value = parse_yaml(text, f"--model {card.name}: {name}={text}")
        if not isinstance(value, bool):
            raise V2ABenchError(f"--model {card.name}: {name}={text} must be true or false")
        return value
    if isinstance(default, int):
        if not re.fullmatch(r"-?\d+", text):
            raise V2ABenchError(f"--model {card.name}: {name}={text} must be a whole number")
        return int(text)
    return _number(text, card, name) if isinstance(default, float) else text


def _number(text: str, card: Card, name: str) -> float:
    if not re.fullmatch(r"-?\d+(\.\d*)?", text):
        raise V2ABenchError(f"--model {card.name}: {name}={text} must be a number")
    value = float(text)
    if name == "timeout" and value <= 0:
        raise V2ABenchError(f"--model {card.name}: timeout={text} must be above 0")
    return value


def _texts(card: Card, given: Mapping[str, str]) -> Texts:
    if given.get("cot", "caption") != "caption":
        raise V2ABenchError(f"--model {card.name}: cot={given['cot']} must be `caption`, or be left out")
    empty = Texts({}, {}, "cot" in given)
    if "captions" not in given:
        return empty
    path = Path(given["captions"])
    if not path.is_file():
        raise V2ABenchError(f"--model {card.name}: there is no file captions={path}")
    rows = [row for _, row in read_rows(path)]
    if not rows or "id" not in rows[0] or not {"caption", "caption_cot"} & rows[0].keys():
        raise V2ABenchError(f"captions={path}: columns `id` and `caption` (or `caption_cot`) are needed")
    columns = ({row["id"]: row[name] for row in rows if row.get(name)} for name in ("caption", "caption_cot"))
    prompts, thoughts = columns
    return replace(empty, prompts=prompts, thoughts=thoughts)
