"""Setup with a real repository, a real environment and real processes, none of which is on the net."""

import shutil
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from upstream_stand_in import Upstream, git, make_scripts, make_upstream, read_json

from v2abench import registry
from v2abench.api import Options, evaluate
from v2abench.baselines.workers import checkpoints, environments, examining, opening, places
from v2abench.baselines.workers.cards import Card
from v2abench.baselines.workers.examining import examine, readiness
from v2abench.baselines.workers.opening import IsolatedModel, open_card
from v2abench.baselines.workers.setting_up import SetupOptions, plan, set_up
from v2abench.errors import V2ABenchError
from v2abench.models import ModelContext
from v2abench.protocols.schema import Protocol


@pytest.fixture
def upstream(tmp_path: Path) -> Upstream:
    return make_upstream(tmp_path)


@pytest.fixture(autouse=True)
def scripts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = make_scripts(tmp_path / "scripts")
    for module in (places, opening, checkpoints):
        monkeypatch.setattr(module, "scripts_folder", lambda: folder)
    return folder


@pytest.fixture
def no_uv(monkeypatch: pytest.MonkeyPatch) -> None:
    which = shutil.which
    monkeypatch.setattr(shutil, "which", lambda name: None if name == "uv" else which(name))


def mended(card: Card) -> list[str]:
    """What the doctor finds wrong."""
    return [check.what for check in examine(card) if check.remedy]


def test_setup_doctor_eval_and_setup_again(
    upstream: Upstream,
    videos: Path,
    protocol: Protocol,
    tmp_path: Path,
    cache: Path,
    monkeypatch: pytest.MonkeyPatch,
    no_uv: None,
) -> None:
    """The whole way of an isolated model."""
    card, said = upstream.card(), []
    options = SetupOptions(say=said.append)
    before = "\n".join(plan(card, options))
    for words in (
        "licence: code MIT; weights CC BY-NC 4.0; NOT FOR COMMERCIAL USE",
        f"at {upstream.commit} (2024-01-01): to clone",
        "to make with venv and pip",
        f"to fetch: ckpts/model.pt (model); from {upstream.weights.as_uri()}; licence CC BY-NC 4.0",
        "weights to download: 0 MB, and 2 of unknown size; ",
    ):
        assert words in before
    assert not (cache / "models").exists()
    assert readiness(card) == "not set up: v2abench models setup upstream"
    assert mended(card) == ["setup"]

    set_up(card, options)
    folder = cache / "models/upstream"
    assert git(folder / "repository", "rev-parse", "HEAD") == upstream.commit
    assert read_json(folder / "setup.json")["python"] == str(folder / "environment/bin/python")
    assert (folder / "repository/inner/ckpts/base/config.json").read_text() == "org/base"
    assert readiness(card) == "ready"
    assert mended(card) == []
    assert [check.state for check in examine(card)][-1] == "protocol 1"

    monkeypatch.setattr(opening, "built_in_card", lambda _name: card)
    model = IsolatedModel("upstream")
    registered = registry._entries("models")
    monkeypatch.setitem(registered, "upstream", SimpleNamespace(load=lambda: model, value="-"))
    report = evaluate("upstream", f"folder:{videos}", protocol, Options(output=tmp_path / "runs")).report
    assert report.coverage.ok == 6, report.ledger
    assert report.model.recipe["commit"] == upstream.commit
    assert "NOT FOR COMMERCIAL USE" in (report.model.license or "")

    said.clear()
    made = (folder / "environment/pyvenv.cfg").stat().st_mtime_ns
    set_up(card, options)
    assert said == []
    assert (folder / "environment/pyvenv.cfg").stat().st_mtime_ns == made
    assert ": there, " in "\n".join(plan(card, options))
    assert "weights to download: nothing; " in "\n".join(plan(card, options))

    (folder / "repository/inner/ckpts/model.pt").write_text("cut")
    python = (folder / "environment/bin/python").rename(folder / "elsewhere")
    states = {check.what: check.state for check in examine(card)}
    assert "has 0 MB where 0 MB are expected" in states["weights ckpts/model.pt"]
    assert mended(card) == ["python", "weights ckpts/model.pt"]
    python.rename(folder / "environment/bin/python")
    set_up(card, options)
    assert mended(card) == []


def test_other_requirements_are_installed_anew(
    upstream: Upstream, no_uv: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = []

    def make(folder: Path, environment: object, *_rest: object) -> Path:
        made.append(environment)
        return Path(sys.executable)

    monkeypatch.setattr(environments, "make", make)
    options = SetupOptions(say=lambda _: None, weights=False)
    card = upstream.card()
    set_up(card, options)
    set_up(card, options)
    assert len(made) == 1
    assert card.environment is not None
    changed = card.environment.model_copy(update={"requirements": ()})
    set_up(card.model_copy(update={"environment": changed}), options)
    assert made == [card.environment, changed]


def test_an_environment_and_a_clone_of_the_users_are_used_as_they_are(
    upstream: Upstream, tmp_path: Path, cache: Path
) -> None:
    clone = tmp_path / "clone"
    git(tmp_path, "clone", "--quiet", str(upstream.repository), str(clone))
    card, said = upstream.card(), []
    options = SetupOptions(clone, Path(sys.executable), weights=False, say=said.append)
    wrong = rf"your clone: .* not {upstream.commit[:12]}; .*git -C .* checkout .*--repo"
    with pytest.raises(V2ABenchError, match=wrong):
        set_up(card, options)
    assert f"NOT FIT: {clone} is at commit" in "\n".join(plan(card, options))
    git(clone, "checkout", "--quiet", upstream.commit)
    (clone / "inner/stand_in_model.py").write_text("")
    with pytest.raises(V2ABenchError, match=r"has changed files, e.g. inner/stand_in_model.py"):
        set_up(card, options)
    git(clone, "checkout", "--quiet", ".")
    set_up(card, options)
    assert said == []
    assert not (cache / "models/upstream/environment").exists()
    assert not (cache / "models/upstream/repository").exists()
    assert readiness(card).startswith("3 of 3 checkpoints missing")
    assert mended(card) == [
        "import stand_in_package",
        "weights ckpts/model.pt",
        "weights ckpts/run",
        "weights ckpts/base",
    ]
    set_up(card, SetupOptions(weights=False))
    assert read_json(cache / "models/upstream/setup.json")["repository"] == str(clone)
    git(clone, "checkout", "--quiet", "-")
    newest = git(clone, "rev-parse", "HEAD")
    with pytest.raises(V2ABenchError, match=wrong):
        set_up(card, SetupOptions(weights=False))
    assert git(clone, "rev-parse", "HEAD") == newest != upstream.commit


def test_our_clone_goes_on_where_it_was_interrupted(upstream: Upstream, cache: Path) -> None:
    clone = cache / "models/upstream/repository"
    clone.mkdir(parents=True)
    git(clone, "init", "--quiet")
    options = SetupOptions(python=Path(sys.executable), weights=False, say=lambda _: None)
    set_up(upstream.card(), options)
    assert git(clone, "rev-parse", "HEAD") == upstream.commit
    (clone / "inner/stand_in_model.py").write_text("mine")
    with pytest.raises(V2ABenchError, match=r"has changed files.*undo the changes, or remove"):
        set_up(upstream.card(), options)


def test_what_setup_cannot_do_is_told_with_a_remedy(
    upstream: Upstream, no_uv: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    card = upstream.card()
    assert card.repository is not None
    assert card.environment is not None
    quiet = SetupOptions(say=lambda _: None)
    gone = card.repository.model_copy(update={"url": "/nowhere/at/all"})
    with pytest.raises(V2ABenchError, match=r"git fetch failed .*--repo"):
        set_up(card.model_copy(update={"repository": gone}), quiet)
    with pytest.raises(V2ABenchError, match="is no interpreter that runs"):
        set_up(card, replace(quiet, python=Path("/bin/false")))
    old = card.environment.model_copy(update={"python": ("3.1",)})
    with pytest.raises(V2ABenchError, match=r"Python 3.1 is needed and not installed; .*uv.*--python"):
        set_up(card.model_copy(update={"environment": old}), quiet)


def test_a_package_that_cannot_be_installed_is_told_with_the_log(
    upstream: Upstream, no_uv: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    card = upstream.card()
    assert card.environment is not None
    wrong = card.environment.model_copy(update={"requirements": ("no-such-package-at-all==1",)})
    fake = tmp_path / "env"
    (fake / "bin").mkdir(parents=True)
    (fake / "bin/python").symlink_to(sys.executable)
    monkeypatch.setattr(environments, "version_of", lambda _python: "3.11")
    with pytest.raises(V2ABenchError, match=r"could not be installed; .*no-such-package.*setup again"):
        environments.make(fake, wrong, tmp_path / "r.txt", tmp_path / "log.txt", lambda _: None)


def test_imports_are_tried_and_functions_called(tmp_path: Path) -> None:
    tried = ["json", "os:getcwd", "json:nothing", "os:abort_not", "no_such_module"]
    broken = environments.broken_imports(Path(sys.executable), tried, tmp_path)
    assert list(broken) == ["json:nothing", "os:abort_not", "no_such_module"]
    assert broken["no_such_module"] == "ModuleNotFoundError: No module named 'no_such_module'"


def test_an_unforeseen_python_is_told_and_left_to_the_doctor(upstream: Upstream) -> None:
    card, said = upstream.card(), []
    assert card.environment is not None
    old = card.environment.model_copy(update={"python": ("3.8",)})
    options = SetupOptions(python=Path(sys.executable), weights=False, say=said.append)
    set_up(card.model_copy(update={"environment": old}), options)
    assert any("where 3.8 is foreseen" in line for line in said)


def test_the_hub_cache_is_read_by_its_own_rules(
    upstream: Upstream, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HF_HUB_CACHE", raising=False)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    raw = {"use": "text", "license": "MIT", "hub": "org/text", "files": ["config.json"]}
    checkpoint = upstream.card(checkpoints=[raw]).checkpoints[0]
    assert checkpoints.fault(checkpoint, tmp_path) == "org/text (Hugging Face cache) is missing"
    snapshot = tmp_path / "hf/hub/models--org--text/snapshots/abc"
    snapshot.mkdir(parents=True)
    (snapshot / "other").touch()
    assert checkpoints.fault(checkpoint, tmp_path) == "org/text (Hugging Face cache) lacks config.json"
    (snapshot / "config.json").touch()
    assert checkpoints.fault(checkpoint, tmp_path) is None
    blob = snapshot.parents[1] / "blobs/x.incomplete"
    blob.parent.mkdir()
    blob.touch()
    assert checkpoints.fault(checkpoint, tmp_path) == "the download of org/text has not ended"


def test_opening_what_is_not_set_up_says_how(upstream: Upstream, context: ModelContext, cache: Path) -> None:
    card = upstream.card()
    with pytest.raises(V2ABenchError, match=r"not set up here; .*setup upstream --dry-run"):
        open_card(card, "", context)
    set_up(card, SetupOptions(python=Path(sys.executable), weights=False, say=lambda _: None))
    open_card(card, "gain=0.5", context)
    shutil.rmtree(cache / "models/upstream/repository")
    with pytest.raises(V2ABenchError, match=r"repository/inner is gone; run: v2abench models setup"):
        open_card(card, "", context)
    (cache / "models/upstream/setup.json").write_text("{")
    with pytest.raises(V2ABenchError, match=r"setup.json is damaged .*remove it"):
        examining.readiness(card)
