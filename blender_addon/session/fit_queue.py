# SPDX-License-Identifier: GPL-3.0-or-later
"""The fits of one click. Each handles one group of objects; they run one after the other."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..common.errors import PbrFitError
from ..common.material_recipe import MaterialRecipe
from ..protocol.settings import FitSettings
from ..references.process import MeshExported
from ..references.studio_lights import LIGHTS
from ..references.views import View, plan_views, views_for_blender
from .candidates import Candidates
from .group_queue import GroupQueue, GroupWork

OTHER_SHAPE = 0.02  # of the radius: what center and radius of the same shape never differ by
BRIGHTEST = 1e8  # radiance; the sun in an HDRI reaches 1e6, an infinite pixel 1e12 and more after filtering


@dataclass(frozen=True)
class RenderedReference:
    """A rendered reference of a group: its camera, and the file that holds its pixels."""

    view: View
    path: Path

    def image(self) -> NDArray[np.float32]:
        """Its pixels, float32 [h, w, 4], premultiplied, linear, row 0 at the top.

        Raises PbrFitError if the file cannot be read.
        """
        try:
            pixels: NDArray[np.float32] = np.load(self.path)
        except (OSError, ValueError) as error:
            cause = f"PBRfit cannot read the rendered view {self.path} again: {error}."
            raise PbrFitError(cause, "Start the fit again, with room in the temporary directory.") from error
        return pixels


@dataclass
class GroupFit(GroupWork):
    """What the fit of one group needs until it is over, so that each part can be done again if a process dies.

    settings: of the fit; render_plan: for the second Blender, from the beginning; folder: of the rendered views; arrays:
    of the mesh, the environment and the start, as soon as they are known; rendered: indices of the views that are
    there, and rendered_baked of those with the baked materials.
    candidates: the maps that there are; bake_plan: of the bake that the fit begins with; None: it begins with nothing;
    exact: what is to be said where the bake is all that is needed, else empty; near_enough: whether it proved so near that
    nothing is fitted; unseen_light: the HDRI for the comparison; other_shape: whether renders show another shape or place
    than the viewport.
    """

    settings: FitSettings
    render_plan: dict[str, Any]
    candidates: Candidates
    bake_plan: dict[str, Any] | None = None
    exact: str = ""
    unseen_light: str = ""
    center: NDArray[np.float64] = field(default_factory=lambda: np.zeros(3))
    radius: float = 1.0
    other_shape: bool = False
    near_enough: bool = False
    arrays: dict[str, NDArray[Any]] = field(default_factory=dict)
    rendered: set[int] = field(default_factory=set)
    rendered_baked: set[int] = field(default_factory=set)

    @property
    def has_maps(self) -> bool:
        """Whether there are maps to assign: the backend's, or those of a bake that needs no fit."""
        return bool(self.candidates.fitted) or (self.candidates.baked is not None and self.is_over)

    @property
    def is_over(self) -> bool:
        """Whether no fit is needed, or a fit came to nothing better than the bake."""
        return bool(self.exact) or self.near_enough or bool(self.result.metrics)

    @property
    def recipes(self) -> tuple[MaterialRecipe, ...] | None:
        """What the new material of each set gets; None: the maps of a fit."""
        return self.candidates.recipes

    @property
    def record(self) -> dict[str, Any]:
        """The settings, and how good the fit is."""
        return {
            "kind": "fit",
            "settings": self.settings.to_dict(),
            "metrics": self.result.metrics,
            "views": len(self.result.views),
            "kept": list(self.candidates.kept),
            "compared": list(self.candidates.choices),
        }

    @property
    def cure(self) -> str:
        """What to do if nothing of it could be assigned."""
        return "Fit it again, with more views where they saw too little."

    @property
    def views(self) -> list[View]:
        """All views, held-out ones included; none before the mesh is known."""
        return self.result.views

    @property
    def view_count(self) -> int:
        """How many views there will be."""
        cameras = self.render_plan["cameras"]
        return int(cameras["training"]) + int(cameras["held_out"])

    @property
    def compares_views(self) -> bool:
        """Whether each view is rendered with the baked materials too. A light that is learned has no fixed bake."""
        return self.candidates.baked is not None and not self.settings.learn_light

    @property
    def cameras(self) -> dict[str, Any]:
        """The views to plan: with the bake each is rendered twice, with as many samples in all, and in several lights."""
        cameras: dict[str, Any] = self.render_plan["cameras"]
        if not self.compares_views:
            return cameras
        halved = {name: max(1, cameras[name] // 2) for name in ("samples", "held_out_samples")}
        return cameras | halved | {"lights": LIGHTS}

    @property
    def renders(self) -> tuple[int, int]:
        """How many renders are done, and how many there will be."""
        each = 2 if self.compares_views else 1
        return len(self.rendered) + len(self.rendered_baked), each * self.view_count

    @property
    def fully_rendered(self) -> bool:
        """Whether every view is there."""
        return len(self.rendered) == self.view_count

    @property
    def has_mesh(self) -> bool:
        """Whether the mesh is there."""
        return "triangles" in self.arrays

    def set_mesh(self, mesh: MeshExported) -> None:
        """Take the mesh as the second Blender renders it, and plan the views as that Blender does."""
        self.arrays.update(mesh.arrays)
        cameras = self.cameras
        self.result.views = plan_views(
            mesh.center,
            mesh.radius,
            cameras["training"],
            cameras["held_out"],
            cameras["seed"],
            cameras.get("lights", 0),
        )
        self.center, self.radius = mesh.center, mesh.radius
        rendered, shown = len(mesh.arrays["triangles"]), self.render_plan["shown_triangles"]
        center, radius = self.render_plan["shown_sphere"]
        off = max(np.abs(mesh.center - center).max(), abs(mesh.radius - radius))
        self.other_shape = bool(off > OTHER_SHAPE * radius)
        if rendered != shown:
            note = f'"{self.name}" has {rendered} triangles in renders and {shown} in the viewport.'
            self.notes += (f"{note} The fit is of what renders show.",)
        elif self.other_shape:
            note = f'"{self.name}" has another shape or place in renders than in the viewport. The fit is of that one.'
            self.notes += (f"{note} If it comes from a simulation that is not baked, bake it and fit again.",)
        if mesh.overlap:
            share = max(mesh.overlap, 0.01)
            note = f"In renders faces lie over each other in {share:.0%} of the maps, and look the same there."
            self.notes += (f"{note} Unwrap what the modifiers make if they should differ.",)

    def plan_views(self) -> None:
        """Plan the views of a group that is not fitted, as if it were: a report looks at it from there."""
        cameras = self.render_plan["cameras"]
        center, radius = self.render_plan["shown_sphere"]
        self.result.views = plan_views(
            np.array(center), radius, cameras["training"], cameras["held_out"], cameras["seed"]
        )

    def set_environment(self, radiance: NDArray[np.float32]) -> None:
        """Take the light, float32 [H, W, 3]. Raises PbrFitError if it is black, not finite or brighter than any light."""
        if not np.isfinite(radiance).all() or radiance.max() > BRIGHTEST:
            raise PbrFitError(
                "The world's light has places of no finite brightness, so nothing can be fitted under it.",
                "Check the numbers in the world's nodes, and its image for infinite pixels: write it again, clamped.",
            )
        if radiance.max() <= 0.0:
            raise PbrFitError("The world gives no light: it is black.", "Give it a color or image and a strength.")
        self.arrays["environment"] = np.ascontiguousarray(radiance, dtype=np.float32)

    def missing_plan(self) -> dict[str, Any]:
        """The plan for the second Blender, with only what is not rendered yet."""
        environment = None if "environment" in self.arrays else self.render_plan["environment"]
        plan = self.render_plan | {"environment": environment, "cameras": self.cameras}
        if self.compares_views:
            plan |= {"candidate": self.candidates.baked_plan(self.folder), "baked": sorted(self.rendered_baked)}
        if self.has_mesh:
            del plan["mesh"]
            views = views_for_blender(self.views, plan["cameras"])
            plan["views"] = [entry for entry in views if entry["index"] not in self.rendered]
        return plan

    def view_image(self, index: int) -> NDArray[np.float32]:
        """A rendered view for the backend, float32 [h, w, 4], or [h, w, 8] with that of the baked materials.

        Raises PbrFitError if a file cannot be read.
        """
        image = self._reference(index).image()
        if not self.compares_views:
            return image
        baked = RenderedReference(self.views[index], self.folder / f"baked_{index:04d}.npy").image()
        return np.concatenate([image, baked], axis=-1)

    def references(self) -> list[RenderedReference]:
        """The views that are rendered in the light of the scene as it is, in their order."""
        return [self._reference(index) for index in sorted(self.rendered) if self.views[index].light == 0]

    def _reference(self, index: int) -> RenderedReference:
        return RenderedReference(self.views[index], self.folder / f"view_{index:04d}.npy")


class FitQueue(GroupQueue[GroupFit]):
    """The fits in their order, and which one is current."""

    def advance(self) -> bool:
        """Go to the next fit; False if there is none."""
        if not super().advance():
            return False
        known = self.groups[0].arrays.get("environment")  # the same world lights all groups
        if known is not None:
            self.current.arrays.setdefault("environment", known)
        return True
