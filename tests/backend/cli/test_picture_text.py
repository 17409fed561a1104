"""Text in pictures: it stands where it should, and names of the world are legible."""

from __future__ import annotations

import importlib.util
import unicodedata
from pathlib import Path

import numpy as np
import pytest

from backend.cli import picture_text
from backend.cli.picture_text import draw_text, use_fonts

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
    monkeypatch.setattr(picture_text, "_fonts", ())
    assert np.array_equal(drawn("Café"), drawn("Cafe"))


def test_a_folder_of_fonts_that_is_not_there_does_no_harm(monkeypatch, tmp_path):
    monkeypatch.setattr(picture_text, "_fonts", ())
    use_fonts(tmp_path / "nothing")
    assert drawn("HH").any()


@pytest.fixture
def fonts_of_blender(monkeypatch) -> Path:
    """The fonts that Blender ships, in use for the test."""
    spec = importlib.util.find_spec("bpy")
    if spec is None:
        pytest.skip("the Blender module bpy is not installed")
    (folder,) = Path(spec.origin).parent.glob("*/datafiles/fonts")
    monkeypatch.setattr(picture_text, "_fonts", ())
    use_fonts(folder)
    return folder


@pytest.mark.parametrize(
    "name",
    ["Schlüsselgröße", "Καρέκλα", "Стул Ёж", "椅子オブジェクト", "椅子对象", "كرسي", "כיסא", "कुर्सी", "เก้าอี้", "Chair 2"],
)
def test_every_letter_of_a_name_has_a_glyph(fonts_of_blender, name):
    """Boxes and question marks would be the same for all letters; so each must look different."""
    letters = [letter for letter in dict.fromkeys(name) if unicodedata.category(letter)[0] == "L"]
    pictures = [drawn(letter).tobytes() for letter in letters]
    assert len(set(pictures)) == len(letters)
    missing = {drawn(letter).tobytes() for letter in ("\U0010fffe", "?", "")}
    assert not missing & set(pictures)
    assert drawn(name).sum() > drawn(letters[0]).sum()


def test_the_width_is_that_of_what_is_drawn(fonts_of_blender):
    wide = np.zeros((60, 900, 3), np.uint8)
    text = "Schlüssel 椅子 Стул"
    draw_text(wide, text, 0, 40, 20.0, WHITE)
    last = np.flatnonzero(wide.max(axis=(0, 2)) > 100)[-1]
    assert last == pytest.approx(picture_text.text_width(text, 20.0), abs=4)
