"""Width and height of maps as settings, texts and arrays have them."""

from __future__ import annotations

import json

import pytest

from backend.protocol import map_shape
from backend.protocol.quality import LARGEST_ASPECT, LARGEST_RESOLUTION, SMALLEST_RESOLUTION
from backend.protocol.settings import FitSettings


def test_shapes_are_those_that_a_fit_may_have() -> None:
    sizes = [map_shape.map_size(map_shape.shaped(8192, shape)) for shape in map_shape.SHAPES]
    assert max(width // height for height, width in sizes) == LARGEST_ASPECT
    assert max(height // width for height, width in sizes) == LARGEST_ASPECT
    assert len(set(sizes)) == len(map_shape.SHAPES)


@pytest.mark.parametrize("shape", map_shape.SHAPES)
def test_an_edge_and_a_shape_come_back(shape: str) -> None:
    for edge in (128, LARGEST_RESOLUTION):
        resolution = map_shape.shaped(edge, shape)
        assert map_shape.edge_and_shape(resolution) == (edge, shape)
        assert map_shape.resolution_of_text(map_shape.resolution_text(resolution)) == resolution
        of_json = json.loads(json.dumps(resolution))
        assert map_shape.map_size(of_json) == FitSettings(resolution=resolution).map_size
        assert map_shape.edge_and_shape(of_json) == (edge, shape)


@pytest.mark.parametrize(("text", "wanted"), [("2048", 2048), ("64x64", 64), (" 2048X1024 ", (2048, 1024))])
def test_texts(text: str, wanted: object) -> None:
    assert map_shape.resolution_of_text(text) == wanted


@pytest.mark.parametrize("text", ["", "x", "64x", "x64", "-64", "64x32x16", "6.4", "64,32", "2k", "1" * 5000])
def test_other_texts_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="2048x1024"):
        map_shape.resolution_of_text(text)


@pytest.mark.parametrize(
    ("size", "edge", "wanted"),
    [
        ((64, 64), 64, (64, 64)),
        ((1024, 1024), 512, (512, 512)),
        ((1024, 2048), 512, (256, 512)),
        ((64, 512), 512, (64, 512)),
    ],
)
def test_a_size_is_halved_as_a_whole(size, edge: int, wanted) -> None:
    assert map_shape.limited(size, edge) == wanted
    narrow = map_shape.limited((LARGEST_RESOLUTION, LARGEST_RESOLUTION // LARGEST_ASPECT), 512)
    assert min(narrow) >= SMALLEST_RESOLUTION
