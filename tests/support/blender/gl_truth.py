"""What the backend draws of some scenes, for comparisons with Blender's own GPU; run by the backend's Python:

    python tests/support/blender/gl_truth.py OUT.npz

Writes the arrays of all scenes, their descriptions (JSON) by name, the prefiltered light, and a frame for each of CASES.
"""

from __future__ import annotations

import json
import math
import sys
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch

ROOT = Path(__file__).resolve().parents[3]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from support.shapes import plane, sphere, studio, wire_arrays  # noqa: E402

from backend.preview.scene import LoadedScene  # noqa: E402
from backend.protocol.scene_description import SceneDescription  # noqa: E402
from render.bsdf import ggx as brdf  # noqa: E402
from render.geometry.camera import look_at, orthographic, perspective  # noqa: E402
from render.light.environment import env_from_latlong  # noqa: E402

SIZE = (220, 160)
LIGHT_RESOLUTION = 64
TEXTURE = 128


@dataclass(frozen=True)
class Case:
    """A frame of a scene. camera: of `cameras`."""

    scene: str
    camera: str = "perspective"
    channel: str = "shaded"
    spp: int = 1
    background: str = "none"
    options: dict = field(default_factory=dict)


CHANNELS = ("shaded", "kd", "occlusion", "roughness", "metallic", "normal", "light", "depth")
CASES = {
    **{f"textured_{channel}": Case("textured", channel=channel) for channel in CHANNELS},
    "constant": Case("constant"),
    "orthographic": Case("textured", "orthographic"),
    "orthographic_depth": Case("textured", "orthographic", "depth"),
    "inside": Case("inside", "close"),
    "far": Case("far", "distant"),
    "mirrored": Case("mirrored"),
    "mirrored_normal": Case("mirrored", channel="normal"),
    "several": Case("several"),
    "several_depth": Case("several", channel="depth"),
    "samples": Case("textured", spp=2),
    "transparent": Case("transparent"),
    "coat": Case("coat"),
    "sheen": Case("sheen"),
    "emission": Case("emission"),
    "lobes": Case("lobes"),
    "behind": Case("several", background="light"),
    "behind_orthographic": Case("constant", "orthographic", background="light"),
    "behind_window": Case("constant", "shifted", background="light"),
}


def textures() -> dict[str, np.ndarray]:
    """uint8 [h, w, 4], with detail down to single texels."""
    rng = np.random.default_rng(5)
    rows, columns = np.mgrid[0:TEXTURE, 0:TEXTURE]

    def blocks(cells: int, low: int, high: int) -> np.ndarray:
        values = rng.integers(low, high, (cells, cells, 3))
        return values.repeat(TEXTURE // cells, 0).repeat(TEXTURE // cells, 1)

    fine = ((rows + columns) % 2)[..., None] * 24
    kd = np.clip(blocks(16, 20, 230) + fine, 0, 255)
    orm = np.clip(blocks(8, 60, 230) + fine, 0, 255)
    angle = rows * (2 * np.pi / 16)
    slope = np.stack([0.3 * np.sin(angle), 0.25 * np.cos(columns * (2 * np.pi / 32)), np.ones_like(angle)], -1)
    normal = (slope / np.linalg.norm(slope, axis=-1, keepdims=True) * 0.5 + 0.5) * 255
    alpha = 128 + 100 * np.sin(rows / 9) * np.cos(columns / 7)
    images = {"kd": kd, "orm": orm, "normal": normal, "leaf": kd}
    return {
        name: np.concatenate(
            [np.round(image), (alpha if name == "leaf" else np.full(rows.shape, 255))[..., None]], axis=-1
        ).astype(np.uint8)
        for name, image in images.items()
    }


def textured_look(kd: str = "kd", alpha: object = 1.0) -> dict:
    """A description of a look with the textures."""

    def one(channel: int) -> dict:
        return {"array": "orm", "channel": channel, "encoding": "linear"}

    return {
        "kd": {"array": kd, "channel": None, "encoding": "srgb"},
        "alpha": alpha,
        "roughness": one(1),
        "metallic": one(2),
        "openness": one(0),
        "normal": {"array": "normal", "channel": None, "encoding": "linear"},
    }


def textured_lobes() -> dict:
    """What a look with the textures has besides, all of it from textures too."""
    one = {"array": "orm", "encoding": "linear"}
    color = {"array": "kd", "channel": None, "encoding": "srgb"}
    return {
        "coat": one | {"channel": 0},
        "coat_roughness": one | {"channel": 1},
        "sheen": one | {"channel": 2},
        "sheen_tint": color,
        "sheen_roughness": one | {"channel": 0},
        "emission": color,
        "emission_strength": one | {"channel": 1},
    }


def constant_look(kd: tuple[float, float, float], roughness: float, metallic: float) -> dict:
    """A description of a look with constant values."""
    return {
        "kd": list(kd),
        "alpha": 1.0,
        "roughness": roughness,
        "metallic": metallic,
        "openness": 0.8,
        "normal": None,
    }


def moved(x: float, y: float, z: float, scale: tuple[float, float, float] = (1.0, 1.0, 1.0), turn: float = 0.3) -> list:
    """A matrix that scales, turns about Y and moves."""
    matrix = np.eye(4)
    matrix[:3, :3] = [[math.cos(turn), 0, math.sin(turn)], [0, 1, 0], [-math.sin(turn), 0, math.cos(turn)]]
    matrix[:3, :3] = matrix[:3, :3] @ np.diag(scale)
    matrix[:3, 3] = x, y, z
    return matrix.tolist()


def scenes() -> tuple[dict[str, dict], dict[str, np.ndarray]]:
    """Descriptions by name, and all arrays."""
    arrays = textures()
    for name, mesh in (("ball", sphere(24)), ("floor", plane(1.5))):
        arrays |= {f"{name}_{key}": value for key, value in wire_arrays(mesh).items()}

    def part(mesh: str, matrix: list, look: dict) -> dict:
        names = ("vertex_position", "vertex_normal", "vertex_tangent", "vertex_uv", "triangles")
        return {"mesh": {name: f"{mesh}_{name}" for name in names}, "matrix": matrix, "look": look, "job": None}

    here = moved(0, 0, 0)
    red, gold = constant_look((0.8, 0.2, 0.1), 0.35, 0.0), constant_look((0.9, 0.7, 0.3), 0.12, 1.0)
    leaf = textured_look("leaf", {"array": "leaf", "channel": 3, "encoding": "srgb"})
    found = {
        "textured": [part("ball", here, textured_look())],
        "constant": [part("ball", here, gold)],
        "inside": [part("ball", moved(0, 0, 0, (3, 3, 3)), textured_look())],
        "far": [part("ball", moved(5000, 200, -3000), textured_look())],
        "mirrored": [part("ball", moved(0, 0, 0, (-1, 0.7, 1.2)), textured_look())],
        "several": [
            part("ball", moved(-0.6, 0.1, 0.2, (0.8, 0.8, 0.8)), textured_look()),
            part("ball", moved(0.7, 0.0, -0.3, (-0.7, 0.9, 0.7)), gold),
            part("floor", moved(0, -0.7, 0), red),
        ],
        "transparent": [part("floor", moved(0, -0.3, 0), leaf)],
        "coat": [part("ball", here, red | {"coat": 1.0, "coat_roughness": 0.1})],
        "sheen": [part("ball", here, red | {"sheen": 0.8, "sheen_tint": [0.9, 1.0, 0.6], "sheen_roughness": 0.4})],
        "emission": [part("ball", here, gold | {"emission": [0.2, 0.5, 0.1], "emission_strength": 1.5})],
        "lobes": [
            part("ball", moved(-0.6, 0.1, 0.2, (0.8, 0.8, 0.8)), textured_look() | textured_lobes()),
            part("ball", moved(0.7, 0.0, -0.3, (-0.7, 0.9, 0.7)), gold),
        ],
    }
    return {name: {"parts": parts, "light": None} for name, parts in found.items()}, arrays


def cameras() -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """View and projection by name, float64."""
    aspect = SIZE[0] / SIZE[1]
    lens = perspective(math.radians(40), aspect, 0.1, 100.0)
    window = torch.eye(4)
    window[0, 3], window[1, 3] = 0.3, -0.2
    eye, origin = torch.tensor([0.8, 1.2, 3.2]), torch.zeros(3)
    far = torch.tensor([5000.0, 200.0, -3000.0], dtype=torch.float64)
    found = {
        "perspective": (look_at(eye.double(), origin.double()), lens),
        "orthographic": (look_at(eye.double(), origin.double()), orthographic(1.3, aspect, 0.1, 100.0)),
        "shifted": (look_at(eye.double(), origin.double()), window @ lens),
        "close": (look_at(torch.tensor([0.2, 0.1, 0.5]).double(), torch.tensor([0.0, 0.3, -1.0]).double()), lens),
        "distant": (look_at(far + eye.double(), far), lens),
    }
    return {name: tuple(matrix.double().numpy() for matrix in pair) for name, pair in found.items()}


def main() -> int:
    """The command line."""
    # The shipped table, because computing it takes seconds. tests/render/bsdf/test_shipped_table.py compares it with
    # `render`'s.
    table = torch.from_numpy(np.load(ROOT / "blender_addon" / "preview" / "gl" / "ggx_table.npy")).permute(2, 0, 1)[
        None
    ]
    brdf._table_values = lambda: table
    descriptions, arrays = scenes()
    light = env_from_latlong(torch.from_numpy(studio(64)), LIGHT_RESOLUTION).build_mips()
    written = {f"array/{name}": value for name, value in arrays.items()}
    atlas = light.atlas[0].permute(1, 2, 0)
    written["light/atlas"] = torch.nn.functional.pad(atlas, (0, 1)).detach().numpy().astype(np.float16)
    written["light/irradiance"] = light.irradiance.detach().numpy()
    written["light/places"] = np.array(light.layout.places)
    written["light/roughnesses"] = np.array([level.roughness for level in light.levels])
    views = cameras()
    loaded = {}
    for name, case in CASES.items():
        if case.scene not in loaded:
            loaded[case.scene] = LoadedScene(SceneDescription.from_dict(descriptions[case.scene]), arrays, "cpu")
            loaded[case.scene].set_light(light)
        view, projection = views[case.camera]
        request = SimpleNamespace(
            view=view,
            projection=projection,
            width=SIZE[0],
            height=SIZE[1],
            spp=case.spp,
            channel=case.channel,
            background=case.background,
            dtype="float32",
            layers=1,
        )
        written[f"frame/{name}"] = loaded[case.scene].frame(request).image.cpu().numpy().copy()
        if case.channel != "depth":
            request.channel, request.background = "depth", "none"
            written[f"depth/{name}"] = loaded[case.scene].frame(request).image[..., 0].cpu().numpy().copy()
    information = {
        "descriptions": descriptions,
        "cases": {name: vars(case) for name, case in CASES.items()},
        "cameras": {name: [matrix.tolist() for matrix in pair] for name, pair in views.items()},
        "size": SIZE,
    }
    written["information"] = np.frombuffer(json.dumps(information).encode(), dtype=np.uint8)
    np.savez(sys.argv[1], **written)
    return 0


if __name__ == "__main__":
    sys.exit(main())
