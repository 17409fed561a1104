"""Small jobs whose answer is known: a textured ball under a studio light, rendered by our own renderer."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
import torch.nn.functional as F
from support.shapes import joined, plane, sphere, studio, wire_arrays

from backend.fit.sample_table import SampleTable, StepRows, concatenate, sample_view
from backend.job.model import FitInputs
from backend.job.synthetic_references import DatasetMesh, dataset_around
from render.geometry.mesh import Mesh
from render.light.environment import EnvironmentLight, env_from_latlong
from render.material.material import KD, METALLIC, ROUGHNESS, MaterialMaps, initial_maps
from render.texture.map_size import Size, map_size

ENVIRONMENT = studio(32)
BALL_COLORS = [(0.6, 0.15, 0.1), (0.1, 0.2, 0.55)]


def studio_light(resolution: int = 64) -> EnvironmentLight:
    return env_from_latlong(torch.from_numpy(ENVIRONMENT), resolution)


def checked_maps(resolution: Size = 64, alpha: bool = False) -> MaterialMaps:
    """Soft colour waves over an even rough dielectric."""
    maps = initial_maps(resolution, alpha)
    v, u = torch.meshgrid(*[(torch.arange(edge) + 0.5) / edge * 6.2832 for edge in map_size(resolution)], indexing="ij")
    maps.texels[..., KD] = 0.45 + 0.3 * torch.stack([(3 * u).sin(), (2 * v).cos(), (2 * u + 3 * v).sin()], -1)
    maps.texels[..., ROUGHNESS], maps.texels[..., METALLIC] = 0.4, 0.0
    return maps


def ball_dataset(views: int = 8, size: int = 64, maps: MaterialMaps | None = None, **options) -> DatasetMesh:
    with torch.no_grad():
        light = studio_light(256).build_mips()
    maps = checked_maps() if maps is None else maps
    return dataset_around(sphere(16), maps, light, views, resolution=(size, size), held_out_every=8, **options)


def tables(dataset: DatasetMesh) -> tuple[SampleTable, SampleTable]:
    """Training and held-out rows."""
    train, held_out = [], []
    for view in dataset.views():
        rows = sample_view(dataset.mesh, dataset.cameras[view.index], torch.from_numpy(view.image), view.index)
        (held_out if view.held_out else train).append(rows)
    return concatenate(train), concatenate(held_out)


def random_rows(views: int = 2) -> StepRows:
    """Rows of random attitudes and colours: rendering them would take the interpreter minutes."""
    g = torch.Generator().manual_seed(0)
    count = 96

    def unit() -> torch.Tensor:
        return F.normalize(torch.randn(count, 1, 3, generator=g), dim=-1)

    normal = unit()
    return StepRows(
        normal=normal,
        tangent=unit(),
        sign=torch.ones(count, 1, 1),
        uv=torch.rand(count, 1, 2, generator=g),
        footprint=torch.rand(count, 1, generator=g) * 0.2 + 0.05,
        view=F.normalize(normal + 0.7 * unit(), dim=-1),
        valid=torch.ones(count, 1, dtype=torch.bool),
        color=torch.rand(count, 3, generator=g) * 0.6,
        alpha=torch.ones(count),
        view_index=torch.arange(count, dtype=torch.int32) % views,
    )


def on(table: StepRows, device: str) -> StepRows:
    """The rows on a device."""
    columns = {name: values for name, values in vars(table).items() if values is not None and name != "shadow"}
    return StepRows(**{name: values.to(device) for name, values in columns.items()})


def job_inputs(dataset: DatasetMesh, **changes: np.ndarray) -> FitInputs:
    return FitInputs(wire_arrays(dataset.mesh, ENVIRONMENT) | changes, dataset.views(), len(dataset))


def submit_ball(client, dataset, settings) -> None:
    inputs = job_inputs(dataset)
    client.submit(settings, inputs.arrays, view_count=inputs.view_count)
    for view in inputs.views:
        matrices = {"view": view.view.tolist(), "projection": view.projection.tolist()}
        client.add_view({"index": view.index, "held_out": view.held_out, **matrices}, view.image)
    client.end_views()


def half_atlas(mesh: Mesh, half: int) -> Mesh:
    """The mesh with its texture in the left or the right half."""
    return replace(mesh, uv=mesh.uv * torch.tensor([0.5, 1.0]) + torch.tensor([0.5 * half, 0.0]))


def whole_texture(arrays: dict[str, np.ndarray], vertex_half: np.ndarray) -> dict[str, np.ndarray]:
    """The arrays of a mesh in halves, with each half stretched to a texture of its own."""
    uv = arrays["vertex_uv"].copy()
    uv[:, 0] = uv[:, 0] * 2 - vertex_half
    return arrays | {"vertex_uv": uv}


def two_balls(blocked: bool = False, views: int = 8, **options):
    """A red and a blue ball beside each other, perhaps with a plane behind them: the job's inputs, once."""
    parts = [half_atlas(sphere(12, center=((2.4 * half - 1.2), 0.0, 0.0)), half) for half in (0, 1)]
    if blocked:
        parts.append(half_atlas(plane(3.0, height=-1.2, cells=2), 0))
    mesh = joined(*parts)
    maps = initial_maps(64, alpha=False)
    maps.texels[..., ROUGHNESS], maps.texels[..., METALLIC] = 0.5, 0.0
    for half, color in enumerate(BALL_COLORS):
        maps.texels[:, 32 * half : 32 * half + 32, KD] = torch.tensor(color)
    with torch.no_grad():
        light = studio_light(256).build_mips()
    dataset = dataset_around(mesh, maps, light, views, resolution=(48, 48), held_out_every=views, **options)
    counts = [len(part.position) for part in parts]
    half = np.repeat([0, 1, 0][: len(parts)], counts)
    triangle_set = np.repeat([0, 1, -1][: len(parts)], [len(part.triangles) for part in parts]).astype(np.int32)
    arrays = whole_texture(wire_arrays(mesh, ENVIRONMENT), half) | {"triangle_set": triangle_set}
    return FitInputs(arrays, dataset.views(), views)
