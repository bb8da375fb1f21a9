"""What a request carries: texts, lengths and options; and what is refused before it is sent."""

from dataclasses import replace
from pathlib import Path

import pytest

from v2abench.baselines.workers.cards import Card, parse_card
from v2abench.baselines.workers.model import Texts
from v2abench.baselines.workers.opening import open_card
from v2abench.baselines.workers.protocol import Capabilities, Order, Ready, generate
from v2abench.clips import Clip, Dataset
from v2abench.contracts import Generated, Request
from v2abench.errors import ClipFault, V2ABenchError
from v2abench.models import GenerationOptions, ModelContext

CARD = """
name: mine
kind: worker
title: Mine
summary: A card
text: {text}
cot: true
max_seconds: 5.0
command: [python3]
options:
  steps: {{default: 9, help: Steps}}
  half: {{default: false, help: Half}}
  name: {{default: x, help: Name}}
"""


class Listener:
    """A source that remembers the orders and makes no sound."""

    ready = Ready(type="ready", sample_rate=16000, channels=1)

    def __init__(self) -> None:
        self.orders: list[Order] = []

    def __enter__(self) -> "Listener":
        return self

    def __exit__(self, *_error: object) -> None:
        pass

    def ask(self, order: Order) -> None:
        self.orders.append(order)
        raise ClipFault("failed", "it only listens")


def card(text: str = "optional") -> Card:
    return parse_card(CARD.format(text=text), "mine.yaml")


def ask(
    context: ModelContext, argument: str, *clips: Clip, text: str = "optional", seconds: float = 2.0
) -> tuple[list[Order], list[Generated]]:
    listener = Listener()
    model = replace(open_card(card(text), argument, context), open_source=lambda: listener)
    return listener.orders, list(model.generate([Request(clip, seconds, 7) for clip in clips]))


@pytest.fixture
def clips(dataset: Dataset) -> tuple[Clip, ...]:
    video = dataset.clips[0].video
    return Clip("a", video, prompt="a dog"), Clip("b", video, prompt="a cat"), Clip("c", video)


def test_prompts_come_from_the_dataset_or_from_a_file_of_captions(
    context: ModelContext, clips: tuple[Clip, ...], tmp_path: Path
) -> None:
    orders, _ = ask(context, "", *clips)
    assert [(order.prompt, order.cot) for order in orders] == [("a dog", None), ("a cat", None), (None, None)]
    table = tmp_path / "captions.csv"
    table.write_text("id,caption,caption_cot\na,a hound,it barks first\nc,a cow,\n")
    orders, _ = ask(context, f"captions={table}", *clips)
    assert [(order.prompt, order.cot) for order in orders] == [
        ("a hound", "it barks first"), ("a cat", None), ("a cow", None)
    ]  # fmt: skip
    orders, _ = ask(context, f"captions={table},cot=caption", *clips)
    assert [order.cot for order in orders] == ["it barks first", "a cat", "a cow"]


def test_recipes_tell_where_prompts_came_from_and_change_with_the_file(
    context: ModelContext, tmp_path: Path
) -> None:
    table = tmp_path / "captions.csv"
    recipes = [open_card(card(), "", context).recipe]
    for text in ("id,caption\na,x\n", "id,caption\na,y\n"):
        table.write_text(text)
        recipes.append(open_card(card(), f"captions={table},cot=caption", context).recipe)
    assert recipes[0]["prompts"] == "dataset"
    assert len({str(recipe["prompts"]) for recipe in recipes}) == 3
    assert recipes[1]["cot"] == "caption"
    assert "prompts" not in open_card(card("none"), "", context).recipe


def test_a_changed_program_is_another_recipe(context: ModelContext, tmp_path: Path) -> None:
    """Else the sound of the old one would be kept; the path is found from the folder of `models add`."""
    program, recipes = tmp_path / "gen.py", []
    words = ("python3", "gen.py", "-c", "x" * 5000, "{video}")
    mine = card().model_copy(update={"command": words, "folder": str(tmp_path)})
    for text in ("1", "2", "1"):
        program.write_text(text)
        recipes.append(open_card(mine, "", context).recipe)
    assert recipes[0] == recipes[2]
    assert recipes[0]["program"] != recipes[1]["program"]
    assert recipes[0]["command"] == recipes[1]["command"]


def test_a_model_that_needs_a_prompt_fails_the_clip_without_one(
    context: ModelContext, clips: tuple[Clip, ...]
) -> None:
    orders, answers = ask(context, "", *clips, text="required")
    assert [order.id for order in orders] == ["a", "b"]
    assert answers[2].fault is not None
    assert answers[2].fault.code == "bad-request"
    orders, _ = ask(context, "", *clips, text="none")
    assert [order.prompt for order in orders] == [None] * 3


def test_more_than_the_model_gives_and_videos_that_are_gone_are_not_asked_for(
    context: ModelContext, clips: tuple[Clip, ...], tmp_path: Path
) -> None:
    orders, answers = ask(context, "", clips[0], seconds=5.5)
    assert (orders, answers[0].fault.code) == ([], "bad-request")
    assert "5.5 s are wanted, the model gives 5 s" in answers[0].fault.detail
    orders, answers = ask(context, "", Clip("gone", tmp_path / "gone.mp4"))
    assert (orders, str(answers[0].fault)) == ([], "missing: gone.mp4 does not exist")


def test_options_are_read_as_what_their_defaults_are(context: ModelContext, clips: tuple[Clip, ...]) -> None:
    orders, _ = ask(context, "steps=12,half=true,name=y", clips[0])
    assert orders[0].options == {"steps": 12, "half": True, "name": "y"}
    for argument, words in (
        ("steps=1.5", "whole number"),
        ("half=maybe", "true or false"),
        ("timeout=0", "above 0"),
    ):
        with pytest.raises(V2ABenchError, match=words):
            open_card(card(), argument, context)


def test_options_of_generation_reach_the_worker_or_are_refused(
    context: ModelContext, clips: tuple[Clip, ...]
) -> None:
    asked = replace(context, options=GenerationOptions(steps=3, negative_prompt="music"))
    orders, _ = ask(asked, "", clips[0])
    assert (orders[0].options["steps"], orders[0].negative_prompt) == (3, "music")
    for wrong, words in (
        (GenerationOptions(guidance_scale=2.0), "--guidance-scale means nothing for mine; it has steps"),
        (GenerationOptions(method="heun"), "the sampling method means nothing"),
        (GenerationOptions(precision="float16"), "a precision means nothing"),
        (GenerationOptions(compile=True), "compilation means nothing"),
    ):
        with pytest.raises(V2ABenchError, match=words):
            open_card(card(), "", replace(context, options=wrong))


def test_messages_hold_only_what_was_announced(dataset: Dataset) -> None:
    order = Order(
        "a", dataset.clips[0].video, 1.0, 1, Path("o.wav"), "p", "n", "c", {"steps": 1, "half": True}
    )
    assert "prompt" not in generate(order, Capabilities())
    full = generate(order, Capabilities(prompt=True, negative_prompt=True, cot=True, options=("half",)))
    assert (full["prompt"], full["negative_prompt"], full["cot"], full["options"]) == (
        "p",
        "n",
        "c",
        {"half": True},
    )


def test_texts_of_nobody_are_none() -> None:
    clip = Clip("a", Path("a.mp4"))
    assert (Texts({}, {}).prompt(clip), Texts({}, {}, True).thought(clip)) == (None, None)
