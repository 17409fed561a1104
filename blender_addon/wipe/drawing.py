# SPDX-License-Identifier: GPL-3.0-or-later
"""Draw a comparison over its 3D view: two pictures, what they are, and the divider between them."""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeAlias

import blf
import bpy
import gpu
import numpy as np
from gpu_extras.batch import batch_for_shader
from gpu_extras.presets import draw_texture_2d
from numpy.typing import NDArray

from ..common.axes import TOP_ROW_FIRST, renderer_view
from ..common.errors import PbrFitError
from ..common.text_width import interface_scale, lines_within
from ..preview.engine.hub import hub
from ..preview.engine.references import fitted
from ..preview.gl.display import GlDisplay, Place, Table
from ..preview.gl.image import GlImage
from ..preview.gl.targets import texture_of_frame
from ..session.fit_queue import RenderedReference
from ..settings.wipe import BAKE, ERROR, NEW, ORIGINAL, label_of
from ..translations.translate import tr
from .comparison import Comparison
from .pictures import Picture, Sight
from .reference_views import MEASURED_SIZE, error_between, sight_of, smaller
from .view_before import clear_of_sides

Texture: TypeAlias = gpu.types.GPUTexture
BACKGROUND = (0.11, 0.11, 0.11)
TEXT_SIZE, MARGIN = 13.0, 18.0
LINE_HEIGHT = 1.4  # of its text
GRIP = (3.0, 22.0)  # half its width and height
NEEDS = {ORIGINAL: (ORIGINAL,), NEW: (NEW,), BAKE: (ORIGINAL,), ERROR: (NEW, ORIGINAL)}


class ComparisonDrawing:
    """What a comparison keeps on the GPU. Use it while its view is drawn.

    said: what each side shows, and what else there is to say; preparing: what is not there yet, or empty. As they were drawn
    last, in the artist's language.
    """

    def __init__(self) -> None:
        self.said: tuple[str, str, str] = ("", "", "")
        self.preparing = ""
        self.sight: Sight | None = None
        self._pictures = {ORIGINAL: Picture(), NEW: Picture()}
        self._display: tuple[Table, GlDisplay] | None = None
        self._sides: list[tuple[Hashable, GlImage] | None] = [None, None]
        self._has_drawn = False
        self._reference_texture: tuple[Path, Texture] | None = None
        self._rendered: tuple[NDArray[np.float32], Texture] | None = None

    def draw(self, comparison: Comparison, context: bpy.types.Context) -> None:
        """Draw the comparison over the region; only a part of its pictures in one call."""
        region, data = context.region, context.region_data
        size = (region.width, region.height)
        view = renderer_view(np.array(data.view_matrix))
        self.sight = Sight(view, TOP_ROW_FIRST @ np.array(data.window_matrix, np.float64), size)
        framebuffer = gpu.state.active_framebuffer_get()
        settings = context.window_manager.pbrfit_wipe
        choices = (settings.left, settings.right)
        if not comparison.scenes or comparison.table is None:
            self._show(comparison, context, framebuffer, choices, [None, None])
            return
        reference = self._reference(comparison)
        place, sight = (0, 0, *size), self.sight
        if reference is not None and self._reference_texture is not None:
            image = self._reference_texture[1]
            window = fitted((image.width, image.height), size)
            place, sight = (window.x, window.y, window.width, window.height), sight_of(reference.view, image.width)
        self._measure(comparison)
        self._draw_pictures(comparison, sight, choices)
        shown = [
            self._side(comparison, number, choice, place, size, settings.gain) for number, choice in enumerate(choices)
        ]
        self._show(comparison, context, framebuffer, choices, shown)

    def _show(
        self,
        comparison: Comparison,
        context: bpy.types.Context,
        framebuffer: gpu.types.GPUFrameBuffer,
        choices: tuple[str, str],
        shown: list[GlImage | None],
    ) -> None:
        """Draw both sides as far as they are there, and what there is to say."""
        region = context.region
        left, right = (tr(self._label(comparison, choice)) for choice in choices)
        self.said = (left, right, "\n".join(tr(part) for part in self._status(comparison)))
        self.preparing = tr(preparing_text(comparison, choices, shown))
        with framebuffer.bind():
            draw_sides(shown, comparison.divider, (region.width, region.height))
            clear, scale = clear_of_sides(context.area, region), interface_scale(context)
            draw_labels(self.said, clear, region.height, scale)
            draw_middle(self.preparing, clear, region.height, scale)

    # What there is to show --------------------------------------------------------------------------------------

    def _reference(self, comparison: Comparison) -> RenderedReference | None:
        """The reference that is shown; none any more if the artist has turned the view, or its file is gone."""
        steps, sight = comparison.steps, self.sight
        if steps.shown is None or sight is None:
            return None
        view = (sight.view.tobytes(), sight.size)
        steps.placed = steps.placed or view
        if steps.placed[0] != view[0]:
            comparison.view_left()
            return None
        steps.resized = steps.placed[1] != view[1]
        if self._reference_texture is None or self._reference_texture[0] != steps.shown.path:
            try:
                self._reference_texture = (steps.shown.path, texture_of_frame(steps.shown.image()))
            except PbrFitError as error:
                comparison.error = error.cause.splitlines()[0]
                comparison.view_left()
        return steps.shown

    def _measure(self, comparison: Comparison) -> None:
        """Measure the error in one reference, if that is wanted; no more of them if that is not possible."""
        number = comparison.steps.unmeasured
        if number is None:
            return
        if comparison.lacks_light:
            if not comparison.awaits_light:
                comparison.stop_measuring("Errors cannot be measured without the light of the references")
            return
        reference = comparison.steps.references[number]
        try:
            image = smaller(reference.image(), MEASURED_SIZE)
        except PbrFitError as error:  # the fit was dismissed meanwhile, and its references with it
            comparison.stop_measuring(error.cause.splitlines()[0])
            return
        sight, drawing = sight_of(reference.view, len(image)), hub().drawing
        drawn = drawing.draw(comparison.scenes[NEW], comparison.light, sight.view, sight.projection, sight.size, spp=2)
        comparison.steps.errors[number] = error_between(drawing.read(drawn), image)

    def _draw_pictures(self, comparison: Comparison, sight: Sight, choices: tuple[str, str]) -> None:
        """Draw the next part of the picture that is least far."""
        wanted = {name for choice in choices for name in NEEDS[choice]}
        pictures = [self._pictures[name] for name in sorted(wanted)]
        for name in wanted:
            self._pictures[name].aim(comparison.scenes[name], comparison.light, sight)
        unfinished = [picture for picture in pictures if picture.more]
        # No redraw compiles two shaders: that of the display has one to itself, once there is something to show.
        self._has_drawn = bool(unfinished) and (self._display is not None or not all(one.texture for one in pictures))
        if self._has_drawn:
            min(unfinished, key=lambda picture: picture.progress).draw_more()
        comparison.more = any(picture.more for picture in pictures)

    def _original(self, comparison: Comparison) -> Texture | None:
        """The original's best picture: the reference, Cycles' render of this view, or its baked maps."""
        if comparison.steps.shown is not None and self._reference_texture is not None:
            return self._reference_texture[1]
        image = comparison.render.image if comparison.render is not None else None
        if self._is_rendered(comparison) and image is not None:
            if self._rendered is None or self._rendered[0] is not image:
                self._rendered = (image, texture_of_frame(image))
            return self._rendered[1]
        return self._pictures[ORIGINAL].texture

    def _is_rendered(self, comparison: Comparison) -> bool:
        render = comparison.render
        here = self.sight is not None and comparison.rendered_from == self.sight.key
        return here and render is not None and render.image is not None

    def _side(
        self, comparison: Comparison, number: int, choice: str, place: Place, size: tuple[int, int], gain: float
    ) -> GlImage | None:
        """One side as the display shows it; None while there is nothing."""
        second: Texture | None = None
        if choice == ORIGINAL:
            first = self._original(comparison)
        elif choice == BAKE:
            first = self._pictures[ORIGINAL].texture
        else:
            first = self._pictures[NEW].texture
        if choice == ERROR:
            second = self._original(comparison)
        if first is None or (choice == ERROR and second is None) or comparison.table is None:
            return None
        key = (choice, first, second, gain, place, size, id(comparison.table))
        kept = self._sides[number]
        if kept is None or kept[0] != key:
            image = kept[1] if kept is not None and (kept[1].width, kept[1].height) == size else None
            image = image or GlImage(*size, "RGBA16F")
            if self._display is None and self._has_drawn:
                comparison.more = True
                return None
            if self._display is None or self._display[0] is not comparison.table:
                self._display = (comparison.table, GlDisplay(comparison.table))
            self._display[1].show(image, place, BACKGROUND, first, second, gain, over_view=True)
            kept = self._sides[number] = (key, image)
        return kept[1]

    # What it says -----------------------------------------------------------------------------------------------

    def _label(self, comparison: Comparison, choice: str) -> str:
        """What a side shows, in words."""
        if choice != ORIGINAL:
            return label_of(choice, comparison.of_bake)
        if comparison.steps.shown is not None:
            return "Original: reference by Cycles"
        return "Original by Cycles" if self._is_rendered(comparison) else "Original: its baked maps"

    def _status(self, comparison: Comparison) -> list[str]:
        """What else there is to say."""
        said, steps, render = [], comparison.steps, comparison.render
        if steps.number is not None:
            said.append(f"Reference {steps.number + 1} of {len(steps.references)}")
            if steps.number in steps.errors:
                said.append(f"error {100.0 * steps.errors[steps.number]:.1f}%")
        if steps.to_worst:
            said.append(f"Measuring: {len(steps.errors)} of {len(steps.references)}")
        if render is not None and not render.done and comparison.rendered_from is not None:
            said.append("Cycles is rendering the original")
        if not comparison.scenes:
            return said
        if lack := comparison.lack_of_light:
            said.append(" ".join(["In an even light for now.", *lack]))
        notes = comparison.scenes[ORIGINAL].notes
        said += [note for note in notes if "baked for the preview" in note][:1]
        return [*said, comparison.error] if comparison.error else said


def draw_sides(shown: list[GlImage | None], divider: float, size: tuple[int, int]) -> None:
    """Draw what is left and right of the divider, and the divider."""
    width, height = size
    middle = round(divider * width)
    gpu.state.blend_set("NONE")
    gpu.state.scissor_test_set(True)
    for image, left, right in zip(shown, (0, middle), (middle, width), strict=True):
        if right > left:
            gpu.state.scissor_set(left, 0, right - left, height)
            if image is not None:
                draw_texture_2d(image.texture_color, (0, 0), width, height)
            else:
                draw_box((left, 0, right, height), (*BACKGROUND, 1.0))
    gpu.state.scissor_test_set(False)
    across, up = GRIP
    draw_box((middle - 1, 0, middle + 1, height), (1.0, 1.0, 1.0, 1.0))
    draw_box((middle - across, height / 2 - up, middle + across, height / 2 + up), (1.0, 1.0, 1.0, 1.0))


def draw_box(corners: tuple[float, float, float, float], color: tuple[float, float, float, float]) -> None:
    """Fill a box: left, bottom, right, top."""
    left, bottom, right, top = corners
    shader = gpu.shader.from_builtin("UNIFORM_COLOR")
    points = ((left, bottom), (right, bottom), (right, top), (left, top))
    batch = batch_for_shader(shader, "TRIS", {"pos": points}, indices=((0, 1, 2), (0, 2, 3)))
    shader.bind()
    shader.uniform_float("color", color)
    batch.draw(shader)


def preparing_text(comparison: Comparison, choices: tuple[str, str], shown: list[GlImage | None]) -> str:
    """Which sides have no picture yet, in words; empty once both have one."""
    lacking = [choice for choice, image in zip(choices, shown, strict=True) if image is None]
    first, *others = [label_of(choice, comparison.of_bake) for choice in dict.fromkeys(lacking)] or [""]
    if not first:
        return ""
    return f"Preparing {first} and {others[0]}..." if others else f"Preparing {first}..."


def draw_labels(said: tuple[str, str, str], clear: tuple[int, int], height: int, scale: float) -> None:
    """Draw what the left and the right side show, above, and what else there is to say, below, in as many lines as it takes;
    between the edges `clear`."""
    left, right, status = said
    margin = MARGIN * scale
    top = height - 3.5 * margin  # below the header
    with label_font(scale):
        lines = lines_within(status, clear[1] - clear[0] - 2.0 * margin, width_of)
        draw_label(left, clear[0] + margin, top)
        draw_label(right, clear[1] - margin - width_of(right), top)
        for number, line in enumerate(reversed(lines)):
            draw_label(line, clear[0] + margin, margin + number * LINE_HEIGHT * TEXT_SIZE * scale)


def draw_middle(text: str, clear: tuple[int, int], height: int, scale: float) -> None:
    """Draw a text in the middle between the edges `clear`, on a ground that hides the divider."""
    if not text:
        return
    with label_font(scale):
        width, margin = width_of(text), 0.5 * MARGIN * scale
        x, y = (clear[0] + clear[1] - width) / 2.0, 0.7 * height
        draw_box((x - margin, y - margin, x + width + margin, y + TEXT_SIZE * scale + margin), (*BACKGROUND, 1.0))
        draw_label(text, x, y)


@contextmanager
def label_font(scale: float) -> Iterator[None]:
    """Draw and measure in the size of labels, white with a shadow."""
    blf.size(0, TEXT_SIZE * scale)
    blf.enable(0, blf.SHADOW)
    blf.shadow(0, 5, 0.0, 0.0, 0.0, 0.8)
    blf.color(0, 1.0, 1.0, 1.0, 1.0)
    yield
    blf.disable(0, blf.SHADOW)


def width_of(text: str) -> float:
    """The width of a label in pixels, within `label_font`."""
    return float(blf.dimensions(0, text)[0])


def draw_label(text: str, x: float, y: float) -> None:
    """Draw a label at a place, within `label_font`."""
    blf.position(0, x, y, 0.0)
    blf.draw(0, text)
