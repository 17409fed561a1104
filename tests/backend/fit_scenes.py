"""Small jobs whose answer is known: a textured ball under a studio light, rendered by our own renderer."""

from __future__ import annotations

import numpy as np
import torch
from shapes import sphere, studio, wire_arrays

from backend.datasets import DatasetMesh, dataset_around
from backend.jobs import FitInputs
from backend.sample_table import SampleTable, concatenate, sample_view
from render.light import EnvironmentLight, env_from_latlong
from render.material import KD, METALLIC, ROUGHNESS, MaterialMaps, initial_maps

ENVIRONMENT = studio(32)


def studio_light(resolution: int = 64) -> EnvironmentLight:
    return env_from_latlong(torch.from_numpy(ENVIRONMENT), resolution)


def checked_maps(resolution: int = 64, alpha: bool = False) -> MaterialMaps:
    """Soft colour waves over an even rough dielectric."""
    maps = initial_maps(resolution, alpha)
    v, u = torch.meshgrid(*[(torch.arange(resolution) + 0.5) / resolution * 6.2832] * 2, indexing="ij")
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


def job_inputs(dataset: DatasetMesh, **changes: np.ndarray) -> FitInputs:
    return FitInputs(wire_arrays(dataset.mesh, ENVIRONMENT) | changes, dataset.views(), len(dataset))
