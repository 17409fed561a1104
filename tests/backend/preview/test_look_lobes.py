"""Coat, sheen and emission of looks: as maps, and on the wire."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from backend.preview.look import BoundLook, Images, look_rows, look_size
from backend.protocol.scene_description import LookDescription, TextureDescription
from backend.protocol.wire import ProtocolError
from render.preview.parts import COAT, EMISSION, SHEEN_COLOR, SHEEN_ROUGHNESS, MapRows


def rows_of(look: LookDescription, **arrays: np.ndarray) -> MapRows:
    bound, images = BoundLook(look, arrays), Images(torch.device("cpu"))
    return look_rows(bound, images, torch.device("cpu"), look_size(bound, images))


def test_values_become_lobes():
    look = LookDescription(
        coat=0.5,
        coat_roughness=0.1,
        sheen=0.5,
        sheen_tint=(1.0, 0.5, 0.0),
        emission=(1.0, 0.5, 0.0),
        emission_strength=4.0,
    )
    lobes = rows_of(look).lobes
    assert lobes[0, COAT].tolist() == pytest.approx([0.5, 0.1])
    assert lobes[0, SHEEN_COLOR].tolist() == pytest.approx([0.5, 0.25, 0.0])
    assert lobes[0, SHEEN_ROUGHNESS].tolist() == [0.5]
    assert lobes[0, EMISSION].tolist() == [4.0, 2.0, 0.0]


def test_a_look_without_them_has_no_lobes():
    assert rows_of(LookDescription(coat_roughness=0.3, emission_strength=9.0)).lobes is None
    assert rows_of(LookDescription(emission=(1.0, 1.0, 1.0), emission_strength=0.0)).lobes is None


def test_textures_become_lobes():
    image = np.full((8, 8, 4), (255, 51, 0, 102), np.uint8)
    linear = TextureDescription("image", 1)
    look = LookDescription(
        alpha=0.5,
        coat=linear,
        coat_roughness=TextureDescription("image", 3),
        sheen=linear,
        sheen_tint=TextureDescription("image"),
        emission=TextureDescription("image"),
        emission_strength=10.0,
    )
    rows = rows_of(look, image=image)
    assert rows.resolution == (8, 8)
    assert float(rows.alpha.mean()) == 0.5
    assert rows.lobes[5, COAT].tolist() == pytest.approx([0.2, 0.4])
    assert rows.lobes[5, SHEEN_COLOR].tolist() == pytest.approx([0.2, 0.04, 0.0])
    assert rows.lobes[5, EMISSION].tolist() == pytest.approx([10.0, 2.0, 0.0])


def test_a_look_says_its_lobes_only_where_it_has_them():
    look = LookDescription(coat=1.0, emission=(0.1, 0.2, 0.3))
    values = look.to_dict()
    assert values.keys() == {"kd", "alpha", "roughness", "metallic", "openness", "normal", "coat", "emission"}
    assert LookDescription.from_dict(values) == look


@pytest.mark.parametrize(
    "values",
    [{"coat": [1, 1, 1]}, {"emission": 1.0}, {"sheen_tint": {"array": "image", "channel": 1}}, {"sheen": None}],
)
def test_other_kinds_of_values_are_refused(values):
    with pytest.raises(ProtocolError, match=next(iter(values))):
        LookDescription.from_dict(values)
