"""The plain way to fit, to compare with: whole images through `render_mesh`, rasterised and shaded anew in every iteration.

It is what nvdiffrec's loop does, on our renderer and with our maps: a random batch of views an iteration, log-sRGB L1,
Adam on maps of full size. It has the same references, the same starting point and the same judge as the fit.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

import torch

from benchmarks.cases import Case, HeldOut
from benchmarks.fitting import snapshot_iterations
from benchmarks.measure import Clock, synchronize
from render.geometry.camera import Camera
from render.images.losses import image_loss
from render.images.render_mesh import render_mesh
from render.light.environment import EnvironmentLight
from render.material.material import MaterialMaps, initial_maps, project_

# nvdiffrec's decay: a tenth after 5000 iterations.
_DECAY = 10**-0.0002
_FIRST_LOOK = 5
# Iterations that looks at the held-out views are spread over.
_LOOK_FOR = 1000


@dataclass(frozen=True)
class ImageSpacePlan:
    """Views an iteration, Adam's learning rate, where to stop: at a held-out PSNR, or after seconds of the loop."""

    batch: int = 4
    learning_rate: float = 0.02
    target_db: float = 35.0
    budget: float = 600.0


def run_image_space(
    case: Case,
    light: EnvironmentLight,
    learn_light: bool,
    cameras: Sequence[Camera],
    size: int,
    judge: HeldOut,
    plan: ImageSpacePlan | None = None,
    seed: int = 0,
) -> dict:
    """Fit by images until the target is met or the budget spent; returns JSON values, `history` as that of the fit.

    The clock runs from the request of the references; looking at the held-out views is left out of it.
    """
    plan = ImageSpacePlan() if plan is None else plan
    device = case.mesh.position.device
    clock = Clock(device)
    with torch.no_grad():
        known = case.light.build_mips()
        references = torch.cat([case.images([camera], size, known) for camera in cameras])
    clock.lap("references")
    texels = initial_maps(case.maps.resolution, alpha=False, device=device).texels.requires_grad_(True)
    maps = MaterialMaps(texels)
    parameters = [texels, light.base] if learn_light else [texels]
    optimizer = torch.optim.Adam(parameters, lr=plan.learning_rate)
    with torch.no_grad():
        prefiltered = light.build_mips()
    generator = torch.Generator().manual_seed(seed)
    looks, history, looking, iteration = snapshot_iterations(_LOOK_FOR, _FIRST_LOOK), [], 0.0, 0
    look = next(looks)
    while clock.seconds - looking < plan.budget:
        chosen = torch.randperm(len(cameras), generator=generator)[: plan.batch].tolist()
        if learn_light:
            prefiltered = light.build_mips()
        views = [cameras[index] for index in chosen]
        shaded = render_mesh(case.mesh, views, maps, prefiltered, (size, size), shading=case.shading)["shaded"]
        optimizer.zero_grad(set_to_none=True)
        image_loss(shaded[..., :3], references[chosen][..., :3], "l1", "log_srgb").backward()
        optimizer.param_groups[0]["lr"] = plan.learning_rate * _DECAY**iteration
        optimizer.step()
        project_(texels.data)
        if learn_light:
            light.clamp_(0.0)
        iteration += 1
        if iteration < look:
            continue
        look = next(looks)
        synchronize(device)
        begin = time.perf_counter()
        quality = fmean(judge.psnr_db(MaterialMaps(texels.detach()), light.base.detach()))
        history.append({"iteration": iteration, "seconds": begin - clock.started - looking, "psnr_db": quality})
        looking += time.perf_counter() - begin
        if quality >= plan.target_db:
            break
    clock.lap("fit")
    seconds = clock.phases["fit"] - looking
    reached = next((entry["seconds"] for entry in history if entry["psnr_db"] >= plan.target_db), None)
    return {
        "target_db": plan.target_db,
        "seconds_to_target": reached,
        "iterations": iteration,
        "ms_per_iteration": 1e3 * seconds / max(1, iteration),
        "phases": {"references": clock.phases["references"], "fit": seconds},
        "settings": {"batch": plan.batch, "learning_rate": plan.learning_rate, "budget_seconds": plan.budget},
        "history": history,
    }
