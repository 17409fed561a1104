# SPDX-License-Identifier: GPL-3.0-or-later
"""What F1, and Online Manual in the context menu, open for each setting and button: pages of the manual in the extension.

build_addon.py makes them of docs/, if it can. They are files, so they need no network and are always those of this version.
"""

from __future__ import annotations

import contextlib
import re
from typing import Any

import bpy

from ..common.package import shipped_file
from ..settings.output import PBRFIT_OutputSettings
from ..settings.preferences import PBRFIT_AddonPreferences
from ..settings.preview import PBRFIT_PreviewPasses, PBRFIT_PreviewSettings
from ..settings.properties import PBRFIT_FitSettings
from ..settings.wipe import PBRFIT_WipeSettings

FOLDER = "manual"

GROUPS: dict[Any, str] = {
    PBRFIT_FitSettings: "first-fit#settings",
    PBRFIT_OutputSettings: "export#save-maps",
    PBRFIT_PreviewSettings: "preview#turn-it-on",
    PBRFIT_PreviewPasses: "preview#f12",
    PBRFIT_WipeSettings: "preview#compare-in-place",
    PBRFIT_AddonPreferences: "install#2-the-backend-on-this-machine",
}
"""The page and section about a group of settings. A setting with a row of its own there, named as it is, opens that."""

PROPERTIES = {
    "pbrfit_fitsettings.bake_target": "baking#targets",
    "pbrfit_previewsettings.show": "preview#show",
    "pbrfit_previewsettings.draw_with": "preview#draw-with",
    "pbrfit_previewsettings.viewport_samples": "preview#draw-with",
    "pbrfit_previewsettings.render_samples": "preview#f12",
    "pbrfit_addonpreferences.backend_python": "install#another-python-of-yours",
    "pbrfit_addonpreferences.backend_address": "install#a-backend-on-another-machine",
    "pbrfit_addonpreferences.backend_key": "install#a-backend-on-another-machine",
}
"""Settings that another section is about."""

OPERATORS = {
    "optimize": "first-fit#three-clicks",
    "bake_maps": "baking#bake-maps-what-the-nodes-say",
    "compare": "first-fit#then-show-original",
    "compare_*": "preview#compare-in-place",
    "revert": "first-fit#then-revert",
    "fit_again": "first-fit#then-fit-again",
    "save_maps": "export#save-maps",
    "export_model": "export#export",
    "export_*": "export#pictures-and-films",
    "cancel_export": "export#export",
    "*_layout": "export#a-layout-of-your-own",
    "cancel": "first-fit#while-it-runs",
    "pause": "first-fit#while-it-runs",
    "resume": "first-fit#while-it-runs",
    "apply_now": "first-fit#while-it-runs",
    "dismiss": "first-fit#while-it-runs",
    "*_log": "first-fit#while-it-runs",
    "*preset": "first-fit#settings",
    "pack_islands": "texture-space#an-atlas",
    "unwrap": "texture-space#a-new-uv-map",
    "use_studio_light": "fitting#the-studio-lights",
    "show_unseen": "fitting#what-no-view-sees",
    "show_verdict": "fitting#the-verdict",
    "*preview": "preview#turn-it-on",
    "copy_public_key": "install#a-backend-on-another-machine",
    "*_backend": "install#2-the-backend-on-this-machine",
    "cancel_setup": "install#2-the-backend-on-this-machine",
    "show_setup_log": "install#2-the-backend-on-this-machine",
    "open_preferences": "install#2-the-backend-on-this-machine",
    "*": "first-fit#when-it-looks-wrong",
}
"""The page and section of each operator, or of all whose names are alike. The first that fits counts."""


def file_of(place: str) -> str:
    """The file that leads to a section of a page, relative to the manual."""
    return f"to/{place.replace('#', '-')}.html"


def manual_map() -> tuple[str, tuple[tuple[str, str], ...]]:
    """What Blender asks for: the manual's address, and the page for each pattern of the names of settings and operators.

    A pattern is in lower case; the first that fits counts.
    """
    folder = shipped_file(FOLDER)
    found = {f"bpy.types.{name}": place for name, place in PROPERTIES.items()}
    for group, place in GROUPS.items():
        name = f"bpy.types.{group.__name__.lower()}"
        for item in group.bl_rna.properties:
            row = f"{place.partition('#')[0]}#setting-{re.sub('[^a-z0-9]+', '-', item.name.lower())}"
            if (folder / file_of(row)).is_file():
                found.setdefault(f"{name}.{item.identifier.lower()}", row)
        found[f"{name}*"] = place
    found |= {f"bpy.ops.pbrfit.{name}": place for name, place in OPERATORS.items()}
    return f"{folder.as_uri()}/", tuple((pattern, file_of(place)) for pattern, place in found.items())


def register() -> None:
    """Have Blender ask here first, if this extension was built with the manual."""
    if shipped_file(FOLDER).is_dir():
        bpy.utils.register_manual_map(manual_map)


def unregister() -> None:
    """Have Blender no longer ask."""
    with contextlib.suppress(ValueError):  # It was not registered: there is no manual.
        bpy.utils.unregister_manual_map(manual_map)
