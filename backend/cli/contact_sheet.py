"""report.png: Cycles renders of the original and of the fitted object side by side, their difference, and the maps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from backend.cli.inferno import INFERNO
from backend.cli.picture_text import draw_text, text_width
from backend.cli.report import object_pixels, srgb_from_linear
from render.core.image_io import decode_image

Picture = NDArray[np.uint8]
"""uint8 [H, W, 3], sRGB."""

Color = tuple[int, int, int]

TILE = 288
GAP = 10
LABELS = 150
ERROR_SCALE = 8.0
"""An error of 1/8 of the range from black to white has the brightest color."""

PAGE = (32, 30, 30)
BACKDROP = 0.035
INK = (235, 235, 235)
FAINT = (165, 160, 160)
NOTE = (240, 190, 110)
NOTE_SIZE = 1.2
FONT_SIZE = 15.0
"""Of a text of size 1, in pixels."""


@dataclass(frozen=True)
class Comparison:
    """Views of the original and the fitted object under one light.

    title: the light. originals, fitted: the views, each float [h, w, 4], linear, premultiplied. captions: a line for
    each view.
    """

    title: str
    originals: Sequence[NDArray[np.floating[Any]]]
    fitted: Sequence[NDArray[np.floating[Any]]]
    captions: Sequence[str]


def contact_sheet(
    title: str,
    subtitle: str,
    comparisons: Sequence[Comparison],
    sets: dict[str, dict[str, Picture]],
    notes: Sequence[str] = (),
) -> Picture:
    """The whole picture.

    sets: title (empty: none is drawn) of each set of maps, and title and picture of each of its maps, in order. notes: lines
    below the heading.
    """
    blocks = [_comparison_block(comparison) for comparison in comparisons if comparison.originals]
    width = max(sum(block.shape[1] for block in blocks) + GAP * 3 * max(len(blocks) - 1, 0), 900)
    rows = [_heading(title, subtitle, width)]
    rows += [_text_line(line, width, NOTE, NOTE_SIZE) for note in notes for line in _wrapped(note, width, NOTE_SIZE)]
    if blocks:
        rows.append(_pad(_beside(blocks, GAP * 3), width))
    # The maps of one set can be seen well; of several, each has a row.
    largest = 640 if len(sets) == 1 else TILE
    for name, maps in sets.items():
        if name:
            rows.append(_text_line(name, width, INK, size=1.6))
        rows.append(_pad(_map_row(maps, width, largest), width))
    sheet = np.concatenate([part for row in rows for part in (row, _empty(GAP, width))])
    return _on_page(sheet, above=2 * GAP, below=GAP, left=2 * GAP, right=2 * GAP)


def read_maps(files: dict[str, bytes]) -> dict[str, Picture]:
    """The maps of a result as pictures by title; ``files`` are the result's PNG files. Raises ImageError."""
    pictures = {}
    if "kd.png" in files:
        color = _decode(files["kd.png"])
        pictures["Base color (kd)"] = color[..., :3]
        if color.shape[2] == 4:
            pictures["Alpha"] = np.repeat(color[..., 3:], 3, axis=2)
    if "orm.png" in files:
        orm = _decode(files["orm.png"])
        for channel, name in enumerate(("Openness", "Roughness", "Metallic")):
            pictures[name] = np.repeat(orm[..., channel : channel + 1], 3, axis=2)
    if "normal.png" in files:
        pictures["Normal"] = _decode(files["normal.png"])[..., :3]
    return pictures


def _decode(data: bytes) -> Picture:
    image = decode_image(data)
    return image if image.dtype == np.uint8 else (image / 257.0 + 0.5).astype(np.uint8)


def _comparison_block(comparison: Comparison) -> Picture:
    """Three labelled rows (original, fitted, error) of all views, cut to the part of the picture the object takes."""
    top, left, edge = _common_square(comparison.originals)
    names = ("Cycles, original", "Cycles, fitted", f"Error x {ERROR_SCALE:.0f}")
    columns = []
    for original, fit, caption in zip(comparison.originals, comparison.fitted, comparison.captions, strict=True):
        cut = (slice(top, top + edge), slice(left, left + edge))
        tiles = [_picture(original[cut]), _picture(fit[cut]), _error_picture(original[cut], fit[cut])]
        column = np.concatenate([part for tile in tiles for part in (_resize(tile), _empty(GAP, TILE))])
        columns.append(np.concatenate([column, _text_line(caption, TILE, INK, size=1.3)]))
    labels = [part for name in names for part in (_row_label(name), _empty(GAP, LABELS))]
    labels.append(_empty(columns[0].shape[0] - sum(part.shape[0] for part in labels), LABELS))
    block = _beside([np.concatenate(labels), *columns], GAP)
    legend = _beside([_empty(24, LABELS), _error_scale()], GAP)
    width = max(block.shape[1], legend.shape[1])
    header = _text_line(comparison.title, width, INK, size=1.6)
    return np.concatenate([header, _empty(GAP // 2, width), _pad(block, width), _pad(legend, width)])


def _common_square(images: Sequence[NDArray[np.floating[Any]]]) -> tuple[int, int, int]:
    """Top, left and edge of the smallest square that holds the object in all images, with a little air."""
    seen = np.any([image[..., 3] > 0.0 for image in images], axis=0)
    height, width = seen.shape
    rows, columns = np.flatnonzero(seen.any(axis=1)), np.flatnonzero(seen.any(axis=0))
    if rows.size == 0:
        return 0, 0, min(height, width)
    air = max(2, min(height, width) // 64)
    edge = min(max(rows[-1] - rows[0], columns[-1] - columns[0]) + 1 + 2 * air, height, width)
    top = int(np.clip((rows[0] + rows[-1] + 1 - edge) // 2, 0, height - edge))
    left = int(np.clip((columns[0] + columns[-1] + 1 - edge) // 2, 0, width - edge))
    return top, left, int(edge)


def _picture(image: NDArray[np.floating[Any]]) -> Picture:
    """A render [h, w, 4] over a dark backdrop."""
    color = image[..., :3] + (1.0 - image[..., 3:].clip(0.0, 1.0)) * BACKDROP
    return (srgb_from_linear(color) * 255.0 + 0.5).astype(np.uint8)


def _error_picture(original: NDArray[np.floating[Any]], fit: NDArray[np.floating[Any]]) -> Picture:
    """Mean absolute sRGB error of the object's pixels in colors from black over red to yellow; elsewhere the page."""
    inside = object_pixels([original])
    error = np.abs(srgb_from_linear(fit[..., :3]) - srgb_from_linear(original[..., :3])).mean(axis=2)
    colors: Picture = INFERNO[(np.clip(error * ERROR_SCALE, 0.0, 1.0) * 255.0).astype(np.uint8)]
    colors[~inside] = PAGE
    return colors


def _error_scale() -> Picture:
    """The colors of the error picture with their values, sRGB steps of 255."""
    ramp = np.repeat(np.linspace(0, 255, TILE // 2).astype(np.uint8)[None], 12, axis=0)
    bar = _on_page(INFERNO[ramp], above=6, below=6)
    most = f"{255.0 / ERROR_SCALE:.0f} of 255 sRGB steps"
    return _beside(
        [_text_line("0", 20, FAINT, size=1.2, height=24), bar, _text_line(most, 320, FAINT, size=1.2, height=24)],
        GAP // 2,
    )


def _map_row(maps: dict[str, Picture], width: int, largest: int) -> Picture:
    if not maps:
        return _empty(1, width)
    edge = min((width - GAP * (len(maps) - 1)) // len(maps), largest)
    columns = [
        np.concatenate([_text_line(name, edge, INK, size=1.3), _resize(picture, edge)])
        for name, picture in maps.items()
    ]
    return _beside(columns, GAP)


def _heading(title: str, subtitle: str, width: int) -> Picture:
    first = _text_line(title, width, INK, size=2.6, height=62)
    return np.concatenate([first, _text_line(subtitle, width, FAINT, size=1.4, height=38)])


def _row_label(text: str) -> Picture:
    """The words of a row's name below each other, right of nothing and centred on the row."""
    lines = [_text_line(word, LABELS, INK, size=1.3, height=30) for word in text.replace(", ", ",\n").split("\n")]
    block = np.concatenate(lines)
    above = (TILE - block.shape[0]) // 2
    return np.concatenate([_empty(above, LABELS), block, _empty(TILE - above - block.shape[0], LABELS)])


def _text_line(text: str, width: int, color: Color, size: float = 1.0, height: int = 0) -> Picture:
    """One line of text on the page."""
    line = _empty(height or int(26 * size), width)
    draw_text(line, text, 1, int(line.shape[0] * 0.7), FONT_SIZE * size, color)
    return line


def _wrapped(text: str, width: int, size: float) -> list[str]:
    """The text in lines that fit into the width; a word that is wider stands alone and is cut off."""
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        if lines[-1] and text_width(longer, FONT_SIZE * size) > width:
            lines.append(word)
        else:
            lines[-1] = longer
    return lines


def _resize(image: Picture, edge: int = TILE) -> Picture:
    way = Image.Resampling.BOX if image.shape[0] > edge else Image.Resampling.LANCZOS
    return np.asarray(Image.fromarray(image).resize((edge, edge), way))


def _empty(height: int, width: int) -> Picture:
    return np.full((max(height, 0), width, 3), PAGE, np.uint8)


def _beside(blocks: Sequence[Picture], gap: int) -> Picture:
    height = max(block.shape[0] for block in blocks)
    parts = []
    for block in blocks:
        parts += [_on_page(block, below=height - block.shape[0]), _empty(height, gap)]
    return np.concatenate(parts[:-1], axis=1)


def _pad(block: Picture, width: int) -> Picture:
    return _on_page(block, right=max(width - block.shape[1], 0))


def _on_page(block: Picture, above: int = 0, below: int = 0, left: int = 0, right: int = 0) -> Picture:
    """The block with so many pixels of the empty page around it."""
    height, width = block.shape[:2]
    page = _empty(above + height + below, left + width + right)
    page[above : above + height, left : left + width] = block
    return page
