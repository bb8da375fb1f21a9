"""The rating page: over HTTP, and in a real Chromium with a real server that dies in between."""

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from v2abench.errors import V2ABenchError
from v2abench.finetune.preferences.rating_server import rating_app
from v2abench.finetune.preferences.rating_session import RatingSession
from v2abench.finetune.preferences.ratings import read_comparisons, read_ratings
from v2abench.finetune.preferences.samples import SampleFolder

pytest.importorskip("starlette", reason="the extra `annotate` is not installed")
httpx = pytest.importorskip("httpx")
from starlette.testclient import TestClient  # noqa: E402

if TYPE_CHECKING:
    from playwright.sync_api import Page

TOKEN = "a-token"


def client(folder: SampleFolder, tmp_path: Path, rater: str = "anna", mode: str = "rate") -> TestClient:
    media = tmp_path / f"media-{rater}-{mode}"
    media.mkdir(exist_ok=True)
    session = RatingSession(folder, rater, mode, media, secret=TOKEN)  # type: ignore[arg-type]
    return TestClient(rating_app(session, TOKEN), base_url="http://127.0.0.1")


def test_each_rating_is_on_disk_before_the_next_question(folder: SampleFolder, tmp_path: Path) -> None:
    web = client(folder, tmp_path)
    question = web.get(f"/{TOKEN}/next").json()
    assert (question["done"], question["total"]) == (0, 20)
    for count, value in enumerate(("Good", "Bad", "Medium"), start=1):
        question = web.post(f"/{TOKEN}/answer", json={"item": question["item"], "value": value}).json()
        assert question["done"] == count
        assert [r.rating for r in read_ratings(folder.path / "ratings.csv")][-1] == value
    assert web.post(f"/{TOKEN}/undo").json()["done"] == 2
    assert [r.rating for r in read_ratings(folder.path / "ratings.csv")] == ["Good", "Bad"]


def test_a_new_server_goes_on_and_raters_do_not_meet(folder: SampleFolder, tmp_path: Path) -> None:
    first = client(folder, tmp_path)
    question = first.get(f"/{TOKEN}/next").json()
    after = first.post(f"/{TOKEN}/answer", json={"item": question["item"], "value": "Good"}).json()
    again = client(folder, tmp_path).get(f"/{TOKEN}/next").json()
    assert again == after
    assert client(folder, tmp_path, rater="ben").get(f"/{TOKEN}/next").json()["done"] == 0


def test_pages_of_other_origins_get_no_answer(folder: SampleFolder, tmp_path: Path) -> None:
    web = client(folder, tmp_path)
    item = web.get(f"/{TOKEN}/next").json()["item"]
    given = {"item": item, "value": "Good"}
    for origin in ("http://evil.example", "null", "http://127.0.0.1:81", "https://127.0.0.1"):
        refused = web.post(f"/{TOKEN}/answer", json=given, headers={"Origin": origin})
        assert refused.status_code == 403, origin
        assert web.get(f"/{TOKEN}/next", headers={"Origin": origin}).status_code == 403
    assert web.get(f"/{TOKEN}/next", headers={"Host": "evil.example"}).status_code == 400
    assert not (folder.path / "ratings.csv").exists()
    assert web.post(f"/{TOKEN}/answer", json=given, headers={"Origin": "http://127.0.0.1"}).status_code == 200


def test_it_is_blind_and_shuffled(folder: SampleFolder, tmp_path: Path) -> None:
    orders = []
    for rater in ("anna", "ben"):
        session = RatingSession(folder, rater, "rate", tmp_path, secret=TOKEN)
        orders.append([item.samples[0].sample for item in session.items.values()])
    dataset_order = [s.sample for s in folder.samples if s.failed is None]
    assert orders[0] != orders[1]
    assert dataset_order not in orders
    assert sorted(orders[0]) == sorted(dataset_order)
    web = client(folder, tmp_path)
    text = web.get(f"/{TOKEN}/next").text
    assert not any(name in text for name in ("#", "knocker", "sample", "audio", ".flac"))


def test_only_the_questions_media_can_be_fetched(folder: SampleFolder, tmp_path: Path) -> None:
    web = client(folder, tmp_path)
    media = web.get(f"/{TOKEN}/next").json()["media"][0]
    served = web.get(f"/{TOKEN}/{media}")
    assert served.status_code == 200
    assert served.content[4:8] == b"ftyp"
    part = web.get(f"/{TOKEN}/{media}", headers={"Range": "bytes=4-7"})
    assert (part.status_code, part.content) == (206, b"ftyp")
    for path in (
        "/",
        "/other/next",
        f"/{TOKEN}/media/0123/0.mp4",
        f"/{TOKEN}/media/..%2F..%2Fcard/0.mp4",
        f"/{TOKEN}/{media.replace('0.mp4', '1.mp4')}",
        f"/{TOKEN}/card.json",
        f"/{TOKEN}/..%2Fratings.csv",
        f"/{TOKEN}/%2Fetc%2Fpasswd",
    ):
        assert web.get(path).status_code == 404, path


def test_other_hosts_and_wrong_answers_are_refused(folder: SampleFolder, tmp_path: Path) -> None:
    web = client(folder, tmp_path)
    assert web.get(f"/{TOKEN}/next", headers={"Host": "evil.example"}).status_code == 400
    item = web.get(f"/{TOKEN}/next").json()["item"]
    for body in ({"item": item, "value": "Superb"}, {"item": "0", "value": "Good"}, {"item": item}, [1]):
        assert web.post(f"/{TOKEN}/answer", json=body).status_code == 400
    assert not (folder.path / "ratings.csv").exists()


def test_comparisons_are_of_one_clip_and_give_the_choice(folder: SampleFolder, tmp_path: Path) -> None:
    web = client(folder, tmp_path, mode="compare")
    question = web.get(f"/{TOKEN}/next").json()
    assert (len(question["media"]), question["total"]) == (2, 5)
    for value in ("first", "tie"):
        question = web.post(f"/{TOKEN}/answer", json={"item": question["item"], "value": value}).json()
    found = read_comparisons(folder.path / "comparisons.csv")
    assert [c.choice for c in found] == ["first", "tie"]
    assert all(c.first.split("#")[0] == c.second.split("#")[0] for c in found)
    resumed = client(folder, tmp_path, mode="compare").get(f"/{TOKEN}/next").json()
    assert resumed["done"] == 2


def test_a_video_that_cannot_be_played_is_counted_and_left_out(folder: SampleFolder, tmp_path: Path) -> None:
    for index in range(4):
        (folder.path / "audio" / "c" / f"{index}.flac").write_bytes(b"broken")
    web = client(folder, tmp_path)
    question = web.get(f"/{TOKEN}/next").json()
    while question["item"]:
        question = web.post(f"/{TOKEN}/answer", json={"item": question["item"], "value": "Bad"}).json()
    assert (question["done"], question["total"], question["unplayable"]) == (16, 20, 4)


def test_a_rater_needs_a_name(folder: SampleFolder, tmp_path: Path) -> None:
    with pytest.raises(V2ABenchError, match="--rater"):
        RatingSession(folder, " ", "rate", tmp_path, secret=TOKEN)


@contextmanager
def running(folder: Path, *options: str) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """`v2abench prefs rate` as a process of its own, and its address."""
    command = [sys.executable, "-m", "v2abench", "prefs", "rate", str(folder), "--rater", "anna", *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            yield line.removeprefix("open ").strip(), process
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(timeout=20)


@pytest.fixture
def page() -> Iterator["Page"]:
    """A page in the system's Chromium."""
    browsing = pytest.importorskip("browsing", reason="playwright is not installed")
    with browsing.launched(browsing.find_chromium()) as browser, browsing.new_tab(browser) as tab:
        yield tab.page


def until(check: Callable[[], bool], seconds: float = 60.0) -> None:
    end = time.monotonic() + seconds
    while not check():
        assert time.monotonic() < end, "the page did not get there in time"
        time.sleep(0.1)


def shown(page: "Page") -> str:
    return page.locator("#count").inner_text()


def played(page: "Page", number: int = 0) -> bool:
    return bool(page.evaluate("n => document.querySelectorAll('video')[n].played.length > 0", number))


def test_a_person_rates_in_chromium_and_the_server_dies(folder: SampleFolder, page: "Page") -> None:
    ratings = folder.path / "ratings.csv"
    with running(folder.path) as (url, process):
        page.goto(url)
        until(lambda: shown(page) == "0 of 20 done")
        page.keyboard.press(" ")
        until(lambda: played(page))
        video = "document.querySelector('video')"
        seen = page.evaluate(f"[{video}.videoWidth, {video}.webkitAudioDecodedByteCount > 0]")
        assert seen == [64, True]
        for count, key in enumerate("123", start=1):
            page.keyboard.press(key)
            until(lambda count=count: shown(page) == f"{count} of 20 done")
            assert len(read_ratings(ratings)) == count
        page.keyboard.press("u")
        until(lambda: shown(page) == "2 of 20 done")
        assert [r.rating for r in read_ratings(ratings)] == ["Good", "Medium"]
        process.kill()
        process.wait(timeout=20)
        page.keyboard.press("1")
        until(lambda: "Not saved" in page.locator("#message").inner_text())
        assert shown(page) == "2 of 20 done"
    with running(folder.path) as (url, _):
        page.goto(url)
        until(lambda: shown(page) == "2 of 20 done")


def test_a_person_compares_in_chromium(folder: SampleFolder, page: "Page") -> None:
    with running(folder.path, "--pairwise") as (url, _):
        page.goto(url)
        until(lambda: shown(page) == "0 of 5 done")
        for number in (0, 1):
            page.keyboard.press(" ")
            until(lambda number=number: played(page, number))
        assert page.evaluate("document.querySelector('video').paused")
        for count, key in enumerate("12312", start=1):
            page.keyboard.press(key)
            until(lambda count=count: shown(page) == f"{count} of 5 done")
        assert page.locator("#prompt").inner_text() == "That was the last one. Thank you."
    chosen = [c.choice for c in read_comparisons(folder.path / "comparisons.csv")]
    assert chosen == ["first", "second", "tie", "first", "second"]
