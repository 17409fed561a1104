"""Whole images against nvdiffrec's: visibility, derivatives, every mode, layers, baking, and gradients through the loss.

Pixels are decided as nvdiffrast does, by vertices rounded to 1/16 pixel. Interior pixels are those whose neighbours show
the mesh too.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

import torch
import torch.nn.functional as F
from support.parity.golden import Golden, cosine

from render.geometry.camera import Camera
from render.geometry.mesh import Mesh, mesh_from_indexed
from render.images.losses import image_loss
from render.images.render_mesh import render_mesh
from render.images.render_uv import render_uv
from render.light.environment import EnvironmentLight, PrefilteredLight
from render.material.material import FieldMaterial, TextureMaterial
from render.raster.portable import visible_fragments
from render.raster.surface import surface_points
from render.shading.shade import NVDIFFREC_SHADING
from render.texture.texture import Texture2D

IMAGE_PSNR_DB = 45.0
SAME_IDS = 0.999
GRADIENT_COSINE = 0.999
EDGE_TOLERANCE = 1e-2


def golden_mesh(golden: Golden) -> Mesh:
    arrays = golden.arrays
    names = ("v_pos", "t_pos_idx", "v_nrm", "t_nrm_idx", "v_tex", "t_tex_idx", "v_tng", "t_tng_idx")
    return mesh_from_indexed(*(torch.from_numpy(arrays[name]) for name in names)).to(golden.device)


def golden_camera(golden: Golden, view: int) -> Camera:
    to_camera = golden.tensor("mv")[view].double()
    projection = golden.tensor("mvp")[view].double() @ torch.linalg.inv(to_camera)
    projection[3] = projection[3].round()  # (0, 0, -1, 0): a perspective camera
    return Camera(to_camera.float(), projection.float())


def golden_light(golden: Golden) -> EnvironmentLight:
    return EnvironmentLight(golden.tensor("env_base"))


@lru_cache(maxsize=2)
def prefiltered(path: Path, device: str) -> PrefilteredLight:
    with torch.no_grad():
        return golden_light(Golden(path, device, visible_fragments)).build_mips(prefilter="nvdiffrec")


def golden_material(golden: Golden, alpha: bool = False) -> TextureMaterial:
    kd = golden.tensor("kd_map")
    if alpha:
        kd = torch.cat([kd, golden.tensor("alpha_map")], dim=-1)
    return TextureMaterial(Texture2D(kd), Texture2D(golden.tensor("ks_map")), Texture2D(golden.tensor("normal_map")))


def golden_field(position: torch.Tensor) -> torch.Tensor:
    """The recorded field of the README of the golden data."""
    wave = torch.sin(position * torch.tensor([7.0, 9.0, 11.0]).to(position))
    kd = 0.5 + 0.5 * wave
    normal = torch.cat([0.2 * wave[..., :2], torch.ones_like(wave[..., :1])], dim=-1)
    return torch.cat([kd, 0.05 + 0.9 * kd[..., [1, 2, 0]], normal], dim=-1)


def render(golden: Golden, view: int = 0, material=None, light=None, camera=None, **options) -> dict[str, torch.Tensor]:
    if light is None and options.get("bsdf", "pbr") in ("pbr", "diffuse"):
        light = prefiltered(golden.path, golden.device)
    height, width = golden.arrays["pbr_0"].shape[1:3]
    options.setdefault("shading", NVDIFFREC_SHADING)
    return render_mesh(
        golden_mesh(golden),
        golden_camera(golden, view) if camera is None else camera,
        golden_material(golden) if material is None else material,
        light,
        (height, width),
        rasterizer=golden.rasterizer,
        **options,
    )


def interior(golden: Golden, image: str) -> torch.Tensor:
    """Pixels [N, H, W] whose neighbours all show the mesh wholly, by the alpha of a recorded image of the mode."""
    covered = (golden.tensor(image)[..., -1:] > 0.999).float().permute(0, 3, 1, 2)
    return (-F.max_pool2d(-F.pad(covered, (1, 1, 1, 1)), 3, 1))[:, 0] > 0


def psnr(image: torch.Tensor, golden: torch.Tensor, mask: torch.Tensor) -> float:
    error = (image.detach() - golden)[mask].double().square().mean()
    return float(-10 * torch.log10(error.clamp(min=1e-20)))


def check_ids_and_barycentrics(golden: Golden) -> None:
    buffers = render(golden, bsdf="kd", buffers=("id", "depth"))
    rast = golden.tensor("rast")
    both = (rast[..., 3:] > 0) | (buffers["id"] > 0)
    same = buffers["id"] == rast[..., 3:].long()
    share = float(same[both].float().mean())
    assert share >= SAME_IDS, f"{share:.5f} of the triangle ids are equal"
    hit = (same & (rast[..., 3:] > 0))[..., 0]
    assert float((buffers["depth"][hit] - rast[..., 2:3][hit]).abs().max()) < 1e-4


def check_derivatives(golden: Golden) -> None:
    mesh, camera = golden_mesh(golden), golden_camera(golden, 0)
    height, width = golden.arrays["rast"].shape[1:3]
    fragments = golden.rasterizer(camera.to_clip(mesh.position)[None], mesh.triangles, (height, width), 1)
    rast_of_all = golden.tensor("rast").reshape(-1, 4)
    rast = rast_of_all[fragments.pixel]
    # Where the pixel's centre lies within the exact triangle; elsewhere theirs are moved onto it.
    same = (rast[:, 3].long() == fragments.triangle + 1) & (fragments.barycentric > 1e-3).all(-1)
    dx, dy = fragments.barycentric_dx, fragments.barycentric_dy
    ours = torch.stack([dx[:, 0], dy[:, 0], dx[:, 1], dy[:, 1]], dim=-1)[same]
    theirs = golden.tensor("rast_db").reshape(-1, 4)[fragments.pixel][same]
    assert float((ours - theirs).norm() / theirs.norm()) < 1e-3
    assert float((fragments.barycentric[:, :2][same] - rast[:, :2][same]).abs().max()) < 2e-3
    points = surface_points(mesh, camera, fragments)
    for ours, name in ((points.uv, "texc"), (points.uv_da, "texc_da")):
        theirs = golden.tensor(name).reshape(len(rast_of_all), -1)[fragments.pixel][same]
        assert float((ours[same] - theirs).norm() / theirs.norm()) < 1e-3, name


def check_image(name: str, view: int = 0, mask_from: str | None = None, **options) -> Callable[[Golden], None]:
    def check(golden: Golden) -> None:
        if name not in golden:
            return
        chosen = dict(options)
        if chosen.pop("on_background", False):
            chosen["background"] = golden.tensor("background")
        if chosen.pop("with_alpha", False):
            chosen["material"] = golden_material(golden, alpha=True)
        if chosen.pop("from_field", False):
            chosen["material"] = FieldMaterial(golden_field)
        buffer = chosen.pop("buffer", "shaded")
        image = render(golden, view, buffers=(buffer,), **chosen)[buffer]
        mask = interior(golden, mask_from or name)
        found = psnr(image, golden.tensor(name), mask)
        assert found > IMAGE_PSNR_DB, f"{name}: {found:.1f} dB on {int(mask.sum())} interior pixels"

    check.__name__ = f"check_{name}"
    return check


def check_msaa(golden: Golden) -> None:
    """nvdiffrec shades a pixel at its top left sample: its image is one at spp 1, shifted. Ours is not shifted."""
    if "pbr_spp4" not in golden:
        return
    theirs, supersampled = golden.tensor("pbr_spp4"), golden.tensor("pbr_spp4_nomsaa")
    mask = interior(golden, "pbr_spp4") & interior(golden, "pbr_spp4_nomsaa")
    height, width = theirs.shape[1:3]
    camera = golden_camera(golden, 0)
    towards = (1 - 1 / 4) * torch.tensor([1 / width, 1 / height]).to(camera.projection)
    shifted = camera.projection.clone()
    shifted[:2] += towards[:, None] * camera.projection[3]
    corner = render(golden, camera=Camera(camera.view, shifted), antialiased=False)["shaded"]
    same = mask & (difference(corner, theirs) < 0.05)
    assert float(same.float().sum() / mask.sum()) > 0.99
    assert psnr(corner, theirs, same) > IMAGE_PSNR_DB
    ours = render(golden, spp=4, msaa=True)["shaded"]
    assert psnr(ours, supersampled, mask) > psnr(theirs, supersampled, mask) + 3


def difference(image: torch.Tensor, golden: torch.Tensor) -> torch.Tensor:
    """The largest difference of any channel at each pixel [N, H, W]."""
    return (image.detach() - golden).abs().amax(-1)


def check_uv(golden: Golden) -> None:
    height, width = golden.arrays["uv_mask"].shape[1:3]
    baked = render_uv(golden_mesh(golden), (height, width), FieldMaterial(golden_field), golden.rasterizer)
    theirs = golden.tensor("uv_mask")
    assert float((baked[0] == theirs).float().mean()) >= 0.995
    inside = (theirs > 0)[..., 0] & (baked[0] > 0)[..., 0]
    for name, ours in zip(("uv_kd", "uv_ks", "uv_normal"), baked[1:], strict=True):
        found = psnr(ours, golden.tensor(name), inside)
        assert found > IMAGE_PSNR_DB, f"{name}: {found:.1f} dB"


def check_silhouettes(golden: Golden) -> None:
    """Antialiased edges look the same: where both see the same triangles around a pixel, the blend is the same."""
    image = render(golden)["shaded"]
    theirs = golden.tensor("pbr_0")
    ids = render(golden, bsdf="kd", buffers=("id",))["id"].float()
    differs = (ids != golden.tensor("rast")[..., 3:]).float().permute(0, 3, 1, 2)
    known = F.max_pool2d(differs, 3, 1, 1)[:, 0] == 0
    edge = ~interior(golden, "pbr_0") & (theirs[..., 3] > 0) & known
    error = (image - theirs)[edge].detach().abs()
    assert int(edge.sum()) > 100
    assert float(error.mean()) < EDGE_TOLERANCE
    assert float((image[..., 3] - theirs[..., 3])[edge].detach().abs().max()) < EDGE_TOLERANCE


def check_gradients(golden: Golden) -> None:
    light = golden_light(golden)
    material = golden_material(golden)
    image = render(golden, material=material, light=light.build_mips(prefilter="nvdiffrec"))["shaded"]
    loss = image_loss(image[..., :3], golden.tensor("target")[..., :3], "l1", "log_srgb")
    assert abs(float(loss) - float(golden.tensor("loss"))) < 2e-3 * float(golden.tensor("loss"))
    loss.backward()
    found = {
        "grad_kd": material.kd.mips[0].grad,
        "grad_ks": material.ks.mips[0].grad,
        "grad_normal": material.normal.mips[0].grad,
        "grad_env": light.base.grad,
    }
    cosines = {name: cosine(ours, golden.tensor(name)) for name, ours in found.items()}
    assert min(cosines.values()) > GRADIENT_COSINE, cosines


CHECKS = {
    "image": [
        check_ids_and_barycentrics,
        check_derivatives,
        *(check_image(f"pbr_{view}", view) for view in range(3)),
        check_msaa,
        check_image("pbr_spp4_nomsaa", spp=4),
        check_image("pbr_background", on_background=True),
        *(check_image(mode, bsdf=mode) for mode in ("diffuse", "normal", "tangent", "kd", "ks")),
        check_image("occlusion", buffer="occlusion", bsdf="kd"),
        *(check_image(f"pbr_alpha_layers{n}", mask_from="pbr_0", layers=n, with_alpha=True) for n in (1, 2, 4)),
        check_image("field_pbr", from_field=True),
        check_uv,
        check_silhouettes,
        check_gradients,
    ]
}
