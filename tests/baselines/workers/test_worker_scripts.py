"""Each worker script against stand-ins of its upstream: the calls that are made, and the traps avoided."""

import ast
import itertools
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from stubs import (
    foleycrafter_upstream,
    seeing_and_hearing_upstream,
    thinksound_upstream,
    v_aura_upstream,
)
from stubs.installing import Calls, import_script, install

from v2abench.baselines.workers.cards import built_in_card, built_in_cards
from v2abench.baselines.workers.places import scripts_folder

SCRIPTS = scripts_folder()
WORKERS = [name for name in built_in_cards() if built_in_card(name).kind == "isolated"]


@pytest.fixture
def calls() -> Calls:
    return Calls()


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory: an upstream repository without its code."""
    folder = tmp_path / "upstream"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], ModuleType]:
    return lambda name: import_script(name, SCRIPTS, monkeypatch)


@pytest.fixture(autouse=True)
def _restore_torch() -> Any:
    """The scripts own their process; here they share it with other tests."""
    state = torch.get_rng_state()
    yield
    torch.set_rng_state(state)


def order(seconds: float = 8.0, seed: int = 1, video: str = "video.mp4", **fields: Any) -> Any:
    """A request as the script's own class has it."""
    message = {"id": "x", "video": video, "output": "out.wav", "seconds": seconds, "seed": seed, **fields}
    return sys.modules["v2a_worker"].Order(message, lambda _message: None)


def touch(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


def fault(error: BaseException, *, loading: bool = False) -> str:
    return str(sys.modules["v2a_worker"]._fault(error, loading)["code"])


@pytest.fixture
def thinksound(root: Path, calls: Calls, script: Any, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    def load(seconds: float = 10.0, silent: bool = False) -> Any:
        install(thinksound_upstream.modules(calls, seconds, silent), monkeypatch)
        touch(root, "ckpts/vae.ckpt", "ckpts/synchformer_state_dict.pth")
        config = root / "ThinkSound/configs/model_configs/thinksound.json"
        config.parent.mkdir(parents=True)
        config.write_text('{"model": {"diffusion": {"config": {"depth": 3}}}}')
        torch.save(thinksound_upstream.state_dict(), root / "ckpts/thinksound_light.ckpt")
        worker = script("worker_thinksound").ThinkSound()
        assert worker.load("cpu") == {"sample_rate": 44100, "channels": 2, "device": "cpu"}
        return worker

    return load


def test_thinksound_calls_upstream_as_its_own_scripts_do(thinksound: Any, calls: Calls) -> None:
    worker = thinksound()
    sound = worker.generate(order(prompt="a dog", cot="first it barks"))
    assert calls["config"] == [{"depth": 3, "sync_seq_len": 216, "clip_seq_len": 72, "latent_seq_len": 194}]
    assert calls["ffmpeg"] == [True]
    assert calls["processor"] == ["facebook/metaclip-h14-fullcc2.5b"]
    assert calls["sample"] == [((1, 64, 194), 24, 5.0)]
    assert (calls["caption"], calls["cot"]) == ([["a dog"]], [["first it barks"]])
    assert calls["metadata"] == [
        {
            "metaclip_features": (72, 1024),
            "sync_features": (216, 768),
            "metaclip_global_text_features": (1024,),
            "metaclip_text_features": (77, 1024),
            "t5_features": (77, 2048),
            "video_exist": (),
        }
    ]
    assert calls["lengths"] == []
    assert torch.equal(worker.model.pretransform.weight, torch.ones(2))
    assert (sound.samples.shape, sound.samples.dtype, sound.sample_rate) == ((2, 397312), np.int16, 44100)
    assert np.abs(sound.samples).max() == 32767


def test_thinksound_depends_on_the_clips_seed_and_not_on_clips_before(thinksound: Any, calls: Calls) -> None:
    worker = thinksound()
    first, other, again = (worker.generate(order(seed=seed)).samples for seed in (5, 6, 5))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()
    torch.manual_seed(5)
    assert torch.equal(calls["noise"][0], torch.randn([1, 64, 194]))


def test_thinksound_leaves_blank_texts_as_a_space_and_takes_options(thinksound: Any, calls: Calls) -> None:
    worker = thinksound()
    worker.generate(order(options={"steps": 3, "cfg": 1.5, "half": True}))
    assert (calls["caption"], calls["cot"]) == ([[" "]], [[" "]])
    assert calls["sample"][0][1:] == (3, 1.5)
    assert worker.features.synchformer.weight.dtype == torch.float16
    worker.generate(order())
    assert worker.features.synchformer.weight.dtype == torch.float32


def test_thinksound_makes_what_the_video_allows(thinksound: Any, calls: Calls) -> None:
    """Eight seconds of video: 7.988 s of sound, of which the host fills the rest."""
    request = order()
    sound = thinksound(seconds=8.0).generate(request)
    assert (sound.samples.shape, request.warnings) == ((2, 352256), [])
    assert calls["lengths"] == [(172, 64, 192)]
    assert calls["metadata"][0]["sync_features"] == (192, 768)


def test_thinksound_repeats_the_last_frame_only_with_a_warning(thinksound: Any, calls: Calls) -> None:
    request = order(seconds=7.5)
    assert thinksound(seconds=7.5).generate(request).samples.shape[1] >= 7.5 * 44100
    assert request.warnings == ["video of 7.48 s where 8 s are generated: its last frame is repeated"]
    assert calls["metadata"][0]["metaclip_features"] == (64, 1024)


def test_thinksound_tells_silence_short_and_broken_videos(thinksound: Any, script: Any) -> None:
    worker = thinksound(silent=True)
    for request, code in (
        (order(), "no_audio"),
        (order(video="broken.mp4"), "video_unreadable"),
    ):
        with pytest.raises(Exception) as caught:  # noqa: PT011 (the script's own class, imported anew)
            worker.generate(request)
        assert fault(caught.value) == code


def test_thinksound_needs_sixteen_frames(thinksound: Any) -> None:
    worker = thinksound(seconds=0.5)
    with pytest.raises(Exception, match="12 frames at 25 fps, 16 are needed") as caught:
        worker.generate(order())
    assert fault(caught.value) == "video_too_short"


@pytest.mark.parametrize(
    ("wanted", "available", "native"),
    [
        (8.0, 10.0, 9),
        (8.0, 9.0, 9),
        (8.0, 8.5, 8),
        (8.0, 8.0, 8),
        (9.0, 10.0, 9),
        (1.0, 10.0, 1),
        (7.5, 7.5, 8),
    ],
)
def test_thinksounds_native_length(script: Any, wanted: float, available: float, native: int) -> None:
    assert script("worker_thinksound").native_seconds(wanted, available) == native


@pytest.fixture
def foleycrafter(
    root: Path, calls: Calls, script: Any, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Any]:
    def load(seconds: float = 10.0, adapter: Any = None) -> Any:
        install(foleycrafter_upstream.modules(calls, seconds), monkeypatch)
        touch(
            root,
            "checkpoints/timestamp_detector.pth.tar",
            "checkpoints/semantic/semantic_adapter.bin",
            "checkpoints/auffusion/model_index.json",
            "checkpoints/ip-adapter/models/image_encoder/config.json",
            "checkpoints/vocoder/config.json",
        )
        torch.save(adapter or foleycrafter_upstream.adapter(), root / "checkpoints/temporal_adapter.ckpt")
        torch.save({}, root / "checkpoints/vocoder/vocoder.pt")
        original, seen = torch.load, []

        def watched(*arguments: Any, **options: Any) -> Any:
            seen.append(options.get("map_location"))
            return original(*arguments, **options)

        monkeypatch.setattr(torch, "load", watched)
        worker = script("worker_foleycrafter").FoleyCrafter()
        ready = worker.load("cpu")
        assert torch.load is watched
        assert seen == ["cpu", "cpu"]
        assert ready["max_seconds"] == 10.0
        return worker

    return load


def test_foleycrafter_calls_upstream_as_its_own_scripts_do(foleycrafter: Any, calls: Calls) -> None:
    worker = foleycrafter()
    sound = worker.generate(order(prompt="rain", negative_prompt="music"))
    assert calls["base"] == ["checkpoints/auffusion"]
    assert calls["detector"] == [("checkpoints/timestamp_detector.pth.tar", "cpu", True)]
    assert calls["adapter"] == ["semantic_adapter.bin"]
    assert calls["prompts"] == [("rain", "music")]
    assert (calls["sampling"], calls["semantic_scale"]) == ([(0.2, 25, 7.5)], [1.0])
    assert (sound.samples.shape, sound.samples.dtype) == ((1, 128000), np.int16)
    condition = calls["condition"][0]
    assert set(condition.tolist()) == {-1.0, 1.0}
    assert (condition[:6] == 1).all()
    assert (condition[819:] == -1).all()
    likely = [index % 50 == 0 for index in range(150)]
    expected = [likely[int(i / 819.2 * 150)] for i in range(819)]
    assert (condition[:819] == 1).tolist() == expected


def test_foleycrafter_sees_150_frames_of_the_wanted_part(foleycrafter: Any, calls: Calls) -> None:
    worker = foleycrafter(seconds=30.0)
    worker.generate(order(seconds=8.0))
    times = calls["times"]
    assert len(times) == 150
    assert (times[0], times[-1]) == (0.0, 199 / 25)
    assert times == sorted(times)
    assert calls["closed"] == [True]


def test_foleycrafter_has_a_generator_of_its_own_for_every_clip(foleycrafter: Any) -> None:
    worker = foleycrafter()
    seeds = (2**62 + 5, 6, 2**62 + 5)
    first, other, again = (worker.generate(order(seed=seed)).samples for seed in seeds)
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


def test_foleycrafter_fails_where_upstream_only_prints(foleycrafter: Any) -> None:
    with pytest.raises(Exception, match=r"temporal_adapter\.ckpt lacks bias") as caught:
        foleycrafter(adapter={"module.weight": torch.zeros(2, 2)})
    assert fault(caught.value, loading=True) == "checkpoint_mismatch"


def test_foleycrafter_tells_a_broken_video(foleycrafter: Any) -> None:
    worker = foleycrafter()
    with pytest.raises(Exception, match="MoviePy error") as caught:
        worker.generate(order(video="broken.mp4"))
    assert fault(caught.value) == "video_unreadable"


@pytest.fixture
def seeing(root: Path, calls: Calls, script: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    install(seeing_and_hearing_upstream.modules(calls), monkeypatch)
    touch(
        root,
        "ckpt/audioldm-m-full/model_index.json",
        "imagebind/.checkpoints/imagebind_huge.pth",
        "imagebind/bpe/bpe_simple_vocab_16e6.txt.gz",
    )
    monkeypatch.setattr(
        torch,
        "use_deterministic_algorithms",
        lambda mode, *, warn_only: calls.note("exact", (mode, warn_only)),
    )
    monkeypatch.setattr(torch.backends.cudnn, "deterministic", False)
    worker = script("worker_seeing_and_hearing").SeeingAndHearing()
    worker.load("cpu")
    assert calls["exact"] == [(True, True)]
    return worker


def test_seeing_and_hearing_calls_upstream_as_its_own_scripts_do(seeing: Any, calls: Calls) -> None:
    sound = seeing.generate(order(seconds=7.3, prompt="a train"))
    assert calls["call"] == [
        {
            "prompt": "a train",
            "negative_prompt": None,
            "seconds": (8, 1, 8),
            "sampling": (30, 2.5, 0.1),
            "correction": (1, 0.2),
        }
    ]
    assert (sound.samples.shape, sound.samples.dtype, sound.sample_rate) == ((1, 128000), np.float32, 16000)


def test_seeing_and_hearing_builds_imagebind_once_and_seeds_every_clip(seeing: Any, calls: Calls) -> None:
    seed = 2**40 + 9
    first, other, again = (seeing.generate(order(seed=s, prompt="x")).samples for s in (seed, 2, seed))
    assert calls["imagebind"] == [True]
    assert calls["seed"] == [9, 2, 9]
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


def test_seeing_and_hearing_needs_a_prompt_and_a_video_that_is_long_enough(seeing: Any) -> None:
    with pytest.raises(Exception, match="needs a prompt") as caught:
        seeing.generate(order(prompt=" "))
    assert fault(caught.value) == "bad_request"
    with pytest.raises(Exception, match="ends before 8 s") as caught:
        seeing.generate(order(prompt="x", video="short.mp4"))
    assert fault(caught.value) == "video_too_short"


@pytest.fixture
def v_aura(root: Path, calls: Calls, script: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    install(v_aura_upstream.modules(calls), monkeypatch)
    runs = "logs/24-08-01T08-34-26/"
    touch(root, "segment_avclip/vggsound/best.pt", "dac/weights_44khz_8kbps_0.0.1.pth")
    touch(
        root,
        *(f"{runs}checkpoints/epoch={n}-val_loss={loss}.ckpt" for n, loss in ((1, 3.5), (2, 3.25), (3, 3.4))),
    )
    hparams = root / runs / "hparams/hparams.yaml"
    hparams.parent.mkdir()
    hparams.write_text("lr: 1\nfeature_extractor_config: {params: {ckpt_path: elsewhere.pt, width: 2}}\n")
    worker = script("worker_v_aura").VAura()
    worker.load("cpu")
    assert hparams.read_text().startswith("lr: 1\nfeature_extractor_config: {params: {ckpt_path: elsewhere")
    return worker


def test_v_aura_loads_the_best_checkpoint_with_local_paths(v_aura: Any, calls: Calls, root: Path) -> None:
    assert calls["checkpoint"] == ["logs/24-08-01T08-34-26/checkpoints/epoch=2-val_loss=3.25.ckpt"]
    assert calls["hparams"] == [
        {
            "lr": 1,
            "feature_extractor_config": {
                "params": {"ckpt_path": str(root / "segment_avclip/vggsound/best.pt"), "width": 2}
            },
            "audio_encoder_config": {
                "params": {"ckpt_path": str(root / "dac/weights_44khz_8kbps_0.0.1.pth")}
            },
        }
    ]


def test_v_aura_moves_its_window_by_one_segment(v_aura: Any, calls: Calls, videos: Path) -> None:
    """Eight seconds: 13 segments, 10 windows of 4, 716 tokens, 8.313 s."""
    request = order(video=str(videos / "c.mp4"))
    sound = v_aura.generate(request)
    assert calls["tokens"] == [221] * 10
    assert calls["sampling"] == [(1.0, 128, 0, 6.0)] * 10
    assert calls["codes"][-1].shape == (1, 9, 716)
    windows = calls["frames"]
    for before, after in itertools.pairwise(windows):
        assert torch.equal(before[1:], after[:-1])
    assert sound.samples.shape == (1, 716 * 512)
    assert np.abs(sound.samples).max() == np.float32(10 ** (-6 / 20))
    assert request.warnings == ["video of 2.00 s where 8.32 s are generated: its last frame is repeated"]


def test_v_aura_makes_short_sounds_in_one_window_and_seeds_every_clip(
    v_aura: Any, calls: Calls, videos: Path
) -> None:
    video = str(videos / "c.mp4")
    requests = [
        order(seconds=2.0, seed=seed, video=video, options={"cfg": 2.0, "top_k": 5}) for seed in (3, 4, 3)
    ]
    first, other, again = (v_aura.generate(request).samples for request in requests)
    assert calls["tokens"] == [220] * 3
    assert calls["sampling"][0] == (1.0, 5, 0, 2.0)
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


def test_v_aura_tells_a_video_that_is_none(v_aura: Any, tmp_path: Path) -> None:
    (tmp_path / "bad.mp4").write_bytes(b"not a video at all")
    with pytest.raises(Exception, match=r".") as caught:
        v_aura.generate(order(video=str(tmp_path / "bad.mp4")))
    assert fault(caught.value) == "video_unreadable"


@pytest.mark.parametrize(
    ("segments", "windows", "tokens"), [(4, 1, 220), (12, 9, 661), (13, 10, 716), (15, 12, 826)]
)
def test_v_auras_windows_are_those_of_its_own_loop(
    script: Any, segments: int, windows: int, tokens: int
) -> None:
    worker = script("worker_v_aura")
    assert (worker.windows(segments), worker.tokens(segments)) == (windows, tokens)


def test_v_aura_never_needs_more_segments_than_it_has(script: Any) -> None:
    worker = script("worker_v_aura")
    longest = built_in_card("v-aura").max_seconds
    assert longest is not None
    for hundredths in range(10, int(longest * 100) + 1):
        segments = worker.segments_for(hundredths / 100)
        assert worker.windows(segments) + worker.WINDOW_SEGMENTS - 1 == segments
        assert worker.tokens(segments) * 512 >= hundredths * 441


@pytest.mark.parametrize("name", WORKERS)
def test_a_missing_checkpoint_is_told_before_upstream_is_imported(name: str, root: Path, script: Any) -> None:
    module = script(built_in_card(name).script.removesuffix(".py"))
    classes = [value for value in vars(module).values() if hasattr(value, "capabilities")]
    with pytest.raises(Exception, match=f"missing: {root}") as caught:
        classes[0]().load("cpu")
    assert fault(caught.value, loading=True) == "missing_checkpoint"


@pytest.mark.parametrize("name", WORKERS)
def test_card_and_script_agree(name: str, script: Any) -> None:
    card = built_in_card(name)
    module = script(card.script.removesuffix(".py"))
    (worker,) = [value for value in vars(module).values() if hasattr(value, "capabilities")]
    assert worker.name == card.name
    assert set(worker.capabilities["options"]) == set(card.options)
    assert worker.capabilities["prompt"] == (card.text != "none")
    assert worker.capabilities["cot"] == card.cot
    assert card.sample_rate == module.SAMPLE_RATE


@pytest.mark.parametrize("path", sorted(SCRIPTS.glob("*.py")), ids=lambda path: path.stem)
def test_scripts_are_old_python_and_import_nothing_of_ours(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"), feature_version=(3, 8))
    names = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    names |= {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert not any(name.startswith("v2abench") for name in names)
    at_top = {
        name.partition(".")[0]
        for node in tree.body
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in (
            [node.module or ""] if isinstance(node, ast.ImportFrom) else [a.name for a in node.names]
        )
    }
    assert at_top <= set(sys.stdlib_module_names) | {"v2a_worker", "huggingface_hub"}


def test_faults_have_codes(script: Any) -> None:
    module = script("worker_v_aura")
    assert module
    oom = type("OutOfMemoryError", (RuntimeError,), {})
    for error, loading, code in (
        (oom("CUDA"), False, "out_of_memory"),
        (RuntimeError("CUDA error: out of memory"), False, "out_of_memory"),
        (ImportError("cannot import name 'cached_download'"), True, "import_error"),
        (FileNotFoundError("ckpt"), True, "missing_checkpoint"),
        (
            OSError("We couldn't connect to the hub, and config.json is not in the cache"),
            True,
            "missing_checkpoint",
        ),
        (OSError("cannot read"), False, "failed"),
        (RuntimeError("Error(s) in loading state_dict for X"), True, "checkpoint_mismatch"),
        (SystemExit(0), True, "failed"),
        (KeyError("x"), False, "failed"),
    ):
        assert fault(error, loading=loading) == code
    namespace = SimpleNamespace(samples=np.full((1, 3), np.nan, np.float32), sample_rate=1)
    with pytest.raises(Exception, match="not finite"):
        sys.modules["v2a_worker"]._checked(namespace)
