from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from browsing import Tab, find_chromium, launched, new_tab
from made_reports import make_report, make_score
from made_runs import LOST, ODD
from playwright.sync_api import Browser, Page

from v2abench.leaderboards.board import build_board
from v2abench.leaderboards.gallery import (
    GalleryCell,
    GalleryRow,
    ScoreLine,
    render_page,
)
from v2abench.leaderboards.gallery import (
    Page as GalleryPage,
)
from v2abench.leaderboards.html import render_html
from v2abench.leaderboards.rows import group_rows


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with launched(find_chromium()) as browser:
        yield browser


@pytest.fixture
def tab(browser: Browser) -> Iterator[Tab]:
    with new_tab(browser) as tab:
        yield tab
        assert tab.trouble == []


STATE = """() => [...document.querySelectorAll("video")].filter((video) => !video.paused).map((video) => [
    video.closest(".cell").querySelector(".name").textContent,
    video.closest(".clip").getAttribute("aria-label"),
    video.currentTime,
])"""

ORDERS = """() => [...document.querySelectorAll(".clip")].map(
    (clip) => [...clip.querySelectorAll(".cell")].map((cell) => cell.dataset.place).join("")
)"""


def playing(page: Page) -> list[tuple[str, str, float]]:
    return [tuple(item) for item in page.evaluate(STATE)]


def wait_until(page: Page, seconds: float) -> None:
    page.wait_for_function(
        "(s) => [...document.querySelectorAll('video')].some((v) => !v.paused && v.currentTime > s)",
        arg=seconds,
    )


def stage(page: Page, clip: str, model: str) -> None:
    page.locator(f'[aria-label="{clip}"] button.stage[data-label="{model}"]').click()


def test_one_plays_at_a_time_and_a_switch_keeps_the_position(gallery: Path, tab: Tab) -> None:
    page = tab.open(gallery)
    stage(page, "clip-0", "good")
    wait_until(page, 0.1)
    [(model, clip, before)] = playing(page)
    assert (model, clip) == ("good", "clip-0")
    page.keyboard.press("ArrowRight")
    wait_until(page, 0.1)
    [(model, clip, after)] = playing(page)
    assert (model, clip) == ("quiet", "clip-0")
    left = page.evaluate("document.querySelector('[data-label=good] video').currentTime")
    assert page.evaluate("window.starts") == [0, pytest.approx(left, abs=0.05)]
    assert before <= left <= after + 0.05
    page.keyboard.press(" ")
    assert playing(page) == []
    shown = page.evaluate("parseFloat(document.querySelector('.cell.current .head').style.left)")
    assert shown >= 100 * left / 2 - 1
    page.locator("#switch-keep").click()
    page.keyboard.press("1")
    wait_until(page, 0.02)
    assert playing(page)[0][0] == "ground-truth"
    assert page.evaluate("window.starts")[2] < 0.05
    stage(page, "clip-1", "good")
    wait_until(page, 0.02)
    [(model, clip, _)] = playing(page)
    assert (model, clip) == ("good", "clip-1")
    assert page.locator("video").count() == 3
    assert page.evaluate("window.mostAtOnce") == 1


def test_the_spectrogram_seeks_and_keys_walk_the_clips(gallery: Path, tab: Tab) -> None:
    page = tab.open(gallery)
    box = page.locator('[aria-label="clip-0"] .sound').first.bounding_box()
    assert box is not None
    page.mouse.click(box["x"] + box["width"] / 2, box["y"] + 5)
    wait_until(page, 0.95)
    page.keyboard.press("j")
    wait_until(page, 0.02)
    [(model, clip, _)] = playing(page)
    assert (model, clip) == ("ground-truth", "clip-2")
    page.keyboard.press("k")
    wait_until(page, 0.02)
    assert playing(page)[0][1] == "clip-0"
    page.keyboard.press("s")
    assert not page.locator(".scores").first.is_visible()


def test_what_is_missing_says_none_and_why_and_markup_stays_text(gallery: Path, tab: Tab) -> None:
    page = tab.open(gallery)
    cell = page.locator(f'[aria-label="{LOST}"] .cell.none')
    assert cell.count() == 1
    assert cell.locator(".name").text_content() == "quiet"
    assert cell.locator(".stage strong").text_content() == "None"
    assert f"no file {LOST}.*" in (cell.locator(".why").text_content() or "")
    for clip, prompt in ODD.items():
        assert page.locator(f'[aria-label="{clip}"] q').text_content() == prompt
    assert page.locator("q img, q b").count() == 0


def test_blind_mode_hides_who_is_who_until_it_is_revealed(gallery: Path, tab: Tab) -> None:
    page = tab.open(gallery)
    page.keyboard.press("b")
    assert page.locator(".name:visible, .scores:visible, .why:visible, .board:visible").count() == 0
    letters = page.locator('[aria-label="clip-0"] .letter').all_inner_texts()
    assert letters == ["A", "B", "C"]
    read = "(all) => all.map((button) => button.getAttribute('aria-label'))"
    labels = page.locator("button.stage").evaluate_all(read)
    assert not any(model in label for label in labels for model in ("good", "quiet", "truth"))
    orders = set(page.evaluate(ORDERS))
    for _ in range(20):  # by chance, a shuffle may change nothing
        if len(orders) > 1:
            break
        page.keyboard.press("b")
        page.keyboard.press("b")
        orders = set(page.evaluate(ORDERS))
    assert len(orders) > 1
    page.locator('[aria-label="clip-0"] .reveal').click()
    names = page.locator('[aria-label="clip-0"] .name')
    assert sorted(names.all_inner_texts()) == ["good", "ground-truth", "quiet"]
    assert page.locator(".name:visible").count() == 3
    page.keyboard.press("b")
    assert names.all_inner_texts() == ["ground-truth", "good", "quiet"]


def test_a_phone_scrolls_rows_and_never_the_page_sideways(gallery: Path, browser: Browser) -> None:
    with new_tab(browser, 390, 844) as tab:
        page = tab.open(gallery)
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
        strip = page.locator(".strip").first
        assert strip.evaluate("(e) => e.scrollWidth > e.clientWidth")
        stage(page, "clip-0", "good")
        wait_until(page, 0.02)
        assert tab.trouble == []


def test_two_hundred_clips_of_eight_models_open_at_once(tab: Tab, gallery: Path) -> None:
    media = sorted((gallery.parent / "media").iterdir())
    video, picture, still = (next(f.name for f in media if f.suffix == s) for s in (".mp4", ".png", ".jpg"))
    rows = []
    for i in range(200):
        scores = (ScoreLine("KL", "↓", "1.00", best=False),)
        cells = [GalleryCell(f"model {m}", video, f"{picture}?{i}-{m}", "", scores) for m in range(8)]
        rows.append(GalleryRow(f"clip {i}", "a prompt", "", 2.0, 1.0, f"{still}?{i}", tuple(cells)))
    page_of = GalleryPage("many", "many", "all", tuple(f"model {m}" for m in range(8)), tuple(rows))
    file = gallery.parent / "many.html"
    file.write_text(render_page(page_of), encoding="utf-8")
    asked: list[str] = []
    tab.page.on("request", lambda request: asked.append(request.url))
    measuring = tab.page.context.new_cdp_session(tab.page)
    measuring.send("Performance.enable", {"timeDomain": "threadTicks"})
    page = tab.open(file)
    measured = {item["name"]: item["value"] for item in measuring.send("Performance.getMetrics")["metrics"]}
    assert page.locator(".cell").count() == 1600
    assert page.locator("video").count() == 0
    assert len(asked) < 500
    assert measured["TaskDuration"] < 3  # seconds of the page's own work, however busy the machine
    page.locator("button.stage").nth(3).click()
    wait_until(page, 0.02)
    assert page.locator("video").count() == 8


def test_a_board_sorts_within_its_groups_best_first_and_back(tab: Tab, tmp_path: Path) -> None:
    distances = {"a": 9.5, "b": 10.25, "c": None, "d": 2.0}
    scores = {"a": 1.0, "b": 3.0, "c": 2.0, "d": 2.5}
    reports = [
        make_report(name, make_score("FD", value, used=8 if value else 0), make_score("IS", scores[name]))
        for name, value in distances.items()
    ]
    board = group_rows(build_board(reports), {"first": "a,b,c", "second": "d"})
    file = tmp_path / "board.html"
    file.write_text(render_html(replace(board, title="<b>t</b>")), encoding="utf-8")
    page = tab.open(file)

    def order(column: str | None) -> str:
        if column:
            page.get_by_role("button", name=column, exact=True).click()
        cells = page.locator("tr.model td:first-child")
        return "".join(cells.evaluate_all("(all) => all.map((cell) => cell.dataset.value)"))

    assert order(None) == "abcd"
    assert order("FD") == "abcd"
    assert page.locator("th").nth(1).get_attribute("aria-sort") == "ascending"
    assert order("FD") == "bacd"
    assert order("IS") == "bcad"
    assert page.locator("th").nth(1).get_attribute("aria-sort") == "none"
    assert order("IS") == "acbd"
    assert order("IS") == "abcd"
    assert page.locator("h1").inner_text() == "<b>t</b>"
