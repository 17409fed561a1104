# SPDX-License-Identifier: GPL-3.0-or-later
"""The fits of one click. Each handles one group of objects; they run one after the other."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..common.errors import PbrFitError
from ..common.light_names import BOTH, SCENE, STUDIO
from ..common.material_recipe import MaterialRecipe
from ..common.render_devices import DeviceUsed, RenderDevice
from ..common.second_blender import BlenderDied
from ..comparing.errors import BAKE, round_name
from ..export.reference_light import what_a_light_lacks
from ..protocol.settings import FitSettings
from ..references.process import MeshExported
from ..references.studio_lights import LIGHTS
from ..references.views import View, plan_views, views_for_blender
from .candidates import Candidates
from .group_queue import GroupQueue, GroupWork

NO_LIGHT = ("there is no world", "its world is black", "its world is missing")
OTHER_SHAPE = 0.02  # of the radius: what center and radius of the same shape never differ by
LEAST_UNSEEN = 0.02  # of the maps
BRIGHTEST = 1e8  # radiance; the sun in an HDRI reaches 1e6, an infinite pixel 1e12 and more after filtering


@dataclass(frozen=True)
class RenderedReference:
    """A rendered reference of a group: its camera, and the file that holds its pixels; objects: those that it shows, by number
    (session_uid); radiance: the light that it is in, float32 [H, W, 3], where that is known."""

    view: View
    path: Path
    objects: frozenset[int] = frozenset()
    radiance: NDArray[Any] | None = field(default=None, compare=False)

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
    there, and rendered_candidate of those with what the fit or the current round begins with.
    rounds: how many rounds of correction may follow the fit; round: the current one, 0 for the fit itself.
    wanted: how many views to fit to; the fit gets half of them where a round can bring the others, since fits of easy
    materials need no more.
    candidates: the maps that there are; bake_plan: of the bake that the fit begins with; None: it begins with nothing;
    exact: what is to be said where the bake is all that is needed, else empty; near_enough: whether it proved so near that
    nothing is fitted; light: what the references are in, a name of `common.light_names`; may_use_studio: whether that may
    become Studio's where the scene's own proves useless; has_own_light: whether the scene's world gives light; unseen_light: the
    HDRI for the comparison; nodes: what `prepare.nodes_of` says of the original materials; lack: why the light that the
    artist insists on tells little, or empty; other_shape: whether renders show another shape or place than the viewport;
    device: what Cycles renders with, the same object for all groups.
    """

    settings: FitSettings
    render_plan: dict[str, Any]
    candidates: Candidates
    bake_plan: dict[str, Any] | None = None
    exact: str = ""
    light: str = SCENE
    may_use_studio: bool = False
    has_own_light: bool = True
    unseen_light: str = ""
    nodes: dict[str, Any] = field(default_factory=dict)
    lack: str = ""
    center: NDArray[np.float64] = field(default_factory=lambda: np.zeros(3))
    radius: float = 1.0
    other_shape: bool = False
    near_enough: bool = False
    arrays: dict[str, NDArray[Any]] = field(default_factory=dict)
    rendered: set[int] = field(default_factory=set)
    rendered_candidate: set[int] = field(default_factory=set)
    rounds: int = 0
    round: int = 0
    wanted: int = 0
    device: RenderDevice = field(default_factory=RenderDevice)

    @property
    def has_maps(self) -> bool:
        """Whether there are maps to assign: the backend's, or those of a bake that needs no fit."""
        return bool(self.candidates.fits) or (self.candidates.baked is not None and self.is_over)

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
        """The settings, how good the fit is, and what that may be due to."""
        return {
            "kind": "fit",
            "settings": self.settings.to_dict(),
            "metrics": self.result.metrics,
            "views": len(self.result.views),
            "kept": list(self.candidates.kept),
            "compared": list(self.candidates.choices),
            "unseen": list(self.candidates.coverage.masks),
            "unseen_share": self.candidates.coverage.share,
            "exact": bool(self.exact),
            "nodes": self.nodes,
            "light": self.light,
            "lack": self.lack,
            "notes": list(self.notes),
            "seconds": self.seconds,
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
        """How many views there will be in the fit or the current round."""
        cameras = self.render_plan["cameras"]
        return self.wanted + int(cameras["held_out"])

    @property
    def begins_with_bake(self) -> bool:
        """Whether each view is rendered with the baked materials too. A light that is learned has no fixed bake."""
        return self.candidates.baked is not None and not self.settings.learn_light

    @property
    def begins_with_maps(self) -> bool:
        """Whether maps that the artist has chosen stand in place of the bake."""
        return self.bake_plan is not None and "start_maps" in self.bake_plan

    @property
    def compares_views(self) -> bool:
        """Whether each view is rendered with what the fit or the current round begins with too."""
        return self.round > 0 or self.begins_with_bake

    @property
    def candidate(self) -> str:
        """The name of what the fit or the current round begins with, if it compares views."""
        return round_name(self.round - 1) if self.round else BAKE

    def begin_round(self) -> bool:
        """Begin the next round of correction, if there is to be one."""
        if self.round == self.rounds:
            return False
        self.round += 1
        self.wanted = int(self.render_plan["cameras"]["training"])
        self.rendered_candidate = set()
        self.settings = replace(self.settings, correction=self.round)
        for number in range(self.candidates.count):
            self.arrays.pop(f"start_{number}", None)
        return True

    @property
    def cameras(self) -> dict[str, Any]:
        """The views to plan: with the bake each is rendered twice, with as many samples in all."""
        cameras: dict[str, Any] = self.render_plan["cameras"]
        # Number 0 is the scene's own light, or in Studio light the first of those.
        lights = {SCENE: 0, BOTH: LIGHTS, STUDIO: LIGHTS - 1}[self.light]
        cameras = cameras | {"lights": lights, "wanted": self.wanted}
        if not self.begins_with_bake:
            return cameras
        return cameras | {name: max(1, cameras[name] // 2) for name in ("samples", "held_out_samples")}

    @property
    def renders(self) -> tuple[int, int]:
        """How many renders of the fit or the current round are done, and how many there will be."""
        each = 2 if self.compares_views else 1
        return len(self.rendered) + len(self.rendered_candidate), each * self.view_count

    @property
    def fully_rendered(self) -> bool:
        """Whether every view is there."""
        return len(self.ready) == self.view_count

    @property
    def ready(self) -> set[int]:
        """The indices of the views that can be fitted to."""
        return self.rendered & self.rendered_candidate if self.compares_views else self.rendered

    @property
    def has_mesh(self) -> bool:
        """Whether the mesh is there."""
        return "triangles" in self.arrays

    @property
    def has_start(self) -> bool:
        """Whether what a round begins with is there."""
        return self.round == 0 or "start_0" in self.arrays

    def set_start(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Take what a round begins with, by the names of arrays on the wire. How sure it is, the bake says."""
        self.arrays |= arrays
        for name, texels in arrays.items():
            doubtful = np.zeros((*texels.shape[:2], 2), np.float16)
            self.arrays.setdefault(name.replace("start", "surety"), doubtful)

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

    def take_scene_light(self, radiance: NDArray[np.float32]) -> str:
        """Take the light of the scene's world, if it tells enough; else say, as the end of a sentence, why Studio light is
        better. Raises PbrFitError if it is useless and nothing else may be used."""
        if not self.may_use_studio:
            self.set_environment(radiance)
            return ""
        if not np.isfinite(radiance).all() or radiance.max() > BRIGHTEST:
            return "its world has places of no finite brightness"
        lack = what_a_light_lacks(radiance)
        if not lack:
            self.set_environment(radiance)
        return lack

    def set_lights(self, lights: NDArray[np.float32]) -> None:
        """Take the lights that were made for this, float32 [L, H, W, 3]."""
        if self.light == STUDIO:
            self.set_environment(lights[0])
            lights = lights[1:]
        for number, light in enumerate(lights, 1):
            self.arrays[f"environment_{number}"] = light

    def use_studio(self, lack: str) -> None:
        """Have the references rendered in Studio light alone. lack: why not the scene's, as the end of a sentence."""
        self.light = STUDIO
        self.has_own_light &= not lack.startswith(NO_LIGHT)
        self.arrays.pop("environment", None)
        self.notes += (f"The references are in Studio light: {lack}.",)

    def take_fit(self, files: dict[str, bytes], metrics: dict[str, Any]) -> None:
        """Take what the backend has made of the fit, or of the current round after it: files by name, and what it measured."""
        self.candidates.take_fit(round_name(self.round), files, metrics)
        if self.round:
            self.result.metrics.setdefault("rounds", []).append(metrics)
        else:
            self.result.metrics = metrics

    @property
    def has_gained(self) -> bool:
        """Whether anything of the fit, or of the current round, is kept; the fit itself may always be corrected."""
        return self.round == 0 or round_name(self.round) in self.candidates.kept

    def name_what_is_unseen(self) -> None:
        """Note how much of the maps of a fit that is kept no view has seen, if it is worth a word."""
        share = self.candidates.coverage.share
        if share >= LEAST_UNSEEN:
            there = "as baked" if self.candidates.baked is not None else "filled from what is around it"
            self.notes += (f'No view sees {share:.0%} of the maps of "{self.name}": that part is {there}.',)

    def take_device(self, used: DeviceUsed) -> None:
        """Take what a second Blender says that it renders with."""
        self.notes += self.device.take(used)
        self.result.render_device = used.name

    def other_device(self, error: BlenderDied) -> bool:
        """Whether another second Blender can do without the GPU that one has died with."""
        notes = self.device.gave_up(error)
        self.notes += notes
        if notes and self.compares_views:
            # Both renders of a view have the same noise only if they are from the same device.
            self.rendered, self.rendered_candidate = self.ready, set(self.ready)
        return bool(notes)

    def missing_plan(self) -> dict[str, Any]:
        """The plan for the second Blender, with only what is not rendered yet. Raises OSError if files cannot be written."""
        known = "environment" in self.arrays or self.light == STUDIO
        plan = self.render_plan | {
            "environment": None if known else self.render_plan["environment"],
            "cameras": self.cameras,
            "studio": self.light == STUDIO,
            "devices": self.device.wanted.to_json(),
        }
        if self.compares_views:
            plan["candidate"] = self.candidates.plan(self.candidate, self.folder) | {
                "name": self.candidate.lower(),
                "rendered": sorted(self.rendered_candidate),
                "start": 0 if self.has_start else self.settings.resolution,
            }
        if self.has_mesh:
            del plan["mesh"]
            plan["views"] = views_for_blender(self.views, plan["cameras"])
            plan["rendered"] = sorted(self.rendered)
        return plan

    def view_image(self, index: int) -> NDArray[np.float32]:
        """A rendered view for the backend, float32 [h, w, 4], or [h, w, 8] with that of what the fit begins with.

        Raises PbrFitError if a file cannot be read.
        """
        image = self._reference(index).image()
        if not self.compares_views:
            return image
        path = self.folder / f"{self.candidate.lower()}_{index:04d}.npy"
        return np.concatenate([image, RenderedReference(self.views[index], path).image()], axis=-1)

    def references(self) -> list[RenderedReference]:
        """The views that are rendered in the first light, which is the scene's own where that is used, in their order."""
        return [self._reference(index) for index in sorted(self.rendered) if self.views[index].light == 0]

    def _reference(self, index: int) -> RenderedReference:
        objects = frozenset(item.uid for item in self.plan.objects)
        path = self.folder / f"view_{index:04d}.npy"
        return RenderedReference(self.views[index], path, objects, self.arrays.get("environment"))


class FitQueue(GroupQueue[GroupFit]):
    """The fits in their order, and which one is current."""

    def advance(self) -> bool:
        """Go to the next fit; False if there is none."""
        if not super().advance():
            return False
        self.current.light, self.current.has_own_light = self.groups[0].light, self.groups[0].has_own_light
        known = self.groups[0].arrays.get("environment")  # the same world lights all groups
        if known is not None:
            self.current.arrays.setdefault("environment", known)
        return True
