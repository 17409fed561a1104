"""References made by our own renderer from a mesh with known maps: for tests, benchmarks and other sources to come."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch

from backend.jobs import ViewInput
from render.brdf import GgxTable, ggx_table
from render.camera import Camera, cameras_around
from render.light import PrefilteredLight
from render.material import MaterialMaps
from render.mesh import Mesh
from render.radiance import ShadingModel
from render.render import render_mesh


@dataclass(frozen=True)
class DatasetMesh:
    """A reference mesh rendered with known maps from fixed cameras, every `held_out_every`-th of them held out.

    maps        the known material; light, already prefiltered; resolution (height, width) of a view
    """

    mesh: Mesh
    maps: MaterialMaps
    light: PrefilteredLight
    cameras: list[Camera]
    resolution: tuple[int, int] = (256, 256)
    held_out_every: int = 8
    spp: int = 1
    model: ShadingModel = "principled"

    def __len__(self) -> int:
        return len(self.cameras)

    def image(self, index: int, table: GgxTable | None = None) -> torch.Tensor:
        """View number `index`, [H, W, 4], linear, premultiplied."""
        table = ggx_table(self.mesh.position.device) if table is None else table
        with torch.no_grad():
            return render_mesh(
                self.mesh,
                self.cameras[index],
                self.maps,
                self.light,
                table,
                self.resolution,
                self.spp,
                model=self.model,
            )

    def views(self) -> Iterator[ViewInput]:
        """The views as a job takes them."""
        table = ggx_table(self.mesh.position.device)
        for index, camera in enumerate(self.cameras):
            yield ViewInput(
                index=index,
                held_out=index % self.held_out_every == self.held_out_every // 2,
                view=camera.view.cpu().numpy(),
                projection=camera.projection.cpu().numpy(),
                image=self.image(index, table).cpu().numpy(),
            )


def dataset_around(
    mesh: Mesh, maps: MaterialMaps, light: PrefilteredLight, views: int = 32, **options: object
) -> DatasetMesh:
    """A `DatasetMesh` with `views` cameras spread over a sphere around the mesh."""
    return DatasetMesh(mesh, maps, light, cameras_around(*mesh.bounding_sphere(), views), **options)
