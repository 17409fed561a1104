"""What the fits of a job read: the light, and the sample tables of its references with their self-shadowing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from backend.fit.sample_table import (
    SampleTable,
    blocker_radiance,
    concatenate,
    joined,
    layers_for,
    sample_view,
    seen_from_behind,
    with_self_shadowing,
)
from backend.job.context import JobContext
from backend.job.model import FitInputs, JobError, ViewInput
from backend.protocol.settings import FitSettings
from backend.protocol.wire import array_bytes, content_hash
from render.bsdf.ggx import ggx_table
from render.geometry.camera import Camera
from render.geometry.mesh import Mesh
from render.light.environment import EnvironmentLight, create_trainable_env_rnd, env_from_latlong
from render.shading.shadow_maps import SkyVisibility
from render.shading.visibility import LightCells, light_cells

KNOWN_LIGHT_RESOLUTION = 256
LEARNED_LIGHT_RESOLUTION = 64
# What a blocked direction sends while the light is unknown: a gray object returns about half of the light on it.
_UNKNOWN_BLOCKER = 0.5
# Along its outline a closed mesh may show a few rows of its inside, by rounding.
_LEAST_SEEN = 1e-3


def job_light(arrays: dict[str, NDArray[Any]], settings: FitSettings, device: torch.device) -> EnvironmentLight:
    """The known light of the arrays, or one to learn. Raises `JobError` where there is none or it is not finite."""
    if settings.learn_light:
        return create_trainable_env_rnd(LEARNED_LIGHT_RESOLUTION, seed=settings.seed, device=device)
    environment = arrays.get("environment")
    if environment is None or environment.ndim != 3 or environment.shape[2] < 3:
        raise JobError(
            "environment",
            "The job has no environment image and does not learn its light.",
            "Give the scene a world with light, or switch on Learn Light.",
        )
    return known_light(environment, device)


def job_lights(arrays: dict[str, NDArray[Any]], settings: FitSettings, device: torch.device) -> list[EnvironmentLight]:
    """All lights of the arrays, first the one that `job_light` gives. Only that may be learned. Raises `JobError` as that
    does."""
    lights = [job_light(arrays, settings, device)]
    while (further := arrays.get(f"environment_{len(lights)}")) is not None:
        lights.append(known_light(further, device))
    return lights


def known_light(environment: NDArray[Any], device: torch.device) -> EnvironmentLight:
    """The light of an equirectangular image [H, W, 3 or more], as fits use it. Raises `JobError` where it is not finite."""
    if not np.isfinite(environment).all():
        raise JobError(
            "environment",
            "The environment image has values that are not finite.",
            "Clamp the world's image or its strength.",
        )
    image = torch.from_numpy(np.array(environment[..., :3], np.float32)).clamp(min=0)
    return env_from_latlong(image, KNOWN_LIGHT_RESOLUTION, device)


LightOfView = dict[int, int]
"""The number of the light of each view that is not in the first."""


def reference_tables(
    inputs: FitInputs, mesh: Mesh, context: JobContext, light_count: int = 1
) -> tuple[SampleTable, SampleTable | None, LightOfView, list[str]]:
    """The rows to fit to, the held-out rows or None, the lights of views, and, where the job keeps checkpoints, a
    name of each view by its content.

    Waits for the views. Raises `JobError` where none of them shows the object, `JobCancelled` when it is cancelled.
    """
    layers = layers_for(context.settings.maps)
    train: dict[int, SampleTable] = {}
    held_out: dict[int, SampleTable] = {}
    names: list[str] = []
    lights: LightOfView = {}
    for count, view in enumerate(inputs.views, 1):
        context.stop_if_cancelled()
        rows = _rows(view, mesh, layers)
        if context.control.economy:  # memory did not suffice for all of them
            rows = rows.rows(torch.arange(0, len(rows), 1 << context.control.economy, device=rows.color.device))
        (held_out if view.held_out else train)[view.index] = rows
        if view.light:
            lights[view.index] = view.light
        if context.control.checkpoints is not None:
            names.append(_name(view))
        fraction = count / max(inputs.view_count, count)
        context.say("references", fraction, f"Reference {count} of {inputs.view_count}")
    if max(lights.values(), default=0) >= light_count:
        raise JobError(
            "environment",
            "A view is in a light that the job has not.",
            "Send an environment for each light of the views.",
        )
    if sum(map(len, train.values())) == 0:
        raise JobError(
            "references",
            "No reference view shows the inside of the object.",
            "Check that the object is visible in renders, that its material is not fully transparent, and the view size.",
        )
    # In the order of their numbers, so that a fit that goes on has the same rows, however its views came.
    ordered = [[rows for _, rows in sorted(some.items())] for some in (train, held_out)]
    some = [rows for rows in ordered[1] if len(rows)]
    return concatenate(ordered[0]), concatenate(some) if some else None, lights, names


def shadowed(
    tables: tuple[SampleTable, SampleTable | None],
    light_of_view: LightOfView,
    lights: Sequence[EnvironmentLight],
    sky: SkyVisibility,
    context: JobContext,
) -> tuple[SampleTable, SampleTable | None]:
    """The tables with the self-shadowing of their mesh. Raises `JobCancelled`."""
    train, held_out = tables
    directions = sky.maps.direction
    ggx = ggx_table(directions.device)

    def cancelled() -> bool:
        """Leave the job at once: a table with shadows for some of its rows has no use."""
        context.stop_if_cancelled()
        return False

    def parts_of(table: SampleTable) -> list[torch.Tensor]:
        number = torch.zeros_like(table.view_index)
        for view, light in light_of_view.items():
            number[table.view_index == view] = light
        return [(number == place).nonzero()[:, 0] for place in range(len(lights))]

    places = parts_of(train), None if held_out is None else parts_of(held_out)
    found: tuple[list[SampleTable], list[SampleTable]] = ([], [])
    for place, light in enumerate(lights):
        own = train.rows(places[0][place])
        cells, blocker = _shadow_light(light, context.settings.learn_light and place == 0, own, directions)
        for table, rows, shaded in zip(tables, places, found, strict=True):
            if table is not None and rows is not None and len(rows[place]):
                part = table.rows(rows[place])
                shaded.append(with_self_shadowing(part, sky, cells, blocker, ggx, cancelled))
    train = joined(found[0], places[0])
    return train, None if places[1] is None else joined(found[1], places[1])


def vertex_openness(train: SampleTable, sky: SkyVisibility) -> torch.Tensor:
    """The open part of the sky of each vertex, float [V], 0..1, on the side that the views see.

    Where they see both sides (the inside and the outside of a bowl), it is the more open one's: one map serves both, and
    no side may look darker than it is. A side that less than one row in a thousand shows does not count.
    """
    behind = float(seen_from_behind(train, sky.mesh).sum() / train.valid.sum().clamp(min=1))
    return sky.openness(front=behind <= 1 - _LEAST_SEEN, back=behind >= _LEAST_SEEN)


def _rows(view: ViewInput, mesh: Mesh, layers: int) -> SampleTable:
    device = mesh.position.device
    image = torch.from_numpy(np.array(view.image, np.float32)).to(device)
    if image.ndim != 3 or image.shape[2] not in (4, 8) or not bool(torch.isfinite(image).all()):
        raise JobError(
            "references",
            f"Reference {view.index} is not a finite [h, w, 4 or 8] image but {list(image.shape)}.",
            "Check the object's material for values that are not finite.",
        )
    camera = Camera(torch.from_numpy(np.array(view.view, np.float32)), torch.from_numpy(np.array(view.projection)))
    try:
        rows = sample_view(mesh, camera.to(device), image, view.index, layers)
    except torch.linalg.LinAlgError:  # type: ignore[attr-defined]  # PyTorch does not say that it exports it
        rows = None
    if rows is None or not all(bool(torch.isfinite(part).all()) for part in (rows.position, rows.view, rows.footprint)):
        raise JobError(
            "references",
            f"The camera of reference {view.index} cannot be used: its matrix has no inverse, or is out of all bounds.",
            "Check the scale of the object and of the scene.",
        )
    return rows


def _name(view: ViewInput) -> str:
    """A text that differs for different views: by number and use, camera and image."""
    camera = view.view.astype("<f4").tobytes() + view.projection.astype("<f4").tobytes()
    image = view.content or content_hash(array_bytes(view.image))
    return f"{view.index} {view.held_out} {view.light} {content_hash(camera)} {view.image.shape} {view.image.dtype} {image}"


def _shadow_light(
    light: EnvironmentLight,
    is_learned: bool,
    train: SampleTable,
    directions: torch.Tensor,
) -> tuple[LightCells, torch.Tensor]:
    cells = light_cells(light.base.detach(), directions)
    if is_learned:
        cells = replace(cells, radiance=torch.ones_like(cells.radiance))
        return cells, torch.full_like(cells.radiance, _UNKNOWN_BLOCKER)
    return cells, blocker_radiance(train, directions)
