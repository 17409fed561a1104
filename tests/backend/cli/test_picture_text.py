"""Text in pictures: it stands where it should, and names of the world are legible."""

from __future__ import annotations

import numpy as np
import pytest

from backend.cli import picture_text
from backend.cli.picture_text import draw_text

WHITE = (255, 255, 255)


def drawn(text: str, left: int = 20, baseline: int = 40) -> np.ndarray:
    """bool [60, 120]: the pixels of a text that was drawn on black."""
    picture = np.zeros((60, 120, 3), np.uint8)
    draw_text(picture, text, left, baseline, 20.0, WHITE)
    return picture.max(axis=2) > 100


def test_letters_stand_on_the_baseline_from_the_left():
    rows, columns = np.nonzero(drawn("HH"))
    assert rows.max() == 39
    assert 12 <= rows.max() - rows.min() <= 16
    assert 20 <= columns.min() <= 23


def test_the_color_is_the_one_asked_for_and_the_rest_stays():
    picture = np.full((60, 120, 3), (9, 8, 7), np.uint8)
    draw_text(picture, "HH", 20, 40, 20.0, (200, 100, 50))
    assert (picture == (200, 100, 50)).all(axis=2).any()
    assert (picture[:20] == (9, 8, 7)).all()


@pytest.mark.parametrize(
    ("left", "baseline"), [(-10, 40), (110, 40), (20, 5), (20, 65), (500, 40), (20, -99), (20, 500)]
)
def test_what_does_not_fit_is_cut_off(left, baseline):
    seen, whole = drawn("HHHH", left, baseline), drawn("HHHH")
    assert seen.sum() < whole.sum()


def test_no_text_and_several_lines_do_no_harm():
    assert not drawn("").any()
    assert np.array_equal(drawn("a\nb"), drawn("a b"))


def test_letters_that_no_font_has_lose_their_accents(monkeypatch):
    monkeypatch.setattr(picture_text, "_font_of_the_world", lambda _size: None)
    assert np.array_equal(drawn("Café"), drawn("Cafe"))


def test_a_font_of_the_system_draws_what_the_built_in_one_lacks():
    if picture_text._font_of_the_world(20.0) is None:
        pytest.skip("this system has none of the fonts")
    assert not np.array_equal(drawn("é"), drawn("e"))
    assert not np.array_equal(drawn("ß"), drawn("ñ"))
