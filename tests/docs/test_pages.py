"""The reference pages speak of everything that is registered, and their links lead somewhere."""

import re
from pathlib import Path

import pytest

from v2abench import registry

ROOT = Path(__file__).parents[2]
PAGES = sorted((ROOT / "docs").rglob("*.md"))
METRIC_PAGES = sorted((ROOT / "docs" / "metrics").glob("*.md"))
SECTIONS = ("Definition", "Source", "Quirks", "Range", "Licence", "Cost")


@pytest.mark.parametrize("name", registry.names("metrics"))
def test_every_metric_has_a_page(name: str) -> None:
    assert any(f"`{name}`" in page.read_text(encoding="utf-8") for page in METRIC_PAGES)


@pytest.mark.parametrize("page", METRIC_PAGES, ids=lambda page: page.stem)
def test_a_metric_page_answers_every_question(page: Path) -> None:
    headings = re.findall(r"^## (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    assert tuple(headings) == SECTIONS


@pytest.mark.parametrize("page", [ROOT / "README.md", *PAGES], ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    targets = re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text(encoding="utf-8"))
    broken = [target for target in targets if "://" not in target and not (page.parent / target).exists()]
    assert broken == []
