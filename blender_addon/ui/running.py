# SPDX-License-Identifier: GPL-3.0-or-later
"""While a fit or a bake runs: how far it is, its buttons, and the maps as they grow."""

from __future__ import annotations

import bpy

from ..common.paragraphs import draw_text
from ..session import session
from ..session.result_verdict import GOOD_DB
from ..session.session import SessionStatus
from ..translations.translate import tr
from . import thumbnails
from .operators_unseen import draw_unseen

BAR_HEIGHT = 2.0  # of the large button, in whose place the bar is
MOST_THUMBNAIL_SETS = 4
MAP_LABELS = {"kd": "Base Color", "orm": "ORM", "normal": "Normal"}


def duration(seconds: float) -> str:
    """Seconds as people say them: "45 s" or "3:05 min"."""
    whole = max(0, round(seconds))
    return f"{whole} s" if whole < 60 else f"{whole // 60}:{whole % 60:02d} min"


def progress_text(status: SessionStatus) -> str:
    """The part done and the time left, as far as they are known."""
    parts = [f"{status.fraction:.0%}"]
    if status.paused:
        parts.append(tr("paused"))
    elif status.time_left is not None:
        parts.append(tr(f"{duration(status.time_left)} left") if status.time_left >= 1 else tr("finishing"))
    return ", ".join(parts)


def draw_running(context: bpy.types.Context, layout: bpy.types.UILayout, current: session.AnySession) -> None:
    """The progress in the place of the large button, the other buttons, and the live maps."""
    status = current.status
    bar = layout.column()
    bar.scale_y = BAR_HEIGHT
    bar.progress(factor=status.fraction, type="BAR", text=progress_text(status))
    if not current.plans:  # the export runs, and nothing can interrupt it
        draw_text(context, layout, status.message)
        return
    column = layout.column(align=True)
    row = column.row(align=True)
    if isinstance(current, session.OptimizeSession):
        paused = status.paused
        row.operator("pbrfit.pause", text="Resume" if paused else "Pause", icon="PLAY" if paused else "PAUSE")
        column.operator("pbrfit.apply_now", icon="CHECKMARK")
    row.operator("pbrfit.cancel", icon="X")
    draw_unseen(context, column)
    if status.fits > 1:
        name = current.plans[status.fit - 1].objects[0].name
        layout.label(text=tr(f"{tr(current.noun).capitalize()} {status.fit} of {status.fits}: {name}"))
    draw_text(context, layout, status.message)
    if len(status.curve) > 1:
        row = layout.row()
        key = (status.fit, len(status.curve), status.curve[-1])
        row.template_icon(thumbnails.icon("curve", key, thumbnails.curve_picture(status.curve)), scale=5.0)
        column = row.column(align=True)
        column.label(text=tr(f"How near it is ({GOOD_DB:.0f} dB is good):"))
        column.label(text=tr(f"{status.curve[0][1]:.1f} dB at first"))
        column.label(text=tr(f"{status.psnr_db:.1f} dB now") if status.psnr_db is not None else "")
    draw_thumbnails(layout, current)


def draw_thumbnails(layout: bpy.types.UILayout, current: session.AnySession) -> None:
    """The live maps of the first sets of the running fit."""
    sets = current.plans[current.status.fit - 1].sets
    for number in sorted({number for number, _ in current.maps.images})[:MOST_THUMBNAIL_SETS]:
        if len(sets) > 1:
            tile = tr(f", tile {sets[number].tile}") if sets[number].tile else ""
            layout.label(text=f"{sets[number].name}{tile}", icon="MATERIAL", translate=False)
        row = layout.row(align=True)
        for name, label in MAP_LABELS.items():
            pixels = current.maps.images.get((number, name))
            if pixels is not None:
                column = row.column(align=True)
                version = (current.status.fit, current.maps.version)
                column.template_icon(thumbnails.icon(f"{number} {name}", version, pixels), scale=4.0)
                column.label(text=label)
