# SPDX-License-Identifier: GPL-3.0-or-later
"""How Save Maps writes the maps, kept with the scene; and the artist's own layouts, which are files beside Blender's presets."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

import bpy
from bpy.props import BoolProperty, EnumProperty, IntProperty, IntVectorProperty, PointerProperty, StringProperty

from ..common.errors import PbrFitError
from ..protocol.map_layouts import LARGEST_FILE, LAYOUTS, Layout, LayoutError, OutputOptions, load_layout, with_options

AS_THEY_ARE = "AS_THEY_ARE"
OWN_FOLDER = "pbrfit_layouts"
"""Among the presets of Blender's user files."""
BY_LAYOUT = "LAYOUT"
# Older versions do not know the option, and allow // everywhere.
RELATIVE_PATHS: dict[str, Any] = {"options": {"PATH_SUPPORTS_BLEND_RELATIVE"}} if bpy.app.version >= (4, 5, 0) else {}

_shown_layouts: list[tuple[str, str, str, int]] = []  # Blender does not keep the texts of items that change


def own_folder() -> Path:
    """Where the artist's own layouts are."""
    return Path(bpy.utils.user_resource("SCRIPTS", path=f"presets/{OWN_FOLDER}"))


def own_layouts() -> dict[str, Path]:
    """The files of the artist's own layouts by name."""
    folder = own_folder()
    files = [path for suffix in ("*.toml", "*.json") for path in folder.glob(suffix)] if folder.is_dir() else []
    return {path.stem: path for path in sorted(files) if path.stem not in (*LAYOUTS, AS_THEY_ARE) and path.is_file()}


def layout_items(
    settings: PBRFIT_OutputSettings, _context: bpy.types.Context | None
) -> list[tuple[str, str, str, int]]:
    """The layouts that there are, and the one that is chosen."""
    items = [
        (AS_THEY_ARE, "As They Are", "The images of the materials, byte for byte: base color, ORM, normal and the rest")
    ]
    items += [(layout.key, layout.title, layout.about) for layout in LAYOUTS.values()]
    items += [(name, name, f"Your own layout: {path}") for name, path in own_layouts().items()]
    if settings.layout not in {item[0] for item in items}:
        items.append((settings.layout, settings.layout, "A layout that is not there: its file is missing"))
    _shown_layouts[:] = [(*item, number) for number, item in enumerate(items)]
    return _shown_layouts


def shown_layout(settings: PBRFIT_OutputSettings) -> int:
    """The number of the chosen layout among the items."""
    return next(item[3] for item in layout_items(settings, None) if item[0] == settings.layout)


def choose_layout(settings: PBRFIT_OutputSettings, number: int) -> None:
    """Choose the layout with this number among the items."""
    settings.layout = layout_items(settings, None)[number][0]


class PBRFIT_OutputSettings(bpy.types.PropertyGroup):
    """How Save Maps writes the maps in this scene."""

    layout: StringProperty(name="Layout", description="The name of the layout", default=AS_THEY_ARE)
    layout_choice: EnumProperty(
        name="Layout",
        description="Which program the maps are for: its files, channels, normals and names",
        items=layout_items,
        get=shown_layout,
        set=choose_layout,
    )
    folder: StringProperty(
        name="Folder",
        description="Where Save Maps saves. Empty: it asks each time. // is the folder of the .blend file",
        subtype="DIR_PATH",
        **RELATIVE_PATHS,
    )
    pattern: StringProperty(
        name="Names",
        description="Names of the files: {object}, {material}, {map}, {tile} and {resolution} stand for these. Empty: as the "
        "layout says",
    )
    format: EnumProperty(
        name="Format",
        description="Type of the files",
        items=[
            (BY_LAYOUT, "As Layout Says", "PNG in PBRfit's own layouts"),
            ("png", "PNG", "Without loss, 8 or 16 bits"),
            ("jpeg", "JPEG", "Small, with loss, without alpha"),
            ("webp", "WebP", "Small, with loss; a quality of 100 is without"),
            ("exr", "OpenEXR", "Floats; colors are linear"),
            ("tiff", "TIFF", "Without loss, 8 or 16 bits"),
        ],
        default=BY_LAYOUT,
    )
    bits: EnumProperty(
        name="Color Depth",
        description="Bits of each channel",
        items=[
            ("0", "As Layout Says", "As the layout says, or the usual ones of the format"),
            ("8", "8", "Whole numbers: PNG, JPEG, WebP, TIFF"),
            ("16", "16", "Whole numbers in PNG and TIFF, half floats in OpenEXR"),
            ("32", "32", "Floats: OpenEXR"),
        ],
        default="0",
    )
    size: IntVectorProperty(
        name="Size",
        description="Width and height of the files in pixels, such as 2048 and 1024. 0: as the maps are",
        size=2,
        default=(0, 0),
        min=0,
        max=LARGEST_FILE,
    )
    quality: IntProperty(
        name="File Quality", description="Of JPEG and WebP", default=90, min=1, max=100, subtype="PERCENTAGE"
    )
    dither: BoolProperty(
        name="Dither",
        description="Round what is finer than 8 bits, such as normals, with noise instead of steps",
        default=False,
    )


def output_options(settings: PBRFIT_OutputSettings) -> OutputOptions:
    """The settings as the writer takes them."""
    return OutputOptions(
        settings.pattern.strip(),
        "" if settings.format == BY_LAYOUT else settings.format,
        int(settings.bits),
        settings.quality,
        settings.dither,
        tuple(settings.size),
    )


def output_layout(settings: PBRFIT_OutputSettings) -> Layout | None:
    """The chosen layout with the chosen options, or None for the images as they are. Raises PbrFitError if it cannot be used."""
    if settings.layout == AS_THEY_ARE:
        return None
    try:
        found = LAYOUTS.get(settings.layout)
        if found is None:
            path = own_layouts().get(settings.layout)
            if path is None:
                raise LayoutError(f'There is no layout "{settings.layout}".', "Choose another in the panel Output.")
            found = _loaded(path, path.stat().st_mtime_ns)
        return with_options(found, output_options(settings))
    except LayoutError as error:
        raise PbrFitError(error.cause, error.cure) from error


@lru_cache(maxsize=16)
def _loaded(path: Path, _written: int) -> Layout:
    """The layout in a file. _written: when, in nanoseconds: panels ask at every redraw."""
    return load_layout(path)


def has_quality(layout: Layout) -> bool:
    """Whether a format of a layout loses something, as much as the quality says."""
    return any(item.format in ("jpeg", "webp") for item in layout.files)


def register() -> None:
    """Register the settings and add them to the scene."""
    bpy.utils.register_class(PBRFIT_OutputSettings)
    bpy.types.Scene.pbrfit_output = PointerProperty(type=PBRFIT_OutputSettings, name="PBRfit Output")


def unregister() -> None:
    """Remove the settings from the scene."""
    del bpy.types.Scene.pbrfit_output
    bpy.utils.unregister_class(PBRFIT_OutputSettings)
