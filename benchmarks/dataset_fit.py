"""How well and how fast the whole job fits a mesh whose material is known: Spot under a known environment.

    python -m benchmarks.dataset_fit --case spot --json dataset_fit_spot.json

The references are our own renders (`DatasetMesh`: no self-shadowing, one sample a pixel), so nothing but the fit stands
between the result and the truth. The job's files are read back and rendered from the held-out cameras: the PSNR is that
of whole images on white, in sRGB, averaged over the held-out views. The base colour's own PSNR is over the texels of
the UV charts, in sRGB too.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from backend.cli.machine import machine_description
from backend.fit.dilation import uv_charts
from backend.job.device import device_description, resolve_device
from backend.job.model import FitInputs, FitProgress, FitResult
from backend.job.run import run_fit_job
from backend.job.synthetic_references import DatasetMesh, dataset_around
from backend.protocol.settings import FitSettings
from render.core.color import psnr, srgb_to_linear
from render.core.image_io import read_image
from render.files.obj import load_obj
from render.geometry.mesh import Mesh
from render.images.render_mesh import render_mesh
from render.light.environment import PrefilteredLight, load_env
from render.material.material import KD, METALLIC, NORMAL, ROUGHNESS, MaterialMaps, initial_maps

DATA = Path(__file__).parents[2] / "shared" / "data"


def load_mtl(path: Path, resolution: int) -> MaterialMaps:
    """The material of an .mtl in nvdiffrec's dialect (`Ks o r m`, `map_Kd`), square maps of `resolution`."""
    maps = initial_maps(resolution, alpha=False)
    for line in path.read_text().splitlines():
        words = line.split()
        if words[:1] == ["Ks"]:
            maps.texels[..., ROUGHNESS], maps.texels[..., METALLIC] = float(words[2]), float(words[3])
        elif words[:1] == ["map_Kd"]:
            encoded = torch.from_numpy(read_image(path.parent / words[1])[..., :3].astype(np.float32) / 255)
            small = F.interpolate(encoded.permute(2, 0, 1)[None], size=(resolution, resolution), mode="area")
            maps.texels[..., KD] = srgb_to_linear(small[0].permute(1, 2, 0))
    return maps


def wire_arrays(mesh: Mesh, environment: np.ndarray) -> dict[str, np.ndarray]:
    """The arrays of a job, as the add-on would send them."""
    return {
        "vertex_position": mesh.position.numpy(),
        "vertex_normal": mesh.normal.numpy(),
        "vertex_tangent": mesh.tangent.numpy(),
        "vertex_uv": torch.stack([mesh.uv[:, 0], 1 - mesh.uv[:, 1]], -1).numpy(),
        "triangles": mesh.triangles.numpy().astype(np.int32),
        "triangle_material": mesh.material.numpy().astype(np.int32),
        "environment": environment,
    }


def maps_from_files(files: dict[str, bytes]) -> MaterialMaps:
    """The maps as another program reads them from the job's files."""
    images = {}
    with tempfile.TemporaryDirectory() as folder:
        for name in ("kd.png", "orm.png", "normal.png"):
            path = Path(folder) / name
            path.write_bytes(files[name])
            image = read_image(path)
            images[name] = torch.from_numpy(image.astype(np.float32) / np.iinfo(image.dtype).max)
    maps = initial_maps(images["kd.png"].shape[0], alpha=False)
    maps.texels[..., KD] = srgb_to_linear(images["kd.png"])
    maps.texels[..., ROUGHNESS.start : METALLIC.stop] = images["orm.png"][..., 1:]
    maps.texels[..., NORMAL] = F.normalize(images["normal.png"] * 2 - 1, dim=-1)
    return maps


def on_white(image: torch.Tensor) -> torch.Tensor:
    return image[..., :3] + 1 - image[..., 3:]


def held_out_psnr(dataset: DatasetMesh, maps: MaterialMaps, light: PrefilteredLight) -> list[float]:
    """PSNR in dB of each held-out view, the whole image on white."""
    result = []
    for index in range(len(dataset)):
        if index % dataset.held_out_every == dataset.held_out_every // 2:
            with torch.no_grad():
                ours = render_mesh(dataset.mesh, dataset.cameras[index], maps, light, dataset.resolution)["shaded"][0]
            result.append(psnr(on_white(ours), on_white(dataset.image(index))))
    return result


def run_case(case: str, resolution: int, views: int, size: int, quality: str, data: Path) -> dict:
    """Fit one case; returns what was measured as JSON values."""
    laps: dict[str, float] = {}
    last = started = time.perf_counter()

    def lap(name: str) -> None:
        nonlocal last
        now = time.perf_counter()
        laps[name], last = round(now - last, 3), now

    mesh = load_obj(data / "spot" / "spot.obj")
    truth = load_mtl(data / "spot" / f"{case}.mtl", resolution)
    environment = read_image(data / "forest_1k.hdr")
    with torch.no_grad():
        light = load_env(data / "forest_1k.hdr").build_mips()
    lap("load_and_prefilter")
    dataset = dataset_around(mesh, truth, light, views, resolution=(size, size))
    references = list(dataset.views())
    lap("render_references")
    settings = FitSettings(resolution=resolution, device="cpu", quality=quality, self_shadowing=False)
    result = run_fit_job(
        FitInputs(wire_arrays(mesh, environment), iter(references), views), settings, _print_progress, lambda: False
    )
    lap("job")
    maps = maps_from_files(result.files)
    psnrs = held_out_psnr(dataset, maps, light)
    lap("judge")
    charts = uv_charts(mesh, resolution).covered
    values = {
        "case": case,
        "held_out_psnr_db": round(float(np.mean(psnrs)), 3),
        "held_out_psnr_db_list": [round(value, 3) for value in psnrs],
        "kd_psnr_db": round(psnr(maps.texels[charts][:, KD], truth.texels[charts][:, KD]), 3),
        "roughness_rms_error": round(_rms(maps, truth, charts, ROUGHNESS), 4),
        "metallic_rms_error": round(_rms(maps, truth, charts, METALLIC), 4),
        "seconds": laps | {"total": round(time.perf_counter() - started, 3)},
        "job": _finite(result),
        "settings": settings.to_dict() | {"views": views, "view_size": size, "environment": "forest_1k.hdr"},
    }
    return values


def _rms(maps: MaterialMaps, truth: MaterialMaps, charts: torch.Tensor, channel: slice) -> float:
    return float((maps.texels[charts][:, channel] - truth.texels[charts][:, channel]).square().mean().sqrt())


def _finite(result: FitResult) -> dict:
    names = ("fit_heldout_psnr_db", "iterations", "samples", "table_bytes", "seconds", "texels_unseen", "versions")
    return {name: result.metrics[name] for name in names}


def _print_progress(progress: FitProgress) -> None:
    if progress.psnr_db is not None:
        print(f"  iteration {progress.iteration}: {progress.message}, held out {progress.psnr_db:.2f} dB", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--case", choices=("spot", "metal"), default="spot")
    parser.add_argument("--resolution", type=int, default=512, help="edge of the maps in texels")
    parser.add_argument("--views", type=int, default=32, help="cameras, every eighth of them held out")
    parser.add_argument("--view-size", type=int, default=256, help="edge of a view in pixels")
    parser.add_argument("--quality", default="standard", help="draft, standard or high")
    parser.add_argument("--data", type=Path, default=DATA, help="folder with spot/ and forest_1k.hdr")
    parser.add_argument("--json", type=Path, help="write what was measured to this file")
    options = parser.parse_args()
    load = os.getloadavg()[0]
    values = run_case(options.case, options.resolution, options.views, options.view_size, options.quality, options.data)
    values["machine"] = machine_description() | {
        "device": device_description(resolve_device("cpu")),
        "load_average_before": round(load, 2),
    }
    values["date"] = datetime.datetime.now(datetime.UTC).date().isoformat()
    for name, seconds in values["seconds"].items():
        print(f"{name:>20} {seconds:8.2f} s")
    print(f"{'held-out PSNR':>20} {values['held_out_psnr_db']:8.2f} dB   base colour {values['kd_psnr_db']:.2f} dB")
    if options.json:
        options.json.write_text(json.dumps(values, indent=2) + "\n")


if __name__ == "__main__":
    main()
