"""Draw a panel without a window: everything that it draws is written down, in its order."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import bpy


@dataclass
class Drawn:
    """What was drawn. lines: all texts; operators, properties, menus: their names; order: all of it, as (kind, name)."""

    order: list[tuple[str, str]] = field(default_factory=list)
    open_lines: bool = False

    @property
    def lines(self) -> list[str]:
        return [text for kind, text in self.order if kind == "text" and text]

    def names(self, kind: str) -> list[str]:
        return [name for found, name in self.order if found == kind]


class Layout:
    """Stands for Blender's layout, which only a window has: its parts are itself."""

    def __init__(self, drawn: Drawn) -> None:
        self._drawn = drawn

    def _part(self, *_arguments: Any, **_values: Any) -> Layout:
        return Layout(self._drawn)

    row = column = box = split = _part

    def label(self, text: str = "", **_values: Any) -> None:
        self._drawn.order.append(("text", text))

    def progress(self, text: str = "", **_values: Any) -> None:
        self._drawn.order += [("progress", text), ("text", text)]

    def operator(self, name: str, text: str = "", **_values: Any) -> SimpleNamespace:
        self._drawn.order += [("operator", name), ("text", text)]
        return SimpleNamespace()

    def prop(self, owner: Any, name: str, **_values: Any) -> None:
        label = owner.bl_rna.properties[name].name
        self._drawn.order += [("property", name), ("text", label)]

    def menu(self, name: str, text: str = "", **_values: Any) -> None:
        self._drawn.order += [("menu", name), ("text", text)]

    def template_icon(self, **_values: Any) -> None:
        self._drawn.order.append(("picture", ""))

    def panel(self, name: str, default_closed: bool = False) -> tuple[Layout, Layout | None]:
        """As in a new file: open unless it is closed by default, or the test opens all."""
        self._drawn.order.append(("opens", name))
        return Layout(self._drawn), None if default_closed and not self._drawn.open_lines else Layout(self._drawn)


class Preferences:
    """Blender's preferences, with the scale that a window has."""

    def __init__(self) -> None:
        self.system = SimpleNamespace(ui_scale=1.0)

    def __getattr__(self, name: str) -> Any:
        return getattr(bpy.context.preferences, name)


class Context:
    """Blender's context, as in the sidebar of a 3D view."""

    def __init__(self, shading: str = "MATERIAL") -> None:
        self.region = SimpleNamespace(width=300, type="UI")
        self.preferences = Preferences()
        self.space_data = SimpleNamespace(type="VIEW_3D", shading=SimpleNamespace(type=shading))

    def __getattr__(self, name: str) -> Any:
        return getattr(bpy.context, name)


def draw(panel: type, open_lines: bool = False, **context: str) -> Drawn:
    """What a panel draws now."""
    bpy.context.view_layer.update()
    drawn = Drawn(open_lines=open_lines)
    shown = SimpleNamespace(layout=Layout(drawn))
    for name in ("draw_settings",):
        if hasattr(panel, name):
            setattr(shown, name, getattr(panel, name).__get__(shown))
    panel.draw(shown, Context(**context))
    return drawn
