"""References made by our own renderer from a mesh with known maps: for tests, benchmarks and other sources to come."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch

from backend.jobs import ViewInput
from render.camera import Camera, cameras_around
from render.light import PrefilteredLight
from render.material import Material
from render.mesh import Mesh
from render.render import render_mesh
from render.shade import PRINCIPLED_SHADING, Shading


@dataclass(frozen=True)
class DatasetMesh:
    """A reference mesh rendered with known maps from fixed cameras, every `held_out_every`-th of them held out.

    material    the known one; light, already prefiltered; resolution (height, width) of a view
    """

    mesh: Mesh
    material: Material
    light: PrefilteredLight
    cameras: list[Camera]
    resolution: tuple[int, int] = (256, 256)
    held_out_every: int = 8
    spp: int = 1
    shading: Shading = PRINCIPLED_SHADING

    def __len__(self) -> int:
        return len(self.cameras)

    def image(self, index: int) -> torch.Tensor:
        """View number `index`, [H, W, 4], linear, premultiplied."""
        with torch.no_grad():
            return render_mesh(
                self.mesh,
                self.cameras[index],
                self.material,
                self.light,
                self.resolution,
                spp=self.spp,
                shading=self.shading,
            )["shaded"][0]

    def views(self) -> Iterator[ViewInput]:
        """The views as a job takes them."""
        for index, camera in enumerate(self.cameras):
            yield ViewInput(
                index=index,
                held_out=index % self.held_out_every == self.held_out_every // 2,
                view=camera.view.cpu().numpy(),
                projection=camera.projection.cpu().numpy(),
                image=self.image(index).cpu().numpy(),
            )


def dataset_around(
    mesh: Mesh, material: Material, light: PrefilteredLight, views: int = 32, **options: object
) -> DatasetMesh:
    """A `DatasetMesh` with `views` cameras spread over a sphere around the mesh."""
    return DatasetMesh(mesh, material, light, cameras_around(*mesh.bounding_sphere(), views), **options)
