"""`python -m benchmarks ops`: the time of each operation against its floor.

The floor is the time in which the bytes that an operation must read and write pass at the bandwidth of a plain copy,
measured in the same run. It counts each input and output once, and the operator's weights as they are stored.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from backend.cli.errors import CommandError
from backend.fit.sample_table import sample_views
from backend.job.device import resolve_device
from benchmarks.cases import DATA, FOVY, RADIUS, Case, load_case, training_cameras
from benchmarks.fitting import build_table, plan_for, row_bytes, time_iterations
from benchmarks.measure import (
    Clock,
    check_output,
    circumstances,
    copy_bandwidth,
    is_out_of_memory,
    median_seconds,
    peak_bytes,
    print_table,
    reset_peak,
    synchronize,
    write_json,
)
from render.geometry.camera import rotating_cameras
from render.geometry.mesh import Mesh
from render.images.render_mesh import render_mesh
from render.light.environment import EnvironmentLight, NvdiffrecLight, PrefilteredLight, create_trainable_env_rnd
from render.light.nvdiffrec_prefilter import build_nvdiffrec_prefilter
from render.light.prefilter import build_specular_operator
from render.preview.renderer import PreviewRenderer

# What a stored weight takes: a float and an index.
_WEIGHT_BYTES = 8
# Adam reads value, gradient and two moments and writes three of them.
_ADAM_PASSES = 7
# nvdiffrec's batch: 8 views of 512 x 512, about 570 k covered pixels.
_ANCHOR_VIEWS = 8
# nvdiffrec's operator has 16 times the weights at twice the resolution: 61 M at 512.
_LARGEST_NVDIFFREC_BASE = 512
_CPU_SAMPLES = 20_000_000
_FRAMES = {"512": (512, 512), "1080p": (1080, 1920), "4K": (2160, 3840)}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the command."""
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N")
    parser.add_argument("--only", choices=tuple(_OPERATIONS), help="time these alone")
    parser.add_argument(
        "--bases", type=int, nargs="+", default=[512], metavar="R", help="bases of the prefilter, 64..1024"
    )
    parser.add_argument("--model", choices=("nvdiffrec", "principled"), default="nvdiffrec", help="shading model")
    parser.add_argument("--view-size", type=int, default=512, help="edge of a reference in pixels")
    parser.add_argument("--resolution", type=int, default=512, help="edge of the maps in texels")
    parser.add_argument("--light-resolution", type=int, default=512, help="edge of a face of the light")
    parser.add_argument("--frames", nargs="+", choices=tuple(_FRAMES), default=list(_FRAMES), help="sizes of previews")
    parser.add_argument("--repeats", type=int, default=30, help="of each operation at most; the median counts")
    parser.add_argument("--budget", type=float, default=10.0, help="seconds for the repeats of one operation")
    parser.add_argument("--data", type=Path, default=DATA, help="folder of spot/ and forest_1k.hdr")
    parser.add_argument("--json", type=Path, help="write what was measured to this file")


class Bench:
    """One device, one case, its copy bandwidth, and the rows measured so far."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.device = resolve_device(options.device)
        self.bandwidth = copy_bandwidth(self.device)
        self.rows: list[dict[str, Any]] = []
        self._case: Case | None = None

    @property
    def case(self) -> Case:
        if self._case is None:
            given = self.options
            self._case = load_case(
                "spot", given.data, given.resolution, given.light_resolution, given.model, self.device
            )
        return self._case

    def time(self, work: Callable[[], object]) -> float:
        return median_seconds(work, self.device, self.options.repeats, budget=self.options.budget)

    def add(self, name: str, measure: Callable[[], float], floor_bytes: Callable[[], int], **about: Any) -> None:
        """Note the seconds that `measure` gives beside the floor; memory that runs out is noted as the reason."""
        reset_peak(self.device)
        try:
            seconds = measure()
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            self.skip(name, "out of memory", **about)
            return
        count = floor_bytes()
        self.rows.append(
            {
                "name": name,
                "ms": 1e3 * seconds,
                "floor_ms": 1e3 * count / self.bandwidth,
                "floor_bytes": count,
                "times_floor": seconds * self.bandwidth / count,
                "peak_bytes": peak_bytes(self.device),
            }
            | about
        )

    def skip(self, name: str, reason: str, **about: Any) -> None:
        self.rows.append({"name": name, "ms": None, "skipped": reason} | about)


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Time the operations, print, write; returns what was written."""
    for name in ("view_size", "resolution", "light_resolution", "repeats"):
        if getattr(options, name) < 1:
            raise CommandError(
                f"--{name.replace('_', '-')} is {getattr(options, name)}.", "Give a number of at least 1."
            )
    if min(options.bases) < 16:
        raise CommandError(f"--bases holds {min(options.bases)}.", "Give resolutions of at least 16.")
    check_output(options.json)
    bench = Bench(options)
    for name, operation in _OPERATIONS.items():
        if options.only in (None, name):
            operation(bench)
    settings = {key: value for key, value in vars(options).items() if key not in ("json", "data", "command")}
    result = circumstances(bench.device) | {
        "copy_bandwidth_bytes_per_second": bench.bandwidth,
        "timing": "median wall clock of one call, device waited for before and after (torch.cuda.synchronize)",
        "operations": bench.rows,
        "settings": settings | {"device": str(bench.device)},
    }
    heading = ["operation", "ms", "floor ms", "times floor", "peak MiB"]
    table = [heading] + [
        [row["name"], *(row.get(key) for key in ("ms", "floor_ms", "times_floor")), row.get("peak_bytes", 0) / 2**20]
        for row in bench.rows
    ]
    print_table(f"{result['machine']['device']}: copy {bench.bandwidth / 1e9:.1f} GB/s", table)
    for row in bench.rows:
        if "skipped" in row:
            print(f"  {row['name']}: skipped, {row['skipped']}")
    if options.json is not None:
        write_json(options.json, result)
    return result


def prefilter_outputs(light: PrefilteredLight | NvdiffrecLight) -> list[torch.Tensor]:
    """What shading looks a light up in."""
    return [light.atlas, light.irradiance if isinstance(light, PrefilteredLight) else light.diffuse_atlas]


def operator_bytes(resolution: int, prefilter: str, device: torch.device) -> int:
    """Bytes of the stored weights of a prefilter."""
    if prefilter == "nvdiffrec":
        return _WEIGHT_BYTES * build_nvdiffrec_prefilter(resolution, device=str(device)).weights
    return _WEIGHT_BYTES * build_specular_operator(resolution, device=str(device)).weights


def _prefilter(bench: Bench) -> None:
    for resolution in bench.options.bases:
        for prefilter in ("accurate", "nvdiffrec"):
            about = {"base": resolution, "prefilter": prefilter}
            name = f"prefilter {resolution} {prefilter}"
            if prefilter == "nvdiffrec" and resolution > _LARGEST_NVDIFFREC_BASE:
                bench.skip(name, "nvdiffrec's operator would not fit into memory", **about)
                continue
            light = create_trainable_env_rnd(resolution, device=bench.device)
            _time_prefilter(bench, name, light, prefilter, about)


def _time_prefilter(bench: Bench, name: str, light: EnvironmentLight, prefilter: str, about: dict[str, Any]) -> None:
    """Building the operator, applying it, and applying it with its transpose."""

    def forward() -> list[torch.Tensor]:
        with torch.no_grad():
            return prefilter_outputs(light.build_mips(prefilter))

    def both() -> None:
        outputs = prefilter_outputs(light.build_mips(prefilter))
        light.base.grad = None
        torch.autograd.backward(outputs, [torch.ones_like(output) for output in outputs])

    def floor() -> int:
        weights = operator_bytes(light.base.shape[1], prefilter, bench.device)
        return weights + light.base.nbytes + sum(output.nbytes for output in forward())

    clock = Clock(bench.device)
    outputs = forward()
    clock.lap("first")
    about = about | {"first_call_ms": 1e3 * clock.phases["first"], "output_bytes": sum(out.nbytes for out in outputs)}
    bench.add(f"{name} forward", lambda: bench.time(forward), floor, **about)
    bench.add(f"{name} forward + backward", lambda: bench.time(both), lambda: 2 * floor(), **about)


def mesh_bytes(mesh: Mesh) -> int:
    """Bytes of a mesh's arrays."""
    return sum(getattr(mesh, name).nbytes for name in mesh.__dataclass_fields__)


def _table(bench: Bench) -> None:
    case, size = bench.case, bench.options.view_size
    cameras = training_cameras(_ANCHOR_VIEWS, device=bench.device)
    with torch.no_grad():
        light = case.light.build_mips()
        image = case.images(cameras[:1], size, light)[0]
        batch = case.images(cameras, size, light)
    covered = int((image[..., 3] > 0).sum())

    def rows() -> int:
        return row_bytes(sample_views(case.mesh, cameras[:1], image[None]))

    def every() -> None:
        sample_views(case.mesh, cameras, batch)

    per_view = rows() + image.nbytes + mesh_bytes(case.mesh)
    reference = image.nbytes + case.maps.texels.nbytes + mesh_bytes(case.mesh)
    about = {"view_size": size, "covered_pixels": covered}
    bench.add("table, one view", lambda: bench.time(rows), lambda: per_view, **about)
    name = f"table, a view of {_ANCHOR_VIEWS}"
    bench.add(name, lambda: bench.time(every) / _ANCHOR_VIEWS, lambda: per_view, **about)
    bench.add(
        "reference, one view",
        lambda: bench.time(lambda: case.images(cameras[:1], size, light)),
        lambda: reference,
        **about,
    )
    bench.add(
        f"reference, a view of {_ANCHOR_VIEWS}",
        lambda: bench.time(lambda: case.images(cameras, size, light)) / _ANCHOR_VIEWS,
        lambda: reference,
        **about,
    )


def _iteration(bench: Bench) -> None:
    """One iteration over all covered pixels of nvdiffrec's batch."""
    given, case = bench.options, bench.case
    table = build_table(
        case, training_cameras(_ANCHOR_VIEWS, device=bench.device), given.view_size, Clock(bench.device)
    )
    window, windows = (20, 10) if bench.device.type == "cuda" else (2, 4)
    for light_is in ("known", "learned"):
        learned = light_is == "learned"
        light = create_trainable_env_rnd(given.light_resolution, device=bench.device) if learned else case.light
        plan = replace(plan_for(given.resolution, given.model, learned), batch=max(1, len(table)))

        def floor(light: EnvironmentLight = light, learned: bool = learned) -> int:
            count = row_bytes(table) + _ADAM_PASSES * case.maps.texels.nbytes
            if learned:
                with torch.no_grad():
                    outputs = sum(output.nbytes for output in prefilter_outputs(light.build_mips()))
                weights = operator_bytes(light.base.shape[1], "accurate", bench.device)
                count += 2 * (weights + outputs) + (2 + _ADAM_PASSES) * light.base.nbytes
            return count

        bench.add(
            f"iteration, light {light_is}",
            lambda light=light, plan=plan: time_iterations(table, light, plan, window, windows).iteration,
            floor,
            samples=len(table),
            light=light_is,
            resolution=given.resolution,
            light_resolution=given.light_resolution,
        )


def _preview(bench: Bench) -> None:
    """Frames of the whole image; spp 4 is 4 samples along each side, shaded once a pixel and triangle (MSAA).

    Beside each, what `render_mesh` takes for the image whose silhouettes are also antialiased by their edges.
    """
    case = bench.case
    with torch.no_grad():
        light = case.light.build_mips()
    preview = PreviewRenderer(case.mesh, bench.device)
    preview.set_maps(case.maps)
    preview.set_light(light)
    for name, spp in ((name, spp) for name in bench.options.frames for spp in (1, 4)):
        height, width = size = _FRAMES[name]
        about = {"resolution": [height, width], "spp": spp}
        if bench.device.type == "cpu" and height * width * spp * spp > _CPU_SAMPLES:
            bench.skip(f"preview {name} spp {spp}", f"more than {_CPU_SAMPLES} samples, too many for a CPU", **about)
            continue
        camera = rotating_cameras(50, RADIUS, FOVY, width / height)[0]
        nearby = camera.to(bench.device)

        @torch.no_grad()
        def old(camera=nearby, size=size, spp=spp) -> torch.Tensor:
            shading = case.shading
            images = render_mesh(case.mesh, camera, case.maps, light, size, spp=spp, msaa=spp > 1, shading=shading)
            return images["shaded"]

        def new(camera=camera, size=size, spp=spp) -> torch.Tensor:
            return preview.frame(camera, size, spp, case.shading.model)

        # What is read and written whatever the way; the samples' triangles are neither.
        floor = 4 * 4 * height * width + case.maps.texels.nbytes + light.atlas.nbytes + mesh_bytes(case.mesh)
        for title, frame in (("preview", new), ("render_mesh", old)):
            bench.add(
                f"{title} {name} spp {spp}", lambda frame=frame: bench.time(frame), lambda floor=floor: floor, **about
            )
    synchronize(bench.device)


_OPERATIONS: dict[str, Callable[[Bench], None]] = {
    "prefilter": _prefilter,
    "table": _table,
    "iteration": _iteration,
    "preview": _preview,
}
