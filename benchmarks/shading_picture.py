"""A sheet of spheres: a row a material, a column a renderer, and beside them what is wrong, made visible."""

from __future__ import annotations

import numpy as np
import torch

from backend.cli.picture_text import draw_text
from render.core.color import linear_to_srgb, psnr

ERROR_GAIN = 5
_MARGIN, _HEADER, _GAP = 118, 44, 6
_BACKGROUND = 40


def picture(rows: list[tuple[str, list[torch.Tensor]]], names: tuple[str, ...], compared: torch.Tensor) -> np.ndarray:
    """uint8 [H, W, 3]. Rows of a name and linear images [P, P, 3], the first the truth; `names` of the columns.

    compared  bool [P, P], the pixels the PSNR under each error is of. Errors are absolute, in sRGB, times `ERROR_GAIN`.
    """
    size = compared.shape[0]
    columns = [*names, *(f"{name.split(',')[0]} error x{ERROR_GAIN}" for name in names[1:])]
    height = _HEADER + len(rows) * (size + _GAP)
    width = _MARGIN + len(columns) * (size + _GAP)
    sheet = np.full((height, width, 3), _BACKGROUND, np.uint8)
    for index, name in enumerate(columns):
        _write(sheet, name, _MARGIN + index * (size + _GAP), 28, 12)
    for number, (name, images) in enumerate(rows):
        top = _HEADER + number * (size + _GAP)
        kind, roughness = name.split()
        _write(sheet, kind, 10, top + size // 2 - 8, 14)
        _write(sheet, f"roughness {roughness}", 10, top + size // 2 + 12, 13)
        shown = [linear_to_srgb(image).clamp(max=1) for image in images]
        errors = [((image - shown[0]).abs() * ERROR_GAIN).clamp(max=1) * compared[..., None] for image in shown[1:]]
        decibels = [psnr(image[compared], images[0][compared]) for image in images[1:]]
        for index, image in enumerate([*shown, *errors]):
            left = _MARGIN + index * (size + _GAP)
            sheet[top : top + size, left : left + size] = (image * 255).round().byte().numpy()
            if index >= len(shown):
                _write(sheet, f"{decibels[index - len(shown)]:.1f} dB", left + 2, top + size - 4, 12)
    return sheet


def _write(sheet: np.ndarray, text: str, x: int, y: int, size: float) -> None:
    draw_text(sheet, text, x, y, size, (235, 235, 235))
