# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the panels of the tab "PBRfit" are."""

from __future__ import annotations


class SidebarPanel:
    """A panel in the 3D view's sidebar."""

    bl_space_type = "VIEW_3D"
    bl_region_type = "UI"
    bl_category = "PBRfit"
