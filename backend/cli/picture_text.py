"""Text in pictures, by Pillow and its built-in font."""

from __future__ import annotations

import math
import unicodedata
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

# The built-in font has English letters alone. Fonts of Linux, Windows and macOS for the others, those with the most first.
_FONTS_OF_THE_WORLD = ("NotoSansCJK-Regular.ttc", "msyh.ttc", "Arial Unicode.ttf", "DejaVuSans.ttf", "arial.ttf")


def draw_text(
    picture: NDArray[np.uint8], text: str, left: int, baseline: int, size: float, color: tuple[int, int, int]
) -> None:
    """Draw one line of text into a picture uint8 [H, W, 3], over what is there; what does not fit is cut off.

    left, baseline: where the text starts, in pixels. size: of the font, in pixels.
    """
    text = " ".join(text.splitlines())
    if not text.isascii() and _font_of_the_world(size) is None:
        # Letters without their accents are better than the built-in font's boxes.
        text = "".join(letter for letter in unicodedata.normalize("NFKD", text) if not unicodedata.combining(letter))
    font = ImageFont.load_default(size)
    if not text.isascii():
        font = _font_of_the_world(size) or font
    x0, y0, x1, y1 = font.getbbox(text, anchor="ls")
    top, start = max(baseline + math.floor(y0), 0), max(left + math.floor(x0), 0)
    part = picture[top : max(baseline + math.ceil(y1), 0), start : max(left + math.ceil(x1), 0)]
    if not part.size:
        return
    image = Image.fromarray(part)
    ImageDraw.Draw(image).text((left - start, baseline - top), text, fill=color, font=font, anchor="ls")
    part[...] = np.asarray(image)


@lru_cache
def _font_of_the_world(size: float) -> ImageFont.FreeTypeFont | None:
    """A font of the system with more than English letters; None where there is none of those known."""
    for name in _FONTS_OF_THE_WORLD:
        try:
            return ImageFont.truetype(name, size)
        except OSError:
            continue
    return None
