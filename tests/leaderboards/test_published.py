import csv
from importlib.resources import files

import pytest
from made_reports import make_report, make_score

from v2abench.errors import UnknownNameError, V2ABenchError
from v2abench.leaderboards.board import build_board
from v2abench.leaderboards.markdown import render_markdown
from v2abench.leaderboards.published import load_published, parse_published, published_names
from v2abench.leaderboards.rows import add_published, published_board
from v2abench.runs.report import Report


def measured(name: str, value: float, dataset: str = "vggsound") -> Report:
    score = make_score("FD_PaSST", value, unit="", direction="lower")
    report = make_report(name, score)
    return report.model_copy(
        update={
            "dataset": report.dataset.model_copy(update={"name": dataset}),
            "protocol": report.protocol.model_copy(update={"name": "mmaudio"}),
        }
    )


def test_every_table_in_the_package_reads_and_holds_each_number_of_its_file() -> None:
    assert published_names() == ["v2a-dpo", "v2a-dpo-table2"]
    for name, stem in {"v2a-dpo": "v2a-dpo-table1", "v2a-dpo-table2": "v2a-dpo-table2"}.items():
        table = load_published(name)
        text = files("v2abench.leaderboards").joinpath("published", f"{stem}.csv").read_text()
        lines = list(csv.DictReader(text.splitlines()))
        assert len(lines) == len(table.rows)
        for row, cells in zip(table.rows, lines, strict=True):
            for column, metric in table.card.metrics.items():
                assert format(row.values[metric.name], table.formats[metric.name]) == cells[column]


def test_table_1_knows_parameters_prompts_and_who_made_the_numbers() -> None:
    rows = {row.label: row for row in load_published("v2a-dpo").rows}
    dpo = rows["MMAudio-DPO"]
    assert (dpo.parameters, dpo.text_prompt, dpo.group) == (1_030_000_000, True, "Aligned")
    assert list(dpo.values) == ["FD_PaSST", "KL_PANNs", "KL_PaSST", "IS_PANNs", "IB-score", "DeSync"]
    assert list(dpo.values.values()) == [51.38, 1.38, 1.34, 19.21, 34.08, 0.35]
    assert rows["V-AURA"].text_prompt is False
    assert rows["ThinkSound"].note == "reproduced with the official evaluation code"


def test_its_board_ranks_as_the_paper_does_and_says_that_nothing_was_measured() -> None:
    text = render_markdown(published_board(load_published("v2a-dpo")))
    assert "| MMAudio-DPO " in text
    row = next(line for line in text.splitlines() if line.startswith("| MMAudio-DPO "))
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    assert cells[:3] == ["MMAudio-DPO", "1.03B", "yes"]
    assert cells[3:6] == ["**51.38**", "<ins>1.38</ins>", "**1.34**"]
    assert cells[6:] == ["**19.21**", "<ins>34.08</ins>", "**0.35**"]
    groups = [line for line in text.splitlines() if line.startswith("| ***")]
    assert [group.split("***")[1] for group in groups] == ["Other models", "Pre-trained", "Aligned"]
    assert "not measured here" in text


def test_published_rows_stand_below_unranked_with_the_difference_to_the_same_model() -> None:
    board = build_board([measured("mmaudio-dpo", 53.0), measured("other", 60.0)])
    board = add_published(board, load_published("v2a-dpo"))
    rows = {row.model: row for row in board.rows}
    assert board.rows[0].cells[0].rank == 1
    assert all(cell.rank is None for row in board.rows if row.published for cell in row.cells)
    assert rows["MMAudio-DPO"].cells[0].difference == pytest.approx(1.62)
    assert rows["Frieren"].cells[0].difference is None
    text = render_markdown(board)
    assert "51.38<sup>" not in text
    assert "51.38 (Δ +1.62)" in text
    assert "***Published, not measured here***" in text


def test_a_model_of_another_name_is_matched_on_request_and_other_data_never() -> None:
    table = load_published("v2a-dpo")
    board = build_board([measured("mine", 70.0)])
    rows = add_published(board, table, {"mine": "Frieren-DPO"}).rows
    assert [row.model for row in rows if row.cells[0].difference is not None] == ["Frieren-DPO"]
    board = build_board([measured("MMAudio-DPO", 70.0, dataset="mine")])
    added = add_published(board, table)
    assert not any(row.cells[0].difference for row in added.rows)
    assert any("not comparable" in note.text for note in added.footnotes)
    with pytest.raises(V2ABenchError, match="--same mine=Frieren-XL: v2a-dpo has no row 'Frieren-XL'"):
        add_published(build_board([measured("mine", 70.0)]), table, {"mine": "Frieren-XL"})


def test_a_board_without_its_metrics_and_an_unknown_table_are_told() -> None:
    board = build_board([make_report("a", make_score("FD", 1.0))])
    with pytest.raises(V2ABenchError, match="has none of this board's metrics"):
        add_published(board, load_published("v2a-dpo"))
    with pytest.raises(UnknownNameError, match="did you mean 'v2a-dpo'"):
        load_published("v2a-dpq")


CARD = """
name: x
title: X
paper: somewhere
dataset: d
protocol: p
provenance: none
label: "{system}"
metrics: {fd: {name: FD, unit: "", direction: lower}}
"""


@pytest.mark.parametrize(
    ("card", "table", "told"),
    [
        (CARD, "system,fid\na,1\n", "x.csv has no column 'fd'"),
        (CARD, "system,fd\na,one\n", "x.csv, column fd: 'one' is no number"),
        (CARD, "", "x.csv is empty"),
        ("name: x", "system,fd\na,1\n", "x.yaml is no card"),
    ],
)
def test_a_wrong_card_or_table_is_told(card: str, table: str, told: str) -> None:
    with pytest.raises(V2ABenchError, match=told):
        parse_published(card, table, "x")
