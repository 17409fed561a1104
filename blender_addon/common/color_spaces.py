# SPDX-License-Identifier: GPL-3.0-or-later
"""The color spaces of this Blender by what they are for: a studio's OCIO configuration names them in its own way.

Blender's floats (nodes' colors, float images, renders) are scene linear: Rec.709 by default, ACEScg or Rec.2020 in other
configurations and in files of Blender 5 that say so. All that PBRfit sends and gets is linear Rec.709.

A space is never named after a role alone: Blender takes none of OCIO's role names or aliases.
"""

from __future__ import annotations

import enum
from functools import lru_cache
from typing import Any, TypeVar

import bpy
import numpy as np
from mathutils import Color
from numpy.typing import NDArray

Floats = TypeVar("Floats", bound=np.floating[Any])

# Blender's own matrices are off by up to 1e-5 from what they should be, and by 1e-4 from OCIO's.
SAME = 1e-4
# Names in the configurations of Blender 2.8 to 5.2, ACES 1.0 to 2.0 and OCIO's own, without case, spaces and signs.
LINEAR_REC709 = frozenset(
    {
        "linearrec709",
        "linearrec709srgb",
        "linrec709",
        "linrec709srgb",
        "linrec709scene",
        "linearbt709",
        "linearsrgb",
        "linsrgb",
        "scenelinearrec709srgb",
        "utilitylinearsrgb",
        "utilitylinearrec709",
        "utilitylinearrec709srgb",
    }
)
SRGB = frozenset(
    {
        "srgb",
        "srgbtexture",
        "srgbtx",
        "srgbencodedrec709srgb",
        "srgbrec709scene",
        "texturesrgb",
        "utilitysrgbtexture",
        "inputgenericsrgbtexture",
    }
)


class Meaning(enum.Enum):
    """What an image's stored values are: sRGB, linear Rec.709, or scene linear (so is data where it is seen as a color)."""

    SRGB = "sRGB"
    LINEAR_REC709 = "linear Rec.709"
    SCENE_LINEAR = "scene linear"


# Scene linear and Rec.709 ---------------------------------------------------------------------------------------------


def rec709_from_scene_linear() -> NDArray[np.float64]:
    """The matrix float64 [3, 3] from scene-linear colors (columns) to linear Rec.709; exactly the identity by default."""
    return _matrix("from_scene_linear_to_rec709_linear")


def scene_linear_from_rec709() -> NDArray[np.float64]:
    """The matrix float64 [3, 3] from linear Rec.709 colors (columns) to scene linear; exactly the identity by default."""
    return _matrix("from_rec709_linear_to_scene_linear")


def is_rec709() -> bool:
    """Whether scene linear is linear Rec.709, as by default."""
    return bool(np.array_equal(rec709_from_scene_linear(), np.eye(3)))


def _matrix(method: str) -> NDArray[np.float64]:
    # Not kept: a file of Blender 5 can bring another working space.
    columns = [getattr(Color(axis), method)() for axis in ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0))]
    matrix = np.array(columns, dtype=np.float64).T
    return np.eye(3) if np.abs(matrix - np.eye(3)).max() < SAME else matrix


def to_rec709(colors: NDArray[Floats]) -> NDArray[Floats]:
    """Linear Rec.709 of scene-linear colors [..., 3]; the dtype stays. By default they come back as they are."""
    return multiplied(colors, rec709_from_scene_linear())


def to_scene_linear(colors: NDArray[Floats]) -> NDArray[Floats]:
    """Scene-linear colors of linear Rec.709 [..., 3]; the dtype stays. By default they come back as they are."""
    return multiplied(colors, scene_linear_from_rec709())


def rec709_color(color: Any) -> tuple[float, float, float]:
    """Linear Rec.709 of one scene-linear color, of three floats or more: of a node's socket, a world, a material."""
    red, green, blue = color[:3]
    if not is_rec709():
        red, green, blue = to_rec709(np.array((red, green, blue), dtype=np.float64))
    return float(red), float(green), float(blue)


def multiplied(colors: NDArray[Floats], matrix: NDArray[np.float64]) -> NDArray[Floats]:
    """Colors [..., 3] through a matrix [3, 3]; the dtype stays, and so do the very same colors with the identity."""
    if np.array_equal(matrix, np.eye(3)):
        return colors
    turned: NDArray[Floats] = np.matmul(colors, matrix.T.astype(colors.dtype), dtype=colors.dtype)
    return turned


# Names ----------------------------------------------------------------------------------------------------------------


def data_space() -> str:
    """The color space for images that hold numbers: normals, roughness."""
    return _defaults(_working_space())[0]


def scene_linear_space() -> str:
    """The color space that is scene linear."""
    return _defaults(_working_space())[1]


def srgb_space() -> str | None:
    """The color space of bytes in sRGB; None if the configuration has none under a name that is known."""
    return _known(SRGB, _defaults(_working_space())[2])


def linear_rec709_space() -> str | None:
    """The color space linear Rec.709; None if the configuration has none under a name that is known."""
    return scene_linear_space() if is_rec709() else _known(LINEAR_REC709)


def meaning_of(image: bpy.types.Image) -> Meaning | None:
    """What an image's stored values are; None for any other color space. The pixels of float images are scene linear."""
    settings = image.colorspace_settings
    if settings.is_data or settings.name in {scene_linear_space(), "scene_linear"}:
        return Meaning.SCENE_LINEAR
    if _plain(settings.name) in SRGB:
        return Meaning.SRGB
    if settings.name == linear_rec709_space() or _plain(settings.name) in LINEAR_REC709:
        return Meaning.LINEAR_REC709
    return None


def _working_space() -> str:
    """What can change the names while Blender runs: the working space of the file, from Blender 5.0 on."""
    colorspace = getattr(bpy.data, "colorspace", None)
    return "" if colorspace is None else str(colorspace.working_space)


@lru_cache(maxsize=8)
def _defaults(working_space: str) -> tuple[str, str, str]:
    """The color spaces that new images for data, of floats and of bytes get: Blender offers the roles in no other way."""
    # Not among the file's own images: this is asked while something is drawn too.
    with bpy.data.temp_data() as data:
        images = (
            data.images.new("data", 1, 1, is_data=True),
            data.images.new("float", 1, 1, float_buffer=True),
            data.images.new("byte", 1, 1),
        )
        first, second, third = (str(image.colorspace_settings.name) for image in images)
    return first, second, third


def _known(names: frozenset[str], default: str = "") -> str | None:
    """The default if it is one of these names, else the first color space that is."""
    spaces = bpy.types.ColorManagedInputColorspaceSettings.bl_rna.properties["name"].enum_items
    return next((name for name in (default, *(item.identifier for item in spaces)) if _plain(name) in names), None)


def _plain(name: str) -> str:
    return "".join(letter for letter in name.lower() if letter.isalnum())
