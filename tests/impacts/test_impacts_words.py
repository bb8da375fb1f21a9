import numpy as np
import pytest

from v2abench.errors import ClipFault
from v2abench.impacts.scenes import make_scene
from v2abench.impacts.tagger import CLASSES
from v2abench.impacts.words import ImpactsWords


@pytest.mark.parametrize("index", range(6))
def test_a_scenes_prompt_names_its_material(index: int) -> None:
    scene = make_scene("val", index)
    found = ImpactsWords().prepare(scene.prompt).inputs["classes"]
    assert [name for name, named in zip(CLASSES, found, strict=True) if named] == [scene.material.name]


def test_several_materials_and_none() -> None:
    network = ImpactsWords()
    found = network.prepare("Glass on STONE, not a woodpecker").inputs["classes"]
    assert [name for name, named in zip(CLASSES, found, strict=True) if named] == ["glass", "stone"]
    assert network.load("cpu")([network.prepare("metal")])[0]["classes"].sum() == 1
    with pytest.raises(ClipFault, match="names no material"):
        network.prepare("a dog barks")
    assert np.issubdtype(found.dtype, np.float64)
