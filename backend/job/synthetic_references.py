"""References that our own renderer makes from a mesh with known maps, for tests, benchmarks and other sources.

A dataset is a sequence: `len`, `dataset[i]`, iteration and any loader work on it. It renders a view only when it is asked
for it, each time again.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TypedDict, Unpack

import torch

from backend.job.model import ViewInput
from render.geometry.camera import Camera, cameras_around, random_cameras, rotating_cameras
from render.geometry.mesh import Mesh
from render.images.render_mesh import render_mesh
from render.light.environment import PrefilteredLight
from render.material.material import Material
from render.raster.portable import Rasterizer, visible_fragments
from render.shading.shade import PRINCIPLED_SHADING, Shading


@dataclass(frozen=True)
class RenderedView:
    """One view: its camera and its image [H, W, 4], linear, premultiplied unless it has a background."""

    camera: Camera
    image: torch.Tensor


@dataclass(frozen=True)
class DatasetMesh:
    """A reference mesh rendered with known maps from several cameras; one of every `held_out_every` is held out.

    material    the known one; light, already prefiltered; resolution (height, width) of a view
    spp, msaa, layers, background, shading, rasterizer   as `render_mesh` takes them
    """

    mesh: Mesh
    material: Material
    light: PrefilteredLight
    cameras: list[Camera]
    resolution: tuple[int, int] = (256, 256)
    held_out_every: int = 8
    spp: int = 1
    msaa: bool = False
    layers: int = 1
    background: torch.Tensor | None = None
    shading: Shading = PRINCIPLED_SHADING
    rasterizer: Rasterizer = visible_fragments

    def __len__(self) -> int:
        return len(self.cameras)

    def __getitem__(self, index: int) -> RenderedView:
        return RenderedView(self.cameras[index], self.image(index))

    def is_held_out(self, index: int) -> bool:
        """Whether a view only measures a fit."""
        return index % self.held_out_every == self.held_out_every // 2

    def image(self, index: int) -> torch.Tensor:
        """View number `index`, [H, W, 4], linear, premultiplied."""
        return self.images([self.cameras[index]])[0]

    @torch.no_grad()
    def images(self, cameras: list[Camera]) -> torch.Tensor:
        """The reference as any cameras see it, all in one render: [N, H, W, 4]."""
        return render_mesh(
            self.mesh,
            cameras,
            self.material,
            self.light,
            self.resolution,
            spp=self.spp,
            msaa=self.msaa,
            layers=self.layers,
            background=self.background,
            shading=self.shading,
            rasterizer=self.rasterizer,
        )["shaded"]

    def validation(self, count: int = 50, radius: float = 3.0) -> DatasetMesh:
        """The same reference from the cameras of nvdiffrec's validation orbit (`rotating_cameras`), which all may measure."""
        height, width = self.resolution
        device = self.mesh.position.device
        return replace(self, cameras=rotating_cameras(count, radius, aspect=width / height, device=device))

    def views(self) -> Iterator[ViewInput]:
        """The views as the inputs of a job."""
        for index, camera in enumerate(self.cameras):
            yield ViewInput(
                index=index,
                held_out=self.is_held_out(index),
                view=camera.view.cpu().numpy(),
                projection=camera.projection.cpu().numpy(),
                image=self.image(index).cpu().numpy(),
            )


class DatasetOptions(TypedDict, total=False):
    """The fields of a `DatasetMesh` that have defaults."""

    resolution: tuple[int, int]
    held_out_every: int
    spp: int
    msaa: bool
    layers: int
    background: torch.Tensor | None
    shading: Shading
    rasterizer: Rasterizer


def dataset_around(
    mesh: Mesh, material: Material, light: PrefilteredLight, views: int = 32, **options: Unpack[DatasetOptions]
) -> DatasetMesh:
    """A `DatasetMesh` with a fixed set of `views` cameras, spread evenly over a sphere around the mesh."""
    return DatasetMesh(mesh, material, light, cameras_around(*mesh.bounding_sphere(), views), **options)


def dataset_at_random(
    mesh: Mesh,
    material: Material,
    light: PrefilteredLight,
    views: int = 32,
    radius: float = 3.0,
    seed: int = 0,
    **options: Unpack[DatasetOptions],
) -> DatasetMesh:
    """A `DatasetMesh` with `views` random cameras at `radius` from the origin, as nvdiffrec trains (`random_cameras`)."""
    height, width = options.get("resolution", (256, 256))
    generator = torch.Generator().manual_seed(seed)
    device = mesh.position.device
    cameras = random_cameras(views, radius, generator, aspect=width / height, device=device)
    return DatasetMesh(mesh, material, light, cameras, **options)
