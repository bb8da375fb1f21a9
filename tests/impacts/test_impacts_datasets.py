"""The world as a dataset."""

import pytest

from v2abench.errors import UnknownNameError, V2ABenchError
from v2abench.impacts import datasets
from v2abench.impacts.datasets import impacts_dataset
from v2abench.impacts.scenes import VERSION


@pytest.fixture
def asked(monkeypatch) -> list:
    """Have nothing rendered; collect what would have been."""
    calls = []
    real = datasets.render

    def record(split, indices, folder, workers, progress=None):
        calls.append((split, list(indices), folder))
        monkeypatch.setattr("v2abench.impacts.rendering._rendered", lambda *args: iter(()))
        return real(split, calls[-1][1], folder, workers, progress)

    monkeypatch.setattr(datasets, "render", record)
    return calls


def test_limit_takes_the_first_clips_in_index_order(tmp_path):
    dataset = impacts_dataset("val", 2, cache=tmp_path)
    assert dataset.name == "impacts"
    assert dataset.spec == "impacts/val[:2]"
    assert [clip.id for clip in dataset.clips] == ["val-000000", "val-000001"]
    assert dataset.distractors == ()
    for clip in dataset.clips:
        assert clip.video.is_file()
        assert clip.reference.is_file()
        assert clip.video.parent == tmp_path / "impacts" / VERSION / "val"


def test_distractors_are_as_many_from_the_end_of_the_split(tmp_path, asked):
    dataset = impacts_dataset("val", 3, cache=tmp_path, distractors=True)
    assert [clip.id for clip in dataset.clips] == ["val-000000", "val-000001", "val-000002"]
    assert [clip.id for clip in dataset.distractors] == ["val-000253", "val-000254", "val-000255"]
    assert asked[0][1] == [0, 1, 2, 253, 254, 255]


@pytest.mark.parametrize(
    ("limit", "clips", "distractors"), [(None, 256, 256), (200, 200, 56), (999, 256, 256)]
)
def test_distractors_never_are_evaluated_clips(tmp_path, asked, limit, clips, distractors):
    dataset = impacts_dataset("val", limit, cache=tmp_path, distractors=True)
    assert (len(dataset.clips), len(dataset.distractors)) == (clips, distractors)
    assert len({clip.id for clip in (*dataset.clips, *dataset.distractors)}) == clips + distractors


def test_distractors_of_a_whole_split_are_of_another(tmp_path, asked):
    dataset = impacts_dataset("test", cache=tmp_path, distractors=True)
    assert [split for split, _, _ in asked] == ["test", "val"]
    assert {clip.id[:3] for clip in dataset.distractors} == {"val"}
    assert len(dataset.distractors) == 256


def test_the_whole_test_split_by_default(tmp_path, asked):
    dataset = impacts_dataset(cache=tmp_path)
    assert dataset.spec == "impacts/test"
    assert len(dataset.clips) == 512


def test_an_unknown_split_suggests_the_near_name(tmp_path):
    with pytest.raises(UnknownNameError, match="did you mean 'val'"):
        impacts_dataset("vall", cache=tmp_path)


def test_a_limit_below_one_is_refused(tmp_path):
    with pytest.raises(V2ABenchError, match="limit is 0"):
        impacts_dataset("test", 0, cache=tmp_path)
