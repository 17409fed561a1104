"""The picture of the report: right maps under right names, and errors where there are errors."""

import numpy as np
import pytest

from backend.cli.contact_sheet import PAGE, Comparison, contact_sheet, read_maps
from render.core.image_io import encode_image


def disc(color: tuple[float, float, float]) -> np.ndarray:
    """A linear, premultiplied render of a flat disc, float32 [64, 64, 4]."""
    rows, columns = np.mgrid[:64, :64] - 31.5
    alpha = (np.hypot(rows, columns) < 20.0).astype(np.float32)[..., None]
    return np.concatenate([alpha * np.float32(color), alpha], axis=2)


def error_row(original: np.ndarray, fitted: np.ndarray) -> np.ndarray:
    """What changes in the third row of pictures, against the sheet of a perfect fit: largest value by pixel."""
    sheet, perfect = (
        contact_sheet("", "", [Comparison("", [original], [image], [""])], {}) for image in (fitted, original)
    )
    top = 3 * sheet.shape[0] // 5
    return np.where(np.any(sheet != perfect, axis=2), sheet.max(axis=2), 0)[top:]


def test_maps_come_out_of_their_channels():
    orm = np.zeros((4, 4, 3), np.uint8)
    orm[:] = (10, 20, 30)  # openness, roughness, metallic
    normal = np.zeros((4, 4, 3), np.uint16)
    normal[:] = (0, 32896, 65535)
    alpha = np.full((4, 4, 4), (1, 2, 3, 200), np.uint8)
    files = {"kd.png": alpha, "orm.png": orm, "normal.png": normal}
    maps = read_maps({name: encode_image(".png", image) for name, image in files.items()} | {"environment.exr": b"?"})
    assert {name: tuple(int(value) for value in picture[0, 0]) for name, picture in maps.items()} == {
        "Base color (kd)": (1, 2, 3),
        "Alpha": (200, 200, 200),
        "Openness": (10, 10, 10),
        "Roughness": (20, 20, 20),
        "Metallic": (30, 30, 30),
        "Normal": (0, 128, 255),
    }


def test_the_error_is_drawn_where_the_fit_is_wrong_and_nowhere_else():
    original = disc((0.2, 0.2, 0.2))
    assert error_row(original, original).max() == 0
    assert error_row(original, disc((0.4, 0.4, 0.4))).max() > 200
    half = np.where(np.arange(64)[None, :, None] < 32, original, disc((0.4, 0.4, 0.4)))
    columns = np.flatnonzero(error_row(original, half).max(axis=0) > 200)
    everywhere = np.flatnonzero(error_row(original, disc((0.4, 0.4, 0.4))).max(axis=0) > 200)
    assert columns[0] - everywhere[0] == pytest.approx((everywhere[-1] - everywhere[0]) / 2, abs=12)
    assert columns[-1] == everywhere[-1]


def areas(mask: np.ndarray) -> np.ndarray:
    """The pixels in each stretch of columns that holds some."""
    edges = np.flatnonzero(np.diff(mask.any(axis=0), prepend=False, append=False))
    return np.array([mask[:, first:end].sum() for first, end in edges.reshape(-1, 2)])


@pytest.mark.parametrize("views", [1, 4])
def test_the_sheet_holds_every_view_and_map(views):
    original, fitted = disc((0.0, 0.8, 0.0)), disc((0.0, 0.0, 0.8))
    maps = {"one": np.full((16, 16, 3), (255, 0, 255), np.uint8), "two": np.full((99, 99, 3), (255, 255, 0), np.uint8)}
    comparison = Comparison("light", [original] * views, [fitted] * views, ["30.0 dB"] * views)
    sheet = contact_sheet("title", "subtitle", [comparison, comparison], {"": maps})
    assert tuple(sheet[0, 0]) == PAGE
    greens = (sheet[..., 1] > 200) & (sheet[..., 0] < 50) & (sheet[..., 2] < 50)
    blues = (sheet[..., 2] > 200) & (sheet[..., 1] < 50) & (sheet[..., 0] < 50)
    large = 2000  # pixels: the discs, not the specks of resampled edges
    for mask in (greens, blues):
        assert (areas(mask) > large).sum() == 2 * views
    for color in ((255, 0, 255), (255, 255, 0)):
        assert (sheet == color).all(axis=2).sum() > 200 * 200


def colored(*colors: tuple[int, int, int]) -> dict[str, np.ndarray]:
    return {str(color): np.full((16, 16, 3), color, np.uint8) for color in colors}


def test_every_set_of_maps_has_a_row_of_its_own():
    sets = {"Red (0/)": colored((255, 0, 0), (0, 255, 0)), "Blue (1/)": colored((0, 0, 255), (255, 255, 0))}
    sheet = contact_sheet("title", "subtitle", [], sets)
    rows = {}
    for color in ((255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 0)):
        found = np.flatnonzero((sheet == color).all(axis=2).any(axis=1))
        assert found.size > 200, color
        rows[color] = (found[0], found[-1])
    assert rows[255, 0, 0] == rows[0, 255, 0]
    assert rows[0, 0, 255] == rows[255, 255, 0]
    assert rows[0, 0, 255][0] > rows[255, 0, 0][1]


def test_warnings_are_lines_and_long_ones_go_on_in_the_next():
    plain = contact_sheet("title", "subtitle", [], {})
    short, long = ("Warning: it rains.", "Warning: " + "it rains and rains " * 20)
    one, many = (contact_sheet("title", "subtitle", [], {}, [note]) for note in (short, long))
    line = one.shape[0] - plain.shape[0]
    assert line > 20
    assert (many.shape[0] - plain.shape[0]) // line >= 3
    assert one.shape[1] == many.shape[1] == plain.shape[1]
