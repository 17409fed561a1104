"""Text in pictures, by Pillow: names in any script, each letter in the first font that has it."""

from __future__ import annotations

import math
import unicodedata
from functools import lru_cache
from itertools import groupby
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont

# Of Linux, Windows and macOS, those with the most letters first.
_FONTS_OF_THE_SYSTEM = ("NotoSansCJK-Regular.ttc", "msyh.ttc", "Arial Unicode.ttf", "DejaVuSans.ttf", "arial.ttf")
_FIRST = "Inter"
_BOXES = "lastresort"
_NOWHERE = "\U0010fffe"  # not a letter: every font draws what it draws for a letter that it lacks

_fonts: tuple[str, ...] = _FONTS_OF_THE_SYSTEM


def use_fonts(folder: Path) -> None:
    """From now on, take letters that the built-in font lacks from the fonts in a folder, such as Blender's, then others.

    A folder that does not exist is as good as an empty one.
    """
    global _fonts
    found = [path for path in folder.glob("*.*") if path.suffix in {".woff2", ".ttf", ".otf", ".ttc"}]
    found = [path for path in found if path.stem != _BOXES]
    found.sort(key=lambda path: (not path.stem.startswith(_FIRST), "Mono" in path.stem, path.name))
    _fonts = (*map(str, found), *_FONTS_OF_THE_SYSTEM)


def draw_text(
    picture: NDArray[np.uint8], text: str, left: int, baseline: int, size: float, color: tuple[int, int, int]
) -> None:
    """Draw one line of text into a picture uint8 [H, W, 3], over what is there; what does not fit is cut off.

    left, baseline: where the text starts, in pixels. size: of the font, in pixels.
    """
    start = float(left)
    for font, part in _parts(text, size):
        _draw_part(picture, part, round(start), baseline, font, color)
        start += font.getlength(part)


def text_width(text: str, size: float) -> float:
    """How many pixels wide `draw_text` draws a text."""
    return sum(font.getlength(part) for font, part in _parts(text, size))


def _parts(text: str, size: float) -> list[tuple[Font, str]]:
    """The text cut into stretches of one font."""
    fonts = _fonts
    letters = unicodedata.normalize("NFC", " ".join(text.splitlines()))
    chosen: list[tuple[int, str]] = []
    for letter in letters:
        before = chosen[-1][0] if chosen else 0
        if _joins(letter) and _has(fonts, before, letter, size):
            number: int | None = before  # so that words and accents are not cut
        else:
            number = _font_with(fonts, letter, size)
        if number is None:
            # A letter without its accents is better than a box.
            letter = "".join(part for part in unicodedata.normalize("NFKD", letter) if not unicodedata.combining(part))
            number = _font_with(fonts, letter, size) if len(letter) == 1 else 0
        chosen.append((number or 0, letter))
    stretches = groupby(chosen, key=lambda pair: pair[0])
    return [(_font(fonts, number, size) or _built_in(size), "".join(one[1] for one in of)) for number, of in stretches]


def _joins(letter: str) -> bool:
    """Whether a character belongs to the one before it: spaces, accents and marks that join."""
    return letter.isspace() or unicodedata.category(letter) in {"Mn", "Mc", "Me", "Cf"}


@lru_cache(maxsize=4096)
def _font_with(fonts: tuple[str, ...], letter: str, size: float) -> int | None:
    """The number of the first font that has a letter, 0 for the built-in one; None where none has it."""
    return next((number for number in range(len(fonts) + 1) if _has(fonts, number, letter, size)), None)


def _has(fonts: tuple[str, ...], number: int, letter: str, size: float) -> bool:
    if number == 0 and letter.isascii():
        return True
    font = _font(fonts, number, size)
    if font is None:
        return False
    if letter.isspace() or _joins(letter):
        return True
    drawn, missing = bytes(font.getmask(letter)), bytes(font.getmask(_NOWHERE))
    return any(drawn) and drawn != missing


@lru_cache
def _font(fonts: tuple[str, ...], number: int, size: float) -> Font | None:
    """Font ``number`` - 1 of the list, or for 0 the built-in one; None where it cannot be opened."""
    if number == 0:
        return _built_in(size)
    try:
        return ImageFont.truetype(fonts[number - 1], size)
    except OSError:
        return None


@lru_cache
def _built_in(size: float) -> Font:
    return ImageFont.load_default(size)


def _draw_part(
    picture: NDArray[np.uint8], text: str, left: int, baseline: int, font: Font, color: tuple[int, int, int]
) -> None:
    anchor = "ls" if isinstance(font, ImageFont.FreeTypeFont) else None
    x0, y0, x1, y1 = font.getbbox(text, anchor=anchor)
    top, start = max(baseline + math.floor(y0), 0), max(left + math.floor(x0), 0)
    part = picture[top : max(baseline + math.ceil(y1), 0), start : max(left + math.ceil(x1), 0)]
    if not part.size:
        return
    image = Image.fromarray(part)
    ImageDraw.Draw(image).text((left - start, baseline - top), text, fill=color, font=font, anchor=anchor)
    part[...] = np.asarray(image)
